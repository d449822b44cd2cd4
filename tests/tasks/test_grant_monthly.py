# SPDX-License-Identifier: AGPL-3.0-or-later
"""Monthly kudos: each month once, whatever happens in between."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cast import Cast

from openhorde.server.actions.horde import Horde
from openhorde.server.kit.clock import FixedClock
from openhorde.server.store import kudos
from openhorde.server.store.users import Account
from openhorde.server.tasks import fold_ledger, grant_monthly

MONTHLY_MILLI = 5_000_000


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 31, 12, tzinfo=UTC))


@pytest.fixture
def horde(horde: Horde, clock: FixedClock) -> Horde:
    return replace(horde, clock=clock)


async def promise(horde: Horde, account: Account, milli: int = MONTHLY_MILLI) -> None:
    """What somebody is to get each month."""
    await horde.pool.execute(
        "update users set monthly_kudos_milli = $2 where id = $1", account.id, milli
    )


async def granted(horde: Horde) -> list[int]:
    """All grants so far, in kudos."""
    await fold_ledger.run(horde)
    assert await kudos.drifting_accounts(horde.statements) == []
    rows = await horde.pool.fetch(
        "select amount_milli from transfers where purpose = 'recurring' order by recorded_at"
    )
    return [row["amount_milli"] // 1000 for row in rows]


async def test_a_month_is_granted_once(horde: Horde, cast: Cast, clock: FixedClock) -> None:
    await promise(horde, await cast.bob())
    await asyncio.gather(*(grant_monthly.run(horde) for _ in range(5)))
    assert await granted(horde) == [5000]
    clock.set(datetime(2026, 2, 28, 11, tzinfo=UTC))
    await grant_monthly.run(horde)
    assert await granted(horde) == [5000]
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    await grant_monthly.run(horde)
    await grant_monthly.run(horde)
    assert await granted(horde) == [5000, 5000]


async def test_arrears_are_paid_a_month_a_round(
    horde: Horde, cast: Cast, clock: FixedClock
) -> None:
    bob = await cast.bob()
    await promise(horde, bob)
    await grant_monthly.run(horde)
    clock.set(datetime(2026, 5, 1, tzinfo=UTC))
    for months in (2, 3, 4, 4):
        await grant_monthly.run(horde)
        assert await granted(horde) == [5000] * months
    received = await horde.pool.fetchval(
        "select monthly_kudos_received_at from users where id = $1", bob.id
    )
    assert received == datetime(2026, 4, 28, 12, tzinfo=UTC)


async def test_even_who_forgets_what_was_paid_pays_no_month_twice(
    horde: Horde, cast: Cast, clock: FixedClock
) -> None:
    await promise(horde, await cast.bob())
    await grant_monthly.run(horde)
    await horde.pool.execute("update users set monthly_kudos_received_at = null")
    await grant_monthly.run(horde)
    assert await granted(horde) == [5000]


async def test_who_is_granted(horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_monthly, "BATCH", 1)
    bob, charlie = await cast.bob(), await cast.make("Charlie")
    await cast.make("Dora", moderator=True)
    await promise(horde, await cast.anonymous())
    await promise(horde, bob)
    await promise(horde, charlie)
    await horde.pool.execute("update users set roles = '{deleted}' where id = $1", charlie.id)
    await grant_monthly.run(horde)
    assert sorted(await granted(horde)) == [5000, 300_000]


async def test_a_round_that_breaks_off_loses_nothing(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await promise(horde, await cast.bob())

    async def broken(*_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(kudos, "save_grants", broken)
        with pytest.raises(ConnectionError):
            await grant_monthly.run(horde)
    assert await granted(horde) == []
    await grant_monthly.run(horde)
    assert await granted(horde) == [5000]
