# SPDX-License-Identifier: AGPL-3.0-or-later
"""Work: a job is popped, delivered or given up."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import choice
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec
from msgspec.structs import replace

from openhorde.server.actions import check_ins
from openhorde.server.actions.check_ins import Entry
from openhorde.server.actions.pictures import keep_picture
from openhorde.server.actions.requests import settle
from openhorde.server.domain import faults, ledger, policy
from openhorde.server.domain.kinds.face import AnyPop, Outcome, TakenJob
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.lives import Event, State, move
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.ids import uuid7, uuid_or_none
from openhorde.server.store import work
from openhorde.server.store.signals import Changed, Started, Waiting
from openhorde.server.store.work import Claim, ClaimedJob, JobFacts, LaneTerms, Returned

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

RECOVER_SECONDS = 5.0
"""Jobs that a worker does not hold any more are looked for at a pop when that was last done longer
ago, and whenever the worker is going to wait."""

LOOKS_MAX = 25
"""How often a pop looks again when what it saw was being taken by others at that moment."""


@dataclass(frozen=True, slots=True)
class Popped:
    """What a pop found: jobs (of one request, unless its kind's stand apart), or none and why
    (requests skipped, by reason)."""

    jobs: Sequence[ClaimedJob]
    skipped: dict[str, int]


async def pop(horde: "Horde", owner: "Account", said: AnyPop, address: str) -> Popped:
    """Find a worker the best-ranked job that it can do, and give it to it.

    Raises Refusal when the worker is not admitted, or rests and its owner has nothing for it.
    """
    arrived = monotonic()
    holding = said.holding
    if holding is not None:
        # A worker that holds other jobs offers the same.
        said = cast("AnyPop", msgspec.structs.replace(cast(Any, said), holding=None))
    entry = await check_ins.check_in(horde, owner, said, address)
    if holding is not None and arrived - entry.recovered_at > RECOVER_SECONDS:
        await recover(horde, entry, holding, arrived)
    if entry.record.paused:
        raise Refusal("WorkerMaintenance", reason="paused", worker=entry.record.name)
    jobs = await _claim(horde, owner, entry)
    if jobs:
        horde.assignments.keep(jobs, entry.record, entry.pop.bridge_agent)
        for request_id in {job.request_id: None for job in jobs}:
            rank = min(job.rank for job in jobs if job.request_id == request_id)
            horde.signals.send(Started(entry.kind.name, request_id, rank, entry.record.id))
        return Popped(jobs, {})
    if entry.record.maintenance:
        raise Refusal(
            "WorkerMaintenance",
            reason="maintenance",
            worker=entry.record.name,
            message=entry.record.maintenance_message or "",
        )
    return Popped((), await _skipped(horde, entry))


async def recover(horde: "Horde", entry: Entry, holding: Sequence[str], arrived: float) -> None:
    """Put the jobs back into the queue that a worker was given before its pop arrived (monotonic)
    and does not hold any more. It is not blamed."""
    entry.recovered_at = arrived
    held = [job_id for each in holding if (job_id := uuid_or_none(each)) is not None]
    _announce(
        horde,
        await work.return_unheld(
            horde.statements, entry.record.id, held, given_seconds_ago=monotonic() - arrived
        ),
    )


async def _claim(horde: "Horde", owner: "Account", entry: Entry) -> list[ClaimedJob]:
    """Ask the database; look again, with fresh eyes, before taking "nothing" for an answer."""
    favoured_users = [owner.id, *policy.priority_user_ids(entry.pop.priority_usernames)]
    # Only these find jobs of favoured users where they would find none of others.
    favours = entry.record.maintenance or entry.fitting_favoured is not entry.fitting
    blocked_words = entry.kind.blocked_words(entry.pop)
    in_vain: set[int] = set()
    for look in range(LOOKS_MAX):
        if look > 0:
            await horde.queue.look(entry.fitting)
        favoured = await horde.queue.fitting_of_users(
            entry.fitting_favoured, favoured_users, fresh=favours and look == 1
        )
        favoured = [lane for lane in favoured if lane not in in_vain]
        terms = _terms(horde, entry, favoured, in_vain, screened=bool(blocked_words))
        if not terms:
            if look > 0:
                return []
            continue
        claim = Claim(
            worker_id=entry.record.id,
            terms=terms,
            favoured_users=favoured_users,
            favoured_lanes=favoured,
            blocked_words=blocked_words,
            ttl_factor=entry.kind.ttl_factor(entry.pop),
        )
        began = monotonic()
        if entry.kind.jobs_apart and entry.pop.amount > 1:
            jobs = await work.claim_apart(horde.statements, claim, entry.pop.amount)
            looked = None
        else:
            jobs, looked = await work.claim(horde.statements, claim)
        if looked is not None:
            general = (each.lane for each in terms if each.general)
            horde.queue.looked(general, looked, began)
        if jobs:
            return jobs
        if look > 0 and not await work.anything_waiting(horde.statements, claim):
            in_vain.update(each.lane for each in terms)
            if not _terms(horde, entry, favoured, in_vain, screened=bool(blocked_words)):
                return []
        elif look > 1:
            await asyncio.sleep(0.002 * look)
    return []


def _terms(
    horde: "Horde",
    entry: Entry,
    favoured: Sequence[int],
    in_vain: AbstractSet[int],
    *,
    screened: bool,
) -> list[LaneTerms]:
    """The lanes that the worker fits and has not looked at in vain, each on the terms of a model
    drawn for it; for a worker that rests, only those of its favoured users."""
    general = []
    if not entry.record.maintenance:
        general = horde.queue.fitting(entry.fitting, screened=screened, without=in_vain)
    terms = [_lane_terms(horde, entry, lane, general=True) for lane in general]
    if favoured:
        known = set(general)
        terms += [
            _lane_terms(horde, entry, lane, general=False) for lane in favoured if lane not in known
        ]
    return terms


def _lane_terms(horde: "Horde", entry: Entry, lane: int, *, general: bool) -> LaneTerms:
    needs = horde.queue.needs(lane)
    assert needs is not None
    kind, pop, reference = entry.kind, entry.pop, horde.reference
    model = choice(kind.models_for(needs, entry.models, pop))
    return LaneTerms(
        lane,
        model,
        kind.job_multiplier(needs, model, pop, entry.fitting.offer, reference),
        1 if kind.jobs_apart else kind.batch_amount(needs, model, pop, reference),
        general,
    )


async def _skipped(horde: "Horde", entry: Entry) -> dict[str, int]:
    snapshot = await horde.queue.snapshot(with_latest=True)
    skipped = horde.skips.tally(snapshot, horde.queue.needs, entry.fitting.offer)
    blocked_words = entry.kind.blocked_words(entry.pop)
    if blocked_words:
        fitting = horde.queue.fitting(entry.fitting, screened=True)
        blocked = await work.blocked_requests(horde.statements, fitting, blocked_words)
        if blocked:
            skipped["blacklist"] = blocked
    return skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a worker hands in for a job: the struct it submitted, or, if it has `faulted`, only what
    it notes."""

    job_id: UUID
    faulted: bool
    submit: Any
    metadata: list[dict[str, Any]]


async def deliver(horde: "Horde", owner: "Account", delivery: Delivery) -> int:
    """Take a result (or a failure) and pay for it; the reward in millikudos.

    Raises Refusal InvalidJobID, WrongCredentials, DuplicateGen or AbortedGen, and for a result that
    its kind does not take.
    """
    job = horde.assignments.take(delivery.job_id)
    if job is None:
        job = await work.job_facts(horde.statements, delivery.job_id)
    if job is None or not isinstance(delivery.submit, KINDS[job.kind].submit_type):
        raise Refusal("InvalidJobID", id=str(delivery.job_id))
    if job.owner_id != owner.id:
        raise Refusal("WrongCredentials", reason="job", id=str(job.id))
    if delivery.faulted:
        if job.state == State.DONE:
            raise Refusal("DuplicateGen", id=str(job.id))
        await give_up(
            horde,
            job.id,
            outcome="faulted",
            metadata=delivery.metadata,
            worker_id=job.worker_id,
        )
        return 0
    move(State(job.state), Event.DELIVER)
    taken = TakenJob(job.model or "", job.things, owner.trusted)
    outcome = KINDS[job.kind].outcome(delivery.submit, taken, horde.reference)
    if outcome.picture is not None:
        key = await keep_picture(horde, job.id, outcome.picture)
        outcome = replace(outcome, result={**outcome.result, "picture": key})
    return await _pay(horde, owner, job, outcome)


async def _pay(horde: "Horde", owner: "Account", job: JobFacts, outcome: Outcome) -> int:
    assert job.reward_milli is not None
    assert job.price_milli is not None
    reward_milli = round(job.reward_milli * outcome.share)
    transfers = ledger.deliver(
        job.id,
        job.request_id,
        payer=job.user_id,
        owner=owner.id,
        owner_trusted=owner.trusted,
        reward_milli=reward_milli,
        price_milli=round(job.price_milli * outcome.share),
        tax_milli=job.tax_each_milli,
        censored=outcome.censored,
        bridge_multiplier=KINDS[job.kind].credited_share(job.bridge_agent or ""),
    )
    account = ledger.balance_account(job.user_id)
    paid_milli = sum(leg.amount_milli for leg in transfers if leg.debit == account)
    if job.others_open is None:
        remaining_milli = max(0, job.remaining_milli - paid_milli)
        transfers += ledger.release(job.request_id, job.user_id, remaining_milli)
    done = work.Done(outcome.result, reward_milli, paid_milli, outcome.things)
    if not await work.deliver(horde.statements, job, done, transfers):
        latest = await work.job_facts(horde.statements, job.id)
        if latest is None:
            raise Refusal("InvalidJobID", id=str(job.id))
        move(State(latest.state), Event.DELIVER)
        # It went back into the queue, and another has it now.
        raise Refusal("AbortedGen", id=str(job.id))
    if job.others_open == "running":
        # Should these be delivered at this very moment, nobody saw itself as the last.
        await settle(horde, [job.request_id])
    horde.signals.send(Changed(job.request_id))
    return reward_milli


async def take_back(horde: "Horde", jobs: Sequence[ClaimedJob]) -> None:
    """Put jobs back into the queue that their worker could not be told of."""
    for job in jobs:
        horde.assignments.take(job.id)
    if jobs:
        _announce(horde, await work.return_jobs(horde.statements, jobs))


def _announce(horde: "Horde", returned: Sequence[Returned]) -> None:
    """Tell everybody of jobs that wait again."""
    for job in returned:
        horde.signals.send(Waiting(job.kind, job.lane, job.rank, 1, job.user_id, 0))
        horde.signals.send(Changed(job.request_id))


async def give_up(
    horde: "Horde",
    job_id: UUID,
    *,
    outcome: str,
    metadata: list[dict[str, Any]] | None = None,
    worker_id: UUID | None = None,
) -> None:
    """Give a running job up (if it is still with `worker_id`, where that is given): another takes
    its place, or the request has failed too often, or for a reason of its own."""
    async with horde.statements.transaction() as statements:
        kind = await work.lock_request_of_job(statements, job_id)
        if kind is None:
            return
        failed = await work.fail(
            statements,
            job_id,
            uuid7(),
            result={"outcome": outcome, "gen_metadata": metadata or []},
            outcome=outcome,
            rule=KINDS[kind].faults,
            reason=faults.stated_reason(metadata or []),
            worker_id=worker_id,
        )
    if failed is None:
        return
    if failed.lane is not None and failed.rank is not None:
        again = Waiting(failed.kind, failed.lane, failed.rank, 1, failed.user_id, 0)
        horde.signals.send(again)
    else:
        await settle(horde, [failed.request_id])
    horde.signals.send(Changed(failed.request_id))
