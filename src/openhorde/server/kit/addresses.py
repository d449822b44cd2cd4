# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which internet addresses belong to the public internet, and which to somebody's own network."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Beyond what `ipaddress` knows not to be global.
_LOCAL_IPV4 = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT; Alibaba's metadata service
    IPv4Network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata service
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # Azure's metadata service, on a public address
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_LOCAL_IPV6 = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address is a host on the public internet.

    No for private, shared, loopback, link-local, multicast, reserved and unspecified addresses,
    for the metadata services of clouds, and for IPv6 addresses that carry such an IPv4 address
    (mapped, 6to4, NAT64).
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        inner = _carried(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_IPV6 or any(address in network for network in _LOCAL_IPV6):
            return False
    elif any(address in network for network in _LOCAL_IPV4):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def is_public_text(text: str) -> bool:
    """The same of an address in text; no for what is none, such as the peer of a unix socket."""
    try:
        return is_public(ip_address(text))
    except ValueError:
        return False


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks; IPv4 in IPv6 dress counts as IPv4."""
    address = unmapped(address)
    return any(address in network for network in networks)


def unmapped(address: Address) -> Address:
    """The address itself, or the IPv4 address that one in IPv6 dress carries."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=10_000)
def network(address: str) -> str:
    """Whom an address stands for: one IPv6 subscriber has a whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
