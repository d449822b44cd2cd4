# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many workers an owner and an address may have, as the operator says."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from cast import Cast, alchemy_pop, image_pop

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.api.words import sentence_of
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store.users import Account

HOME, PUBLIC = "192.168.1.5", "93.184.216.34"
Pop = Callable[..., Awaitable[str]]


@pytest.fixture
async def bob(cast: Cast) -> Account:
    """An owner who is not trusted."""
    return await cast.make("Bob")


def bounded(horde: Horde, **caps: Any) -> Horde:
    """The horde with these bounds."""
    return replace(horde, settings=replace(horde.settings, **caps))


async def pop(horde: Horde, owner: Account, name: str, address: str = PUBLIC) -> str:
    """The code with which a worker is refused, or "" for one that is welcome."""
    try:
        await work.pop(horde, owner, image_pop(name=name), address)
    except Refusal as refusal:
        said = sentence_of(refusal.code, refusal.facts)
        assert "delete one" in said
        assert "OPENHORDE_WORKERS_PER_" in said
        return refusal.code
    return ""


async def test_an_owner_has_so_many_of_each_kind_within_a_day(horde: Horde, bob: Account) -> None:
    horde = bounded(horde, workers_per_owner=2, workers_per_address=0)
    assert [await pop(horde, bob, name) for name in "abc"] == ["", "", "TooManyWorkers"]
    # Those that are known go on; other kinds have their own.
    assert await pop(horde, bob, "a") == ""
    await work.pop(horde, bob, alchemy_pop("caption", name="d"), PUBLIC)
    # One that has not been there for a day does not count, and is new when it comes back.
    await horde.pool.execute(
        "update workers set checked_in_at = now() - interval '25 hours' where name = 'a'"
    )
    horde.check_ins.forget_all()
    assert [await pop(horde, bob, name) for name in "cab"] == ["", "TooManyWorkers", ""]


async def test_trusted_owners_have_their_own_bound(horde: Horde, cast: Cast) -> None:
    horde = bounded(horde, workers_per_owner=1, workers_per_trusted_owner=3, workers_per_address=1)
    trusted = await cast.bob()
    codes = [await pop(horde, trusted, name) for name in "abcd"]
    assert codes == ["", "", "", "TooManyWorkersTrusted"]


async def test_an_address_has_so_many_if_it_is_public(horde: Horde, cast: Cast) -> None:
    horde = bounded(horde, workers_per_address=2, workers_per_owner=0)
    owners = [await cast.make(name) for name in ("Bob", "Charlie", "Mallory")]
    codes = [await pop(horde, owner, owner.username) for owner in owners]
    assert codes == ["", "", "TooManySameIPs"]
    for address in (HOME, "127.0.0.1", "fd00::1", ""):
        for number, owner in enumerate(owners):
            assert await pop(horde, owner, f"{address} {number}", address) == ""


async def test_addresses_of_one_subscriber_are_one(horde: Horde, cast: Cast) -> None:
    """Whoever has IPv6 has a /64 of it, and may call from another address each time."""
    horde = bounded(horde, workers_per_address=2, workers_per_owner=0)
    owners = [await cast.make(name) for name in ("Bob", "Charlie", "Mallory")]
    bob, *_ = owners
    # Those of unix sockets, of links and of IPv4 count by themselves, or not at all.
    for address in ("", "fe80::1%eth0", "::1", PUBLIC):
        assert await pop(horde, bob, f"at {address}", address) == ""
    for net in ("2606:4700:0:1", "2606:4700::2:0:0:0:0", "2606:4700:1:0", "2606:4700"):
        first = ip_address(net if net.count(":") > 3 else f"{net}::")
        addresses = [str(first + offset) for offset in (1, 0xFFFF_0000_0000_0000, 0x1_0000)]
        codes = [
            await pop(horde, owner, f"{owner.username} at {address}", address)
            for owner, address in zip(owners, addresses, strict=True)
        ]
        assert codes == ["", "", "TooManySameIPs"], addresses
    # An address that IPv4 lends is of IPv4.
    assert await pop(horde, bob, "second", PUBLIC) == ""
    assert await pop(horde, bob, "third", PUBLIC) == "TooManySameIPs"


async def test_no_bound_is_none(horde: Horde, bob: Account) -> None:
    horde = bounded(horde, workers_per_owner=0, workers_per_address=0)
    assert {await pop(horde, bob, f"worker {number}") for number in range(30)} == {""}
