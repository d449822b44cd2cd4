# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests: submitted, checked, read, cancelled and settled."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import structlog

from openhorde.server.actions import placing, sources, webhooks
from openhorde.server.actions.possibility import Asked, Outlook, look_ahead
from openhorde.server.actions.progress import Progress, measure
from openhorde.server.actions.source_desk import Sender
from openhorde.server.domain import ledger, policy
from openhorde.server.domain.kinds.face import AnyKind, JobPlan, Load
from openhorde.server.domain.kinds.table import kind_of
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester, floor_milli
from openhorde.server.kit.addresses import network
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import events, kudos, requests
from openhorde.server.store.events import TakenJob
from openhorde.server.store.requests import NewRequest
from openhorde.server.store.signals import Changed
from openhorde.wire.requests import Warning

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

log = structlog.get_logger("openhorde.requests")

STAYS = "It stays in the queue for 20 minutes in case one comes."


@dataclass(frozen=True, slots=True)
class Client:
    """Who speaks for the requester: the `Client-Agent` header and the address."""

    agent: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A request that waits now. `kudos_milli` is the base price of one of its jobs, `total_milli`
    what it is expected to cost in all, and `webhook_secret` what verifies the calls of its webhook,
    if it has one."""

    request_id: UUID
    kudos_milli: int
    total_milli: int
    message: str | None
    warnings: tuple[Warning, ...]
    webhook_secret: str | None
    outlook: Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a request would cost, all its jobs and taxes together, and why."""

    kudos_milli: int
    lines: tuple[PriceLine, ...]
    warnings: tuple[Warning, ...]
    outlook: Outlook


async def submit(
    horde: "Horde", account: "Account", request: Any, client: Client
) -> Queued | Priced:
    """Judge, price and queue a request of any kind; a dry run is only judged and priced.

    Raises Refusal for everything that may not be asked.
    """
    kind = kind_of(request)
    requester = as_requester(account, kind)
    request, warnings = kind.check(request, requester, horde.reference)
    webhooks.check(horde, request.webhook)
    policy.check_client_agent(client.agent)
    if kind.workers(request):
        workers = await _known_workers(horde, kind.workers(request))
        request = kind.with_workers(request, workers)
    pictures = sources.NOTHING
    sender = Sender(account.id, network(client.address) if account.anonymous else None)
    if kind.priced_by_sources:
        pictures = await _look_at_sources(horde, kind, request, sender)
    shared = kind.shares(request, requester)
    judged = await _afford(horde, kind, requester, request, pictures, shared)
    request = judged.request
    if kind.is_dry_run(request):
        return await _priced(horde, kind, requester, judged, warnings)
    if not kind.priced_by_sources:
        pictures = await _look_at_sources(horde, kind, request, sender)
    judged = replace(judged, pictures=pictures)
    async with horde.source_desk.room(sender, pictures.size_bytes):
        new, outlook = await _queue_up(horde, kind, requester, judged, client)
    message = None
    if not outlook.is_possible:
        message = f"{outlook.sentence} {STAYS}"
        warnings = (*warnings, Warning(code="NoAvailableWorker", message=message))
    return Queued(
        request_id=new.id,
        kudos_milli=new.order.base_milli,
        total_milli=judged.estimate.total_milli,
        message=message,
        warnings=warnings,
        webhook_secret=webhooks.secret(horde, new.id) if new.order.webhook else None,
        outlook=outlook,
    )


async def _queue_up(
    horde: "Horde", kind: AnyKind, requester: Requester, judged: "_Judged", client: Client
) -> tuple[NewRequest, Outlook]:
    """Store a judged request with its pictures, and what is to be expected of it. When that fails,
    nothing is left behind."""
    request, request_id = judged.request, uuid7()
    kept = sources.places(request_id, judged.pictures)
    try:
        await sources.keep(horde, request_id, judged.pictures)
        jobs = kind.jobs(request, requester, judged.pictures.facts, horde.reference)
        new = await _prepare(horde, kind, requester, judged, request_id, client, jobs, kept)
        place = placing.find_place(horde, requester, kind.name, new.costs_things)
        outlook = await look_ahead(horde, Asked(kind, requester, request, jobs, new.lanes, place))
        models = sorted({name for job in jobs for name in job.needs.models})
        await placing.store(horde, requester, new, models, judged.cover_milli)
    except Exception as error:
        await _drop_pictures(horde, request_id, kept, refused=isinstance(error, Refusal))
        raise
    return new, outlook


async def _drop_pictures(
    horde: "Horde", request_id: UUID, kept: dict[str, Any] | None, *, refused: bool
) -> None:
    """Delete the pictures of a request that has not been stored. Where it was not refused, the
    database may have stored it and only its answer been lost; when the database cannot be asked
    either, the pictures stay until they are too old."""
    keys = list(sources.source_keys(kept))
    if not keys:
        return
    try:
        if refused or await requests.body(horde.statements, request_id) is None:
            await horde.blobs.drop(keys)
    except Exception as error:  # The caller raises what has failed first.
        log.warning("source pictures are left behind", request=str(request_id), reason=str(error))


async def _look_at_sources(
    horde: "Horde", kind: AnyKind, request: Any, sender: Sender
) -> sources.Read:
    pictures = await sources.read(horde, kind, request, sender)
    kind.check_sources(request, pictures.facts)
    return pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A request as it goes on, what it is expected to cost, and how much must be there to be
    spent."""

    request: Any
    pictures: sources.Read
    shared: bool
    estimate: Estimate
    cover_milli: int


async def _priced(
    horde: "Horde",
    kind: AnyKind,
    requester: Requester,
    judged: _Judged,
    warnings: tuple[Warning, ...],
) -> Priced:
    """The answer to a dry run, with everything there is to say about its prospects."""
    jobs = kind.jobs(judged.request, requester, judged.pictures.facts, horde.reference)
    place = placing.find_place(horde, requester, kind.name, [job.cost_things for job in jobs])
    asked = Asked(kind, requester, judged.request, jobs, None, place)
    outlook = await look_ahead(horde, asked, explained=True)
    if not outlook.is_possible:
        warnings = (*warnings, Warning(code="NoAvailableWorker", message=outlook.sentence))
    total_milli, lines = judged.estimate.total_milli, judged.estimate.lines
    return Priced(kudos_milli=total_milli, lines=lines, warnings=warnings, outlook=outlook)


def as_requester(account: "Account", kind: AnyKind | None = None) -> Requester:
    """An account as the rules see it, for a request of some kind."""
    floor = floor_milli(anonymous=account.anonymous, pseudonymous=account.pseudonymous)
    return Requester(
        user_id=account.id,
        alias=account.alias,
        balance_milli=account.balance_milli,
        available_milli=account.balance_milli - floor,
        floor_milli=floor,
        concurrency=account.concurrency * (kind.concurrency_factor if kind else 1),
        trusted=account.trusted,
        flagged=account.flagged,
        moderator=account.moderator,
        special=account.special,
        service=account.service,
        education=account.education,
        customizer=account.customizer,
        anonymous=account.anonymous,
        pseudonymous=account.pseudonymous,
        deleted=account.deleted,
    )


async def _known_workers(horde: "Horde", worker_ids: Sequence[str]) -> list[str]:
    """The ids in their usual spelling. Raises Refusal WorkerNotFound unless all are workers."""
    try:
        wanted = {UUID(text) for text in worker_ids}
    except ValueError:
        raise Refusal("WorkerNotFound", id=", ".join(worker_ids)) from None
    missing = wanted - await requests.existing_workers(horde.statements, list(wanted))
    if missing:
        raise Refusal("WorkerNotFound", id=", ".join(str(worker) for worker in missing))
    return [str(worker) for worker in wanted]


async def _afford(
    horde: "Horde",
    kind: AnyKind,
    requester: Requester,
    request: Any,
    pictures: sources.Read,
    shared: bool,
) -> _Judged:
    """The request, made smaller if it must and may be, what must be covered, and its estimate."""

    def judged(request: Any, cover_milli: int) -> _Judged:
        estimate = kind.estimate(request, pictures.facts, horde.reference, shared=shared)
        return _Judged(
            request=request,
            pictures=pictures,
            shared=shared,
            estimate=estimate,
            cover_milli=cover_milli,
        )

    as_asked = judged(request, 0)
    snapshot = await horde.queue.snapshot()
    roster = await horde.workforce.roster()
    load = Load(
        snapshot.depth(kind.name).jobs,
        roster.threads(kind.name),
        horde.settings.text_length_free,
    )
    estimate = as_asked.estimate
    if not kind.must_be_covered(request, horde.reference, load, estimate):
        return as_asked
    balance_milli = await kudos.available_milli(horde.statements, requester.user_id)
    requester = msgspec.structs.replace(
        requester, available_milli=balance_milli - requester.floor_milli
    )
    accepted, cover_milli = kind.cover(request, requester, horde.reference, load, estimate)
    return judged(accepted, cover_milli)


async def _prepare(
    horde: "Horde",
    kind: AnyKind,
    requester: Requester,
    judged: _Judged,
    request_id: UUID,
    client: Client,
    jobs: Sequence[JobPlan],
    kept: dict[str, Any] | None,
) -> NewRequest:
    """Turn a judged request into what is stored."""
    order = kind.order(
        judged.request,
        horde.reference,
        shared=judged.shared,
        ttl_seconds_min=horde.settings.job_ttl_seconds_min,
        random_seed=secrets.randbits(32),
    )
    lanes = {needs: await horde.queue.lane(needs) for needs in {job.needs for job in jobs}}
    return NewRequest(
        id=request_id,
        kind=kind.name,
        user_id=requester.user_id,
        job_ids=[uuid7() for _ in jobs],
        lanes=[lanes[job.needs] for job in jobs],
        things=[job.things for job in jobs],
        costs_things=[job.cost_things for job in jobs],
        sources=kept,
        source_bytes=judged.pictures.size_bytes,
        order=order,
        reserved_milli=judged.estimate.total_milli,
        client_agent=client.agent[:255],
        client_address=client.address,
    )


async def check(horde: "Horde", request_id: UUID) -> Progress:
    """How far a request is. Raises Refusal RequestNotFound."""
    facts = await events.check(horde.statements, request_id)
    if facts is None:
        raise Refusal("RequestNotFound", id=str(request_id))
    return await measure(facts, horde.queue, horde.workforce)


async def read(
    horde: "Horde", request_id: UUID, kind: str | None = None
) -> tuple[Progress, Sequence[TakenJob]]:
    """How far a request is, and its jobs that workers have taken.

    Raises Refusal RequestNotFound, also where one `kind` is asked for and it is of another.
    """
    story = await events.watch(horde.statements, request_id)
    if story is None or kind not in (None, story.facts.kind):
        raise Refusal("RequestNotFound", id=str(request_id))
    return await measure(story.facts, horde.queue, horde.workforce), story.taken


async def cancel(
    horde: "Horde", request_id: UUID, kind: str | None = None
) -> tuple[Progress, Sequence[TakenJob]]:
    """Withdraw what still waits of a request; answers how it stood before."""
    before = await read(horde, request_id, kind)
    async with horde.statements.transaction() as statements:
        await requests.lock(statements, [request_id])
        await requests.cancel(statements, request_id)
    await settle(horde, [request_id])
    horde.signals.send(Changed(request_id))
    return before


async def expire(horde: "Horde", request_ids: Sequence[UUID]) -> None:
    """End requests whose time is over, and give back what they hold."""
    async with horde.statements.transaction() as statements:
        await requests.lock(statements, request_ids)
        expired = await requests.expire(statements, request_ids)
    await settle(horde, expired)
    for request_id in expired:
        horde.signals.send(Changed(request_id))


async def settle(horde: "Horde", request_ids: Sequence[UUID]) -> None:
    """Give back what requests still hold in reserve of which no job is open (any more).

    Harmless to repeat: the release of a request is booked once.
    """
    releases: list[ledger.Transfer] = []
    for request_id, user_id, remaining_milli in await requests.unsettled(
        horde.statements, request_ids
    ):
        releases += ledger.release(request_id, user_id, remaining_milli)
    if releases:
        await kudos.book(horde.statements, releases)
    await requests.end(horde.statements, request_ids)
