# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statistics on the wire: periods, and models."""

from datetime import timedelta
from typing import Any

from cast import Cast, ask, delivery, take

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.tasks import count_deliveries

PIXELSTEPS = 64 * 64 * 4
PERIODS = ("minute", "hour", "day", "month", "total")


async def finish(horde: Horde, cast: Cast, models: list[str]) -> None:
    """Have a picture made with each of the models."""
    alice, bob = await cast.alice(), await cast.bob()
    for model in models:
        await ask(horde, alice, models=[model])
        (job_id,) = await take(horde, bob, models=[model], name=f"machine of {model}")
        await work.deliver(horde, bob, delivery(job_id))
    await count_deliveries.run(horde)


async def test_totals_by_period(horde: Horde, look: Any, cast: Cast) -> None:
    await finish(horde, cast, ["one", "two", "two"])
    shown = (await look("/api/v2/stats/img/totals")).json()
    assert shown == {key: {"images": 3, "ps": 3 * PIXELSTEPS} for key in PERIODS}
    for age, lost in (
        (timedelta(minutes=2), 1),
        (timedelta(hours=2), 2),
        (timedelta(days=2), 3),
    ):
        await horde.pool.execute("update deliveries set delivered_at = now() - $1::interval", age)
        shown = (await look("/api/v2/stats/img/totals")).json()
        assert [shown[period]["images"] for period in PERIODS] == [0] * lost + [3] * (5 - lost)
    await horde.pool.execute("update daily_totals set day = day - 31")
    shown = (await look("/api/v2/stats/img/totals")).json()
    assert [shown[period]["images"] for period in PERIODS] == [0, 0, 0, 0, 3]


async def test_models_by_period(horde: Horde, look: Any, cast: Cast) -> None:
    await finish(horde, cast, ["one", "two", "two"])
    shown = (await look("/api/v2/stats/img/models")).json()
    assert shown == {key: {"two": 2, "one": 1} for key in ("day", "month", "total")}
    assert (await look("/api/v2/stats/img/models?model_state=custom")).json()["total"] == {}
    assert (await look("/api/v2/stats/img/models?model_state=none")).status_code == 400
    await horde.pool.execute("update daily_totals set day = day - 31 where model = 'one'")
    await horde.pool.execute("delete from deliveries where model = 'one'")
    shown = (await look("/api/v2/stats/img/models")).json()
    assert shown == {"day": {"two": 2}, "month": {"two": 2}, "total": {"two": 2, "one": 1}}


async def test_kinds_are_counted_apart(horde: Horde, look: Any, cast: Cast) -> None:
    await finish(horde, cast, ["one"])
    shown = (await look("/api/v2/stats/text/totals")).json()
    assert shown == {key: {"requests": 0, "tokens": 0} for key in PERIODS}
    assert (await look("/api/v2/stats/text/models")).json() == {"day": {}, "month": {}, "total": {}}
