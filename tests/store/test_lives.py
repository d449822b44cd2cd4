# SPDX-License-Identifier: AGPL-3.0-or-later
"""The statements of the store move jobs just as the rules say, and no job otherwise."""

from itertools import product
from uuid import UUID

import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.lives import MOVES, Event, State
from openhorde.server.domain.refusals import Refusal

UNPOPPED = frozenset({State.WAITING, State.CANCELLED, State.EXPIRED})


async def bring_to(horde: Horde, job_id: UUID, state: State) -> None:
    """Put a running job into a state, with the fields that the schema asks for."""
    await horde.pool.execute(
        "update jobs set state = $2,"
        " worker_id = case when $3 then null else worker_id end,"
        " popped_at = case when $3 then null else popped_at end,"
        " finished_at = case when $2 in ('waiting', 'running') then null else now() end"
        " where id = $1",
        job_id,
        state.value,
        state in UNPOPPED,
    )


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
async def test_every_event_in_every_state(
    horde: Horde, cast: Cast, state: State, event: Event
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    await bring_to(horde, job_id, state)
    try:
        if event is Event.POP:
            await take(horde, bob)
        elif event is Event.DELIVER:
            await work.deliver(horde, bob, delivery(job_id))
        elif event is Event.FAULT:
            await work.give_up(horde, job_id, outcome="faulted")
        elif event is Event.CANCEL:
            await requests.cancel(horde, request_id)
        elif event is Event.RETURN:
            popped_at = await horde.pool.fetchval(
                "select popped_at from jobs where id = $1", job_id
            )
            await horde.statements.run("return_jobs", [job_id], popped_at)
        else:
            await requests.expire(horde, [request_id])
    except Refusal:
        assert (state, event) not in MOVES
    after = await horde.pool.fetchval("select state from jobs where id = $1", job_id)
    assert after == MOVES.get((state, event), state)
