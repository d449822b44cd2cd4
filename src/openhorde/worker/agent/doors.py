# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where sources may come from: strangers name them, and must not reach into the owner's network."""

import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from openhorde.worker.library.fetching import ask_system

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
PORTS = {"http": 80, "https": 443}


class Shut(Exception):
    """This address is not to be called; the message says why."""


class Doors:
    """Opens to public addresses alone, unless the horde itself is at a private one.

    Where the environment names a proxy, it alone decides what can be reached.
    """

    def __init__(self, horde_url: str, resolve: Resolve = ask_system) -> None:
        self._horde_url = horde_url
        self._resolve = resolve
        self._is_private: bool | None = None

    async def address(self, url: str) -> str | None:
        """The address to connect to for a URL; None leaves it to the connection. Raises Shut."""
        if urllib.request.getproxies():
            return None
        addresses = await self._addresses(url)
        if not all(map(is_public, addresses)) and not await self._horde_is_private():
            raise Shut(f"{urlsplit(url).hostname} is not at a public address")
        return addresses[0]

    async def _horde_is_private(self) -> bool:
        if self._is_private is None:
            addresses = await self._addresses(self._horde_url)
            self._is_private = not all(map(is_public, addresses))
        return self._is_private

    async def _addresses(self, url: str) -> Sequence[str]:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443)
            addresses = await self._resolve(host, port)
        except (OSError, ValueError) as error:
            raise Shut(f"there is no address of {url[:100]}") from error
        if not addresses:
            raise Shut(f"there is no address of {host}")
        return addresses


def is_public(text: str) -> bool:
    """Whether an address, IPv4 or IPv6, is one of the public internet."""
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    return address.is_global and not address.is_multicast
