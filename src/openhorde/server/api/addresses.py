# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a call comes from, and under which address it reached this server.

What a caller writes into a header is believed only where somebody trusted vouches for it. A proxy
is trusted when its address is in `OPENHORDE_TRUSTED_PROXIES`.
"""

import re
import socket
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.types import Scope

from openhorde.server.kit.addresses import Address, Network, is_public, is_within, unmapped
from openhorde.server.settings import ServerSettings

CHAIN_CHARACTERS_MAX = 4096
"""Only so much of a chain is read, from its end, which the nearest proxies have written."""

HOPS_MAX = 32
PREFIX_CHARACTERS_MAX = 200

_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_NODE = re.compile(r"([0-9.]{7,15})(?::[\w.-]{1,16})?|\[([0-9A-Fa-f:.]{2,45})\](?::[\w.-]{1,16})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_ADDRESS_CHARACTERS_MAX = 64
_PORTS = {"http": 80, "https": 443}


class Surroundings(NamedTuple):
    """What is known of a call before it is read.

    `client_address` is the caller's, in the usual spelling ("" for a unix socket), `url_root` how
    the caller reaches this server (no slash at the end), `prefix` the path of that ("" or
    "/horde").
    """

    client_address: str
    url_root: str
    prefix: str


class _Hop(NamedTuple):
    """What one proxy says of the call that it passes on."""

    node: str
    scheme: str = ""
    host: str = ""


class Lookout:
    """Looks where calls come from, as the settings say who is believed."""

    def __init__(self, settings: ServerSettings) -> None:
        self._trusted = settings.trusted_proxies
        self._public_root = settings.public_url.rstrip("/")
        self._public_prefix = urlsplit(self._public_root).path
        self._listening = (settings.host, settings.port)
        name = socket.gethostname().lower()
        self._own_names = frozenset({"localhost", name, f"{name}.local", name.partition(".")[0]})

    def look(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Surroundings:
        """Where a call comes from. `headers` are the scope's, of repeated ones any."""
        peer = normal_address(scope["client"][0]) if scope.get("client") else ""
        hops: list[_Hop] = []
        trusted = is_trusted(peer, self._trusted)
        if trusted and (b"x-forwarded-for" in headers or b"forwarded" in headers):
            hops = _chain(scope["headers"])
        caller, hop = _caller(peer, hops, self._trusted)
        if self._public_root:
            return Surroundings(caller, self._public_root, self._public_prefix)
        own = _own_host(scope, self._listening)
        scheme, host, prefix = scope.get("scheme", "http"), "", ""
        if trusted:
            said = _last(headers, b"x-forwarded-proto") or hop.scheme
            scheme = said.lower() if said.lower() in _PORTS else scheme
            host = _spelled(_last(headers, b"x-forwarded-host") or hop.host)
            prefix = _prefix(_last(headers, b"x-forwarded-prefix"))
        if not host:
            said = _spelled(headers.get(b"host", b"").decode("latin-1"))
            host = said if self._is_near(said, own) else own
        return Surroundings(caller, f"{scheme}://{host}{prefix}", prefix)

    def _is_near(self, host: str, own: str) -> bool:
        """Whether the name in a Host header may be ours, whoever wrote it: this machine's, a
        private address, or the very address that the call came to."""
        name = _name(host)
        if name in self._own_names or name.endswith(".localhost") or name == _name(own):
            return bool(name)
        address = _address(name.strip("[]"))
        return address is not None and not is_public(address)


def is_trusted(peer: str, networks: tuple[Network, ...]) -> bool:
    """Whether the peer of a connection ("" for a unix socket) may say for whom it calls."""
    return not peer or _is_trusted(peer, networks)


def normal_address(text: str) -> str:
    """An address in its usual spelling, IPv4 in IPv6 dress as IPv4; other text as it is."""
    address = _address(text)
    return text if address is None else str(address)


@lru_cache(maxsize=10_000)
def _is_trusted(peer: str, networks: tuple[Network, ...]) -> bool:
    address = _address(peer)
    return address is not None and is_within(address, networks)


def _caller(peer: str, hops: list[_Hop], networks: tuple[Network, ...]) -> tuple[str, _Hop]:
    """The rightmost address of the chain that is no proxy of ours, and what was said of it.

    Where the chain says nothing that can be read, the caller is the proxy that wrote it; where all
    are proxies, the first of them.
    """
    caller, said = peer, _Hop("")
    for hop in reversed(hops):
        address = _node_address(hop.node)
        if address is None:
            return caller, hop
        caller, said = address, hop
        if not is_trusted(address, networks):
            break
    return caller, said


def _chain(headers: Iterable[tuple[bytes, bytes]]) -> list[_Hop]:
    """The hops that proxies told of, nearest last. X-Forwarded-For wins, as most proxies write it
    and pass a Forwarded of the caller's on untouched."""
    chains: dict[bytes, list[bytes]] = {b"x-forwarded-for": [], b"forwarded": []}
    for name, value in headers:
        if name in chains:
            chains[name].append(value)
    if chains[b"x-forwarded-for"]:
        return [_Hop(part) for part in _parts(chains[b"x-forwarded-for"])]
    return [_forwarded(part) for part in _parts(chains[b"forwarded"])]


def _parts(values: list[bytes]) -> list[str]:
    """The elements of a list header, the last HOPS_MAX of them.

    Commas in quotes divide too: none belongs into an address, and so a quote that a caller leaves
    open swallows nothing of what proxies add.
    """
    text = b",".join(values)[-CHAIN_CHARACTERS_MAX:].decode("latin-1")
    return [part.strip() for part in text.rsplit(",", HOPS_MAX)[-HOPS_MAX:] if part.strip()]


def _forwarded(element: str) -> _Hop:
    """One element of Forwarded (RFC 7239)."""
    pairs: dict[str, str] = {}
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        pairs.setdefault(name.strip().lower(), _unquoted(value.strip()))
    return _Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", ""))


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _node_address(node: str) -> str | None:
    """The address of `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]:5` and the like; None
    for `unknown`, hidden names and all else."""
    node = _unquoted(node)
    found = _NODE.fullmatch(node)
    address = _address((found[1] or found[2]) if found else node)
    return None if address is None else str(address)


def _address(text: str) -> Address | None:
    return _read_address(text) if len(text) <= _ADDRESS_CHARACTERS_MAX else None


@lru_cache(maxsize=10_000)
def _read_address(text: str) -> Address | None:
    try:
        return unmapped(ip_address(text))
    except ValueError:
        return None


def _last(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """The last element of a header: what the nearest proxy wrote."""
    value = headers.get(name, b"")[-CHAIN_CHARACTERS_MAX:]
    return value.rpartition(b",")[2].decode("latin-1").strip()


def _spelled(host: str) -> str:
    """A host as it may stand in a link; "" for anything else."""
    return host if _HOST.fullmatch(host) else ""


def _name(host: str) -> str:
    """A host without its port."""
    found = _HOST.fullmatch(host)
    return found[1].lower() if found else ""


def _prefix(path: str) -> str:
    path = path.rstrip("/")
    return path if len(path) <= PREFIX_CHARACTERS_MAX and _PREFIX.fullmatch(path) else ""


def _own_host(scope: Scope, listening: tuple[str, int]) -> str:
    """The address that the call came to, as it may stand in a link."""
    name, port = scope.get("server") or listening
    if port is None and name.startswith("/"):  # A unix socket.
        name, port = listening
    name = normal_address(name)
    host = f"[{name}]" if ":" in name else name
    return host if port in (None, _PORTS.get(scope.get("scheme", "http"))) else f"{host}:{port}"
