# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker's owner can set: one struct drives YAML, environment and command line flags.

Flags win over the environment, the environment over YAML, YAML over the default.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec import field as default

from openhorde.worker.fields import NOW, SettingField, SettingsError, described_fields
from openhorde.worker.reading import RENAMED, base_url, checked, gathered
from openhorde.worker.work_settings import WorkSettings

__all__ = [
    "ANONYMOUS_KEY",
    "MISCONFIGURED_STATUS",
    "RENAMED",
    "KindName",
    "SettingField",
    "SettingsError",
    "WorkerSettings",
    "changed",
    "load_settings",
    "networks",
    "secrets",
    "settings_fields",
]

ENVIRONMENT_PREFIX = "OPENHORDE_WORKER_"
ANONYMOUS_KEY = "0000000000"
MISCONFIGURED_STATUS = 78
"""The exit status of a worker that cannot work until its owner changes a setting: EX_CONFIG of
sysexits.h. Starting it again is of no use."""
log = logging.getLogger(__name__)

KindName = Literal["image", "alchemy", "text"]


class WorkerSettings(WorkSettings, kw_only=True, frozen=True):
    """All settings of a worker. Units are in the names; each field carries its own help line.

    They stand in several files: here are those of the worker as the horde sees it, then come those
    of the work it takes, of its machine and of single engines.
    """

    horde_url: Annotated[str, Meta(description="the horde's address, with or without /api")] = (
        "http://127.0.0.1:7001"
    )
    api_key: Annotated[
        str, Meta(description="the API key of the worker's owner", extra={"secret": True})
    ] = ANONYMOUS_KEY
    worker_name: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=100,
            description="the worker's name, unique in the horde; used for its first kind of work",
            extra={"flags": ["-n"]},
        ),
    ] = "An openhorde worker"
    alchemist_name: Annotated[
        str,
        Meta(
            max_length=100,
            description="the name for alchemy; empty: worker_name, plus ' alchemist' if taken",
        ),
    ] = ""
    scribe_name: Annotated[
        str,
        Meta(
            max_length=100,
            description="the name for text; empty: worker_name, plus ' scribe' if taken",
        ),
    ] = ""
    worker_url: Annotated[
        str, Meta(description="where this worker's software is; empty: the horde's own source page")
    ] = ""
    storage_networks: Annotated[
        list[Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:.]+(/\d{1,3})?$")]],
        Meta(
            description="private address ranges, such as 192.168.1.0/24, that source pictures may "
            "come from and results may go to, besides the horde's own address and public ones",
            extra={"words": "list addresses or ranges, such as 192.168.1.0/24"},
        ),
    ] = default(default_factory=list)
    bridge_agent: Annotated[
        str,
        Meta(
            pattern=r"^(|[^:]{1,100}:\d[^:]{0,30}:.{1,300})$",
            description="what software this worker says it is when it asks for work, as "
            "name:version:address; empty: what it is. See docs/worker.md before you set it",
            extra={"words": "be name:version:address, or empty"},
        ),
    ] = ""
    backends: Annotated[
        list[Literal["diffusers", "transformers", "comfyui", "openai", "koboldcpp", "fake"]],
        Meta(
            min_length=1,
            description="the engines: diffusers draws, transformers looks at pictures and writes, "
            "comfyui, openai and koboldcpp ask a server of yours; fake invents all, for trials",
        ),
    ] = default(default_factory=lambda: ["diffusers"])
    kinds: Annotated[
        list[KindName],
        Meta(min_length=1, description="the kinds of work to take, as far as the engines can"),
    ] = default(default_factory=lambda: ["image", "alchemy", "text"])
    pop_wait_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=60,
            description="how long the horde may hold a call until there is work; 0: not at all",
            extra=NOW,
        ),
    ] = 25
    idle_seconds: Annotated[
        float, Meta(ge=0.01, le=60, description="the first pause when there is no work")
    ] = 1.0
    idle_seconds_max: Annotated[
        float, Meta(ge=0.01, le=600, description="the longest pause when there is no work")
    ] = 3.0
    retry_seconds: Annotated[
        float, Meta(ge=0.01, le=60, description="the first pause after a failed call or engine")
    ] = 1.0
    retry_seconds_max: Annotated[
        float, Meta(ge=0.01, le=600, description="the longest pause after failures in a row")
    ] = 30.0
    panel_host: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="where the control panel listens; other than 127.0.0.1 only with a "
            "password of your own, and best behind a proxy with TLS; heeded at the next start",
        ),
    ] = "127.0.0.1"
    panel_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65_535,
            description="the control panel's port; 0 takes any free one; heeded at the next start",
        ),
    ] = 7002
    panel_password: Annotated[
        str,
        Meta(
            pattern=r"^(|.{10,200})$",
            description="the control panel's password; without one the panel keeps its own, made "
            "up at its first start",
            extra={"secret": True, "applies": "now", "words": "have 10 to 200 characters"},
        ),
    ] = ""

    @property
    def pixels_max(self) -> int:
        """The largest picture to accept, width x height."""
        return 64 * 64 * 8 * self.max_power

    @property
    def api_url(self) -> str:
        """Where the v2 API is, without a slash at the end."""
        return f"{self.horde_url}/api/v2"

    def __repr__(self) -> str:
        """Everything but the keys, which must not reach a log."""
        secret = {described.name: "..." for described in settings_fields() if described.is_secret}
        shown = msgspec.structs.asdict(self) | secret
        return f"WorkerSettings({shown})"


def networks(texts: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Address ranges from their text. Raises ValueError."""
    return tuple(ip_network(text, strict=False) for text in texts)


def settings_fields() -> list[SettingField]:
    """Every setting, as a form or a command line shows it; those of single engines come last."""
    fields = described_fields(WorkerSettings, ENVIRONMENT_PREFIX)
    groups = [vars(struct).get("__annotations__", ()) for struct in WorkerSettings.__mro__]
    return sorted(fields, key=lambda field: [field.name in group for group in groups].index(True))


def secrets(settings: WorkerSettings) -> list[str]:
    """What must not be shown: the keys and passwords that are set."""
    secret = (getattr(settings, one.name) for one in settings_fields() if one.is_secret)
    return [str(value) for value in secret if value]


def load_settings(
    yaml_path: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    warn: Callable[[str], None] = log.warning,
) -> WorkerSettings:
    """Read the settings; a flag that is None counts as not given.

    Raises SettingsError for an unreadable file, an unknown key (naming the nearest known one),
    a value of the wrong type or out of its bounds. Paths in YAML are relative to the file.
    `warn` hears of each old name that is in use. A bridgeData.yaml of another worker is read too.
    """
    fields = settings_fields()
    values = gathered(fields, ENVIRONMENT_PREFIX, yaml_path, environ or {}, flags or {}, warn)
    return _agreeing(WorkerSettings(**checked(fields, values)))


def changed(settings: WorkerSettings, changes: Mapping[str, Any]) -> WorkerSettings:
    """The settings with some of them changed, each given as text or in its type.

    Raises SettingsError, naming the setting.
    """
    return _agreeing(msgspec.structs.replace(settings, **checked(settings_fields(), changes)))


def _agreeing(settings: WorkerSettings) -> WorkerSettings:
    """The settings with a plain address of the horde. Raises SettingsError where two disagree."""
    settings = msgspec.structs.replace(settings, horde_url=base_url(settings.horde_url))
    try:
        networks(settings.storage_networks)
    except ValueError as error:
        raise SettingsError(f"storage_networks must list address ranges: {error}") from error
    if len(set(settings.backends)) < len(settings.backends):
        raise SettingsError("backends must name each backend once; max_threads runs several")
    for first, longest in (
        ("idle_seconds", "idle_seconds_max"),
        ("retry_seconds", "retry_seconds_max"),
    ):
        if getattr(settings, first) > getattr(settings, longest):
            raise SettingsError(f"{first} must not be more than {longest}")
    return settings
