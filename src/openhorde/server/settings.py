# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings of the server: one struct, a help line per field, read from `OPENHORDE_*` by boot."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
DATA = Path("data")
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
LIMITS_SCHEMES = ("redis", "rediss", "valkey", "valkeys")


class SettingError(ValueError):
    """A setting is unknown or out of bounds."""


def _setting(default: Any, help_line: str) -> Any:
    return field(default=default, metadata={"help": help_line})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything an operator may set. Environment names are `OPENHORDE_` + the upper-cased name."""

    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(7001, "port to listen on; 0 takes a free one")
    data: Path = field(
        default=DATA, metadata={"help": "folder for the embedded database and local pictures"}
    )
    public_url: str = _setting(
        "",
        "how the outside reaches this server, with its path if it has one; empty: links lead to the"
        " address that each caller used",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        LOOPBACK,
        "address ranges of the proxies that are believed when they say for whom they call; comma"
        " separated",
    )
    database_url: str = _setting("", "PostgreSQL 15 or newer; empty starts the embedded one")
    database_connections: int = _setting(12, "connections in the pool, 2 to 200")
    processes: int = _setting(1, "processes that share the work, 1 to 64")
    rate_limits: bool = _setting(True, "on or off")
    limits_url: str = _setting(
        "",
        "Redis or Valkey that counts calls for several machines, such as redis://HOST:6379/0;"
        " empty: each machine counts for itself",
    )
    watchers_max: int = _setting(
        5000, "event streams and held checks that a process serves at once, 1 to 100000"
    )
    watchers_per_address_max: int = _setting(
        100, "the same for one address, 1 to 100000; no bound while rate limits are off"
    )
    fetch_allow: tuple[Network, ...] = _setting(
        (),
        "address ranges that source images may come from and webhooks may lead to, besides public"
        " ones; comma separated",
    )
    known_models: tuple[str, ...] | None = _setting(
        (),
        "models that count as known besides the reference's, comma separated; * for every model,"
        " which is also what holds without a reference",
    )
    model_reference: str = _setting("", "JSON file that describes the image models")
    text_model_reference: str = _setting(
        "", "JSON file that tells the sizes of text models; empty: every size is unknown"
    )
    rank_policy: str = _setting("fair", "order of the queue: fair or ageing")
    job_ttl_seconds_min: int = _setting(150, "a worker has at least this long for a job")
    duty_seconds: float = _setting(5.0, "pause between rounds of the standing duties")
    trust_kudos: int = _setting(0, "escrow above which an owner becomes trusted; 0: never")
    workers_per_owner: int = _setting(
        4, "workers of one kind that an owner may have had online within a day; 0: any number"
    )
    workers_per_trusted_owner: int = _setting(
        21, "the same for trusted owners, or one more than invited if that is more"
    )
    workers_per_address: int = _setting(
        4,
        "the same for one public address, of IPv6 for its /64 (trusted owners may have all of"
        " theirs there); private addresses have no bound",
    )
    text_length_free: int = _setting(
        512, "tokens of a text that need not be payable in advance while little waits, 256 to 4096"
    )
    source_bytes_per_user: int = _setting(
        1 << 30,
        "bytes of source pictures that a user's unfinished requests may hold, an anonymous one's by"
        " address; 0: no bound",
    )
    source_bytes: int = _setting(
        16 << 30, "bytes of source pictures that all unfinished requests may hold; 0: no bound"
    )
    picture_seconds: int = _setting(7200, "how long pictures are kept")
    s3_bucket: str = _setting("", "bucket for pictures; empty keeps them in the data folder")
    s3_endpoint: str = _setting("", "URL of the S3 service")
    s3_region: str = _setting("auto", "region of the bucket")
    s3_access_key: str = _setting("", "access key of the bucket")
    s3_secret_key: str = _setting("", "secret key of the bucket")
    source_url: str = _setting("", "where this very version's source is; empty serves it from here")
    registration: bool = _setting(True, "on or off: may people register by themselves")
    admins: tuple[str, ...] = _setting(
        (),
        "accounts that may award and change kudos and make moderators, by alias (NAME#ID), id or"
        " provider:PROVIDER-ID, comma separated; without one nobody may",
    )
    ledger_key: str = _setting(
        "",
        "file with the key that signs the ledger, made if it is not there; empty: DATA/ledger.key",
    )
    log_json: bool = _setting(False, "on or off: log lines as JSON")

    def __post_init__(self) -> None:
        """Raise SettingError for a value out of bounds."""
        bounds = {
            "port": (0, 65535),
            "database_connections": (2, 200),
            "processes": (1, 64),
            "watchers_max": (1, 100_000),
            "watchers_per_address_max": (1, 100_000),
            "job_ttl_seconds_min": (1, 86_400),
            "duty_seconds": (0.05, 3600),
            "trust_kudos": (0, 10**12),
            "workers_per_owner": (0, 10**6),
            "workers_per_trusted_owner": (0, 10**6),
            "workers_per_address": (0, 10**6),
            "text_length_free": (256, 4096),
            "source_bytes_per_user": (0, 10**15),
            "source_bytes": (0, 10**15),
            # A request's source pictures must outlive it: 20 minutes of waiting, and of work.
            "picture_seconds": (2400, 10**9),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"{name} must be {low} to {high}, not {getattr(self, name)}")
        address = urlsplit(self.public_url)
        if self.public_url and not (address.scheme in ("http", "https") and address.hostname):
            raise SettingError(
                f"public_url must be like https://HOST or https://HOST/PATH, not {self.public_url}"
            )
        if self.rank_policy not in ("fair", "ageing"):
            raise SettingError(f"rank_policy must be fair or ageing, not {self.rank_policy!r}")
        # What comes after the scheme may hold a password: it must not reach a log.
        scheme = self.limits_url.partition("://")[0]
        if self.limits_url and scheme not in LIMITS_SCHEMES:
            raise SettingError(
                f"limits_url must begin with one of {', '.join(LIMITS_SCHEMES)} and ://"
            )


def _switch(text: str) -> bool:
    if text.lower() in ("on", "true", "1", "yes"):
        return True
    if text.lower() in ("off", "false", "0", "no"):
        return False
    raise SettingError(f"must be on or off, not {text!r}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _read(name: str, default: Any, text: str) -> Any:
    if name in ("fetch_allow", "trusted_proxies"):
        return tuple(ip_network(word) for word in _words(text))
    if name == "known_models":
        return None if text.strip() == "*" else _words(text)
    if name == "admins":
        return _words(text)
    if isinstance(default, bool):
        return _switch(text)
    return type(default)(text)


def load_settings(environ: Mapping[str, str], **overrides: Any) -> ServerSettings:
    """Read settings: `overrides` that are not None, else the environment, else the defaults.

    Raises SettingError naming the variable that can't be read.
    """
    given: dict[str, Any] = {}
    for entry in fields(ServerSettings):
        variable = f"OPENHORDE_{entry.name.upper()}"
        if variable in environ:
            try:
                given[entry.name] = _read(entry.name, entry.default, environ[variable])
            except ValueError as error:
                raise SettingError(f"{variable}: {error}") from None
    given.update({name: value for name, value in overrides.items() if value is not None})
    return replace(ServerSettings(), **given)


def as_environment(settings: ServerSettings) -> dict[str, str]:
    """The environment that `load_settings` reads these settings from."""
    return {
        f"OPENHORDE_{entry.name.upper()}": written(getattr(settings, entry.name))
        for entry in fields(settings)
    }


def written(value: Any) -> str:
    """A setting as it stands in the environment."""
    if value is None:
        return "*"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(word) for word in value)
    return str(value)
