# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who calls, and how they reached this server: what is believed, and whom."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.api.addresses import CHAIN_CHARACTERS_MAX, Lookout, Surroundings
from openhorde.server.settings import ServerSettings

PROXY, SECOND, CALLER, STRANGER = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.9"
TRUSTED = (ip_network("10.0.0.0/24"), ip_network("fd00::/16"))
XFF, FORWARDED = "X-Forwarded-For", "Forwarded"


def look(
    *headers: tuple[str, str],
    peer: str | None = PROXY,
    server: Any = ("10.0.0.9", 7001),
    **more: Any,
) -> Surroundings:
    """What the server makes of a call with these headers, in their order."""
    settings = ServerSettings(**({"trusted_proxies": TRUSTED} | more))
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {
        "client": None if peer is None else (peer, 1234),
        "server": server,
        "scheme": "http",
        "headers": raw,
    }
    return Lookout(settings).look(scope, dict(raw))


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ([], PROXY),
        ([(XFF, CALLER)], CALLER),
        ([(XFF, f"{STRANGER}, {CALLER}")], CALLER),
        ([(XFF, f"{STRANGER}, {CALLER}, {SECOND}")], CALLER),
        ([(XFF, f"{STRANGER},{CALLER},,{SECOND},")], CALLER),
        ([(XFF, STRANGER), (XFF, CALLER)], CALLER),
        ([(XFF, CALLER), (XFF, SECOND)], CALLER),
        ([(XFF, f"{CALLER}:51234")], CALLER),
        ([(XFF, "[2001:db8::7]:51234")], "2001:db8::7"),
        ([(XFF, "[2001:db8::7]")], "2001:db8::7"),
        ([(XFF, "2001:DB8:0::7")], "2001:db8::7"),
        ([(XFF, f"::ffff:{CALLER}")], CALLER),
        ([(XFF, f"{CALLER}, ::ffff:{SECOND}")], CALLER),
        ([(XFF, f"{CALLER}, fd00::5")], CALLER),
        ([(XFF, f'"{CALLER}"')], CALLER),
        # All are proxies: the first of them calls.
        ([(XFF, f"{SECOND}, 10.0.0.3")], SECOND),
        # Nothing that can be read: who wrote it calls.
        ([(XFF, "unknown")], PROXY),
        ([(XFF, f"{STRANGER}, unknown, {SECOND}")], SECOND),
        ([(XFF, "drop table")], PROXY),
        ([(XFF, "1.2.3.4.5")], PROXY),
        ([(XFF, "999.1.1.1")], PROXY),
        ([(XFF, "")], PROXY),
        ([(FORWARDED, f"for={CALLER}")], CALLER),
        ([(FORWARDED, f"For={STRANGER}, FOR = {CALLER} ;proto=https")], CALLER),
        ([(FORWARDED, f'for="{CALLER}:80";by=10.0.0.1')], CALLER),
        ([(FORWARDED, 'for="[2001:db8::7]:4711"')], "2001:db8::7"),
        ([(FORWARDED, 'for="[2001:db8::7]:_hidden"')], "2001:db8::7"),
        ([(FORWARDED, f"for={CALLER}, for={SECOND}")], CALLER),
        ([(FORWARDED, f"for={STRANGER}"), (FORWARDED, f"for={CALLER}")], CALLER),
        ([(FORWARDED, f"for={STRANGER}, for=unknown, for={SECOND}")], SECOND),
        ([(FORWARDED, f"for={STRANGER}, for=_hidden")], PROXY),
        ([(FORWARDED, "proto=https")], PROXY),
        # A quote that a stranger leaves open swallows nothing.
        ([(FORWARDED, f'for="{STRANGER}'), (FORWARDED, f"for={CALLER}")], CALLER),
        ([(FORWARDED, f"for={CALLER};for={STRANGER}")], CALLER),
        # Most proxies write the one and pass the other on as it came.
        ([(FORWARDED, f"for={STRANGER}"), (XFF, CALLER)], CALLER),
    ],
)
def test_the_caller_is_the_last_of_the_chain_that_is_no_proxy(
    headers: list[tuple[str, str]], caller: str
) -> None:
    assert look(*headers).client_address == caller
    # From anybody else no header is believed, and a unix socket is near.
    assert look(*headers, peer=CALLER).client_address == CALLER
    assert look(*headers, peer="::ffff:127.0.0.1").client_address == "127.0.0.1"
    assert look(*headers, peer=f"::ffff:{PROXY}").client_address == caller
    nobody = "" if caller == PROXY else caller
    assert look(*headers, peer=None).client_address == nobody


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("fd00::1", False),
    ],
)
def test_by_default_the_loopback_is_trusted(peer: str, believed: bool) -> None:
    trusted = ServerSettings().trusted_proxies
    found = look((XFF, CALLER), peer=peer, trusted_proxies=trusted).client_address
    assert found == (CALLER if believed else peer)


def test_nobody_is_trusted_where_the_operator_says_so() -> None:
    assert look((XFF, CALLER), peer="127.0.0.1", trusted_proxies=()).client_address == "127.0.0.1"


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)
)
outside = addresses.filter(
    lambda each: (
        not any((getattr(each, "ipv4_mapped", None) or each) in network for network in TRUSTED)
    )
)
proxies = st.integers(0, 255).map(lambda number: IPv4Address((10 << 24) + number))
garbage = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200)


@given(garbage, outside, st.lists(proxies, max_size=5), st.sampled_from(["X", "F"]), st.booleans())
def test_whatever_a_stranger_writes_the_chain_behind_it_holds(
    written: str,
    caller: IPv4Address | IPv6Address,
    passed: list[IPv4Address],
    style: str,
    port: bool,
) -> None:
    def node(address: object) -> str:
        shown = f"[{address}]" if ":" in str(address) else str(address)
        return f"{shown}:4711" if port else shown

    nodes = [node(address) for address in (caller, *passed)]
    if style == "X":
        chain = (XFF, ", ".join([written, *nodes]))
    else:
        chain = (FORWARDED, ", ".join([written, *(f'for="{each}"' for each in nodes)]))
    mapped = getattr(caller, "ipv4_mapped", None)
    assert look(chain).client_address == str(mapped or caller)


@given(st.lists(st.tuples(st.sampled_from([XFF, FORWARDED, "Host"]), garbage), max_size=4))
def test_nonsense_never_fails_and_never_reaches_a_link(headers: list[tuple[str, str]]) -> None:
    found = look(*headers)
    assert all(character.isalnum() or character in "._-[]:/" for character in found.url_root)


def test_only_the_end_of_a_chain_is_read() -> None:
    long = ", ".join([STRANGER] * 200_000 + [CALLER])
    assert look((XFF, long)).client_address == CALLER
    all_proxies = ", ".join([CALLER] + [SECOND] * CHAIN_CHARACTERS_MAX)
    assert look((XFF, all_proxies)).client_address == SECOND


OWN = socket.gethostname().lower()


@pytest.mark.parametrize(
    ("host", "root"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:7001", "http://127.0.0.1:7001"),
        ("[::1]:7001", "http://[::1]:7001"),
        ("192.168.1.5:7001", "http://192.168.1.5:7001"),
        ("10.0.0.9", "http://10.0.0.9"),
        (f"{OWN}:7001", f"http://{OWN}:7001"),
        ("a.localhost", "http://a.localhost"),
        # A name or an address that anybody may have written.
        ("evil.example", "http://10.0.0.9:7001"),
        ("evil.example:7001", "http://10.0.0.9:7001"),
        ("6.6.6.6", "http://10.0.0.9:7001"),
        ("localhost.evil.example", "http://10.0.0.9:7001"),
        ("localhost@evil.example", "http://10.0.0.9:7001"),
        ("10.0.0.9:7001/x", "http://10.0.0.9:7001"),
        ("evil/../x", "http://10.0.0.9:7001"),
        ("", "http://10.0.0.9:7001"),
        ("a" * 300, "http://10.0.0.9:7001"),
    ],
)
def test_a_host_is_believed_only_if_it_may_be_ours(host: str, root: str) -> None:
    for peer in (PROXY, STRANGER):
        assert look(("Host", host), peer=peer).url_root == root
    assert look(("Host", host), public_url="https://h.example/x/").url_root == "https://h.example/x"


@pytest.mark.parametrize(
    ("server", "root"),
    [
        (("203.0.113.1", 80), "http://203.0.113.1"),
        (("::ffff:203.0.113.1", 7001), "http://203.0.113.1:7001"),
        (("2001:db8::1", 7001), "http://[2001:db8::1]:7001"),
        (("/run/horde.sock", None), "http://127.0.0.1:7001"),
        (None, "http://127.0.0.1:7001"),
    ],
)
def test_else_links_lead_to_where_the_call_came(server: Any, root: str) -> None:
    assert look(("Host", "evil.example"), peer=STRANGER, server=server).url_root == root


def test_an_address_of_ours_on_the_internet_is_believed() -> None:
    found = look(("Host", "203.0.113.1"), peer=STRANGER, server=("203.0.113.1", 80))
    assert found.url_root == "http://203.0.113.1"


@pytest.mark.parametrize(
    ("headers", "root", "prefix"),
    [
        ([("X-Forwarded-Proto", "https")], "https://10.0.0.9:7001", ""),
        ([("X-Forwarded-Proto", "gopher")], "http://10.0.0.9:7001", ""),
        ([("X-Forwarded-Host", "h.example")], "http://h.example", ""),
        ([("X-Forwarded-Host", "evil, h.example:8")], "http://h.example:8", ""),
        ([("X-Forwarded-Host", "h.example/x")], "http://10.0.0.9:7001", ""),
        ([("X-Forwarded-Prefix", "/horde/")], "http://10.0.0.9:7001/horde", "/horde"),
        ([("X-Forwarded-Prefix", "/a/b")], "http://10.0.0.9:7001/a/b", "/a/b"),
        ([("X-Forwarded-Prefix", "//evil")], "http://10.0.0.9:7001", ""),
        ([("X-Forwarded-Prefix", '/"><script>')], "http://10.0.0.9:7001", ""),
        ([("X-Forwarded-Prefix", "/" + "a" * 300)], "http://10.0.0.9:7001", ""),
        ([(FORWARDED, f"for={CALLER};proto=https;host=h.example")], "https://h.example", ""),
    ],
)
def test_what_a_proxy_says_of_the_outside_is_believed_of_a_trusted_one(
    headers: list[tuple[str, str]], root: str, prefix: str
) -> None:
    found = look(*headers)
    assert (found.url_root, found.prefix) == (root, prefix)
    stranger = look(*headers, peer=STRANGER)
    assert (stranger.url_root, stranger.prefix) == ("http://10.0.0.9:7001", "")


def test_a_public_url_wins_over_all() -> None:
    said = [("X-Forwarded-Host", "a.example"), ("X-Forwarded-Prefix", "/b"), ("Host", "localhost")]
    found = look(*said, public_url="https://h.example/horde/")
    assert (found.url_root, found.prefix) == ("https://h.example/horde", "/horde")
