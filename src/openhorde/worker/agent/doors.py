# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where sources may come from and results may go to: others name the addresses, and must not reach
into the owner's network."""

import socket
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from openhorde.worker.library.fetching import ask_system

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
PORTS = {"http": 80, "https": 443}


class Shut(Exception):
    """This address is not to be called; the message says why."""


class Doors:
    """Opens to public addresses, to those of the horde itself and to `networks`.

    A horde on this machine is at every address of this machine. Where the environment names a
    proxy, it alone decides what can be reached.
    """

    def __init__(
        self,
        horde_url: str,
        networks: Sequence[IPv4Network | IPv6Network] = (),
        resolve: Resolve = ask_system,
    ) -> None:
        self._horde_url = horde_url
        self._networks = networks
        self._resolve = resolve
        self._horde_addresses: frozenset[str] | None = None

    async def address(self, url: str) -> str | None:
        """The address to connect to for a URL; None leaves it to the connection. Raises Shut."""
        if urllib.request.getproxies():
            return None
        addresses = await self._addresses(url)
        for address in addresses:
            if not is_public(address) and not await self._is_at_home(address):
                raise Shut(
                    f"{urlsplit(url).hostname} is not at a public address, but at {address}; "
                    "if it belongs to the horde, list its range in storage_networks"
                )
        return addresses[0]

    async def _is_at_home(self, text: str) -> bool:
        """Whether a private address is listed, or the horde's own."""
        address = _parsed(text)
        if any(address in network for network in self._networks):
            return True
        if self._horde_addresses is None:
            self._horde_addresses = frozenset(await self._addresses(self._horde_url))
        if text in self._horde_addresses:
            return True
        on_this_machine = any(_parsed(one).is_loopback for one in self._horde_addresses)
        return on_this_machine and _is_ours(address)

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
    address = _parsed(text)
    return address.is_global and not address.is_multicast


def _parsed(text: str) -> IPv4Address | IPv6Address:
    """An address without its scope; IPv4 in IPv6 dress counts as IPv4."""
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _is_ours(address: IPv4Address | IPv6Address) -> bool:
    """Whether this machine has that address: only then can it be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return not (address.is_unspecified or address.is_multicast)
