# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose fault a failure is: the statement of the store says just what the rules say."""

from itertools import product
from uuid import UUID

import pytest
from cast import Cast, alchemy_pop, ask, ask_forms, image_pop

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.domain import faults
from openhorde.server.domain.faults import EarlierFault
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.lives import requeues
from openhorde.server.store.users import Account
from openhorde.server.tasks import count_deliveries
from openhorde.wire.image import ImageParams

REASON = "the size 640x384 is not supported"
SAME = "The size  128x64 is not supported"
OTHER = "out of memory"


def told(reason: str | None) -> list[dict[str, str]]:
    """A reason as workers note it."""
    return [] if reason is None else [{"type": "information", "value": "see_ref", "ref": reason}]


async def take(horde: Horde, owner: Account, kind: str, name: str) -> UUID:
    """The one job that a worker gets."""
    pop = image_pop(name=name) if kind == "image" else alchemy_pop("caption", name=name)
    (job,) = (await work.pop(horde, owner, pop, "127.0.0.1")).jobs
    return job.id


async def worker_of(horde: Horde, job_id: UUID) -> UUID:
    """Who has a job, or had it."""
    found: UUID = await horde.pool.fetchval("select worker_id from jobs where id = $1", job_id)
    return found


async def counts(horde: Horde) -> dict[str, tuple[int, int]]:
    """What stands against each worker: jobs not completed, and those of the last hour."""
    await count_deliveries.run(horde)
    rows = await horde.pool.fetch("select name, uncompleted_jobs, aborted_jobs from workers")
    return {row["name"]: (row["uncompleted_jobs"], row["aborted_jobs"]) for row in rows}


@pytest.mark.parametrize("kind", ["image", "alchemy"])
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("done", [True, False])
async def test_the_statement_says_what_the_rules_say(
    horde: Horde, cast: Cast, kind: str, trusted: bool, done: bool
) -> None:
    """One job after another fails, with every pair of owner, worker and reason."""
    alice = await cast.alice()
    owners = [await cast.make(name, trusted=trusted) for name in ("Bob", "Dora")]
    rule = KINDS[kind].faults
    for first, second, same_owner, same_worker in product(
        (REASON, None, "the worker was stopped"), (SAME, OTHER, None), (True, False), (True, False)
    ):
        if same_worker and not same_owner:
            continue
        bob, dora = owners[0], owners[0 if same_owner else 1]
        names = ("one", "one" if same_worker else "two" if same_owner else "three")
        if kind == "image":
            request_id = await ask(horde, alice)
        else:
            request_id = await ask_forms(horde, alice, "caption")
        if done:
            await horde.pool.execute(
                "insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things,"
                " state, model, worker_id, popped_at, finished_at)"
                " select gen_random_uuid(), request_id, kind, lane, rank, user_id, ordinal, things,"
                " 'done', 'm', gen_random_uuid(), now(), now()"
                " from jobs where request_id = $1",
                request_id,
            )
        before = await counts(horde)
        job_id = await take(horde, bob, kind, names[0])
        await work.give_up(horde, job_id, outcome="faulted", metadata=told(first))
        earlier_worker = await horde.pool.fetchval(
            "select worker_id from jobs where id = $1", job_id
        )
        job_id = await take(horde, dora, kind, names[1])
        worker = await worker_of(horde, job_id)
        await work.give_up(horde, job_id, outcome="faulted", metadata=told(second))
        earlier = EarlierFault(earlier_worker, bob.id, faults.stated_reason(told(first)))
        found = faults.alike(worker, faults.stated_reason(told(second)), [earlier], any_done=done)
        again = requeues(2, rule, of_request=bool(found))
        waiting = await horde.pool.fetchval(
            "select count(*) from jobs where request_id = $1 and state = 'waiting'", request_id
        )
        case = (first, second, same_owner, same_worker)
        assert waiting == again, case
        state = await horde.pool.fetchval("select state from requests where id = $1", request_id)
        assert (state == "faulted") is not again, case
        excused = bool(found) and faults.excuses(dora.id, earlier, trusted=trusted)
        after = await counts(horde)
        blamed = sum(after[name][0] - before.get(name, (0, 0))[0] for name in set(names))
        assert blamed == (0 if excused else 2), case
        if excused:
            assert all(after[name][1] <= before.get(name, (0, 0))[1] for name in set(names)), case
        await requests.cancel(horde, request_id)
        await horde.pool.execute("update workers set maintenance = false, aborted_jobs = 0")
        horde.check_ins.forget_all()


@pytest.mark.parametrize("takers", ["abc", "abab", "aabb", "abca", "abbcc"])
async def test_a_fault_is_excused_once_however_many_follow(
    horde: Horde, cast: Cast, takers: str
) -> None:
    """Every worker has one fault of its own, which stays, whoever fails of several jobs in turn."""
    alice = await cast.alice()
    owners = {name: await cast.make(f"Owner {name}") for name in sorted(set(takers))}
    for name, owner in owners.items():
        await ask(horde, alice)
        job_id = await take(horde, owner, "image", name)
        await work.give_up(horde, job_id, outcome="faulted", metadata=told(f"the worker {name}"))
        await horde.pool.execute("update jobs set state = 'cancelled' where state = 'waiting'")
    before = await counts(horde)
    assert {each[0] for each in before.values()} == {1}
    await ask(horde, alice, params=ImageParams(n=len(takers)))
    job_ids = [await take(horde, owners[name], "image", name) for name in takers]
    for job_id in job_ids:
        await work.give_up(horde, job_id, outcome="faulted", metadata=told(REASON))
    assert await counts(horde) == before
