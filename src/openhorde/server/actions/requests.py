# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests: submitted, checked, read, cancelled and settled."""

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from openhorde.server.actions import sources
from openhorde.server.domain import ledger, lives, policy, pricing, rank
from openhorde.server.domain.kinds import image
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester, floor_milli
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import kudos, requests
from openhorde.server.store.requests import NewRequest, Place, RequestFacts, Result
from openhorde.wire.requests import ImageRequest, Warning

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

NO_WORKER = (
    "No worker that is online now can do this request. It stays in the queue for 20 minutes in"
    " case one comes."
)


@dataclass(frozen=True, slots=True)
class Client:
    """Who speaks for the requester: the `Client-Agent` header and the address."""

    agent: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A request that waits now. `kudos_milli` is the base price of one of its jobs."""

    request_id: UUID
    kudos_milli: int
    message: str | None
    warnings: tuple[Warning, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a request would cost, all its jobs and taxes together, and why."""

    kudos_milli: int
    lines: tuple[pricing.PriceLine, ...]
    warnings: tuple[Warning, ...]


async def submit(
    horde: "Horde", account: "Account", request: ImageRequest, client: Client
) -> Queued | Priced:
    """Judge, price and queue a request; a dry run is only judged and priced.

    Raises Refusal for everything that may not be asked.
    """
    requester = as_requester(account)
    request, warnings = image.check(request, requester, horde.reference)
    policy.check_client_agent(client.agent)
    if request.workers:
        workers = await _known_workers(horde, request.workers)
        request = msgspec.structs.replace(request, workers=workers)
    shared = image.sharing(request, requester)
    accepted, estimate = await _afford(horde, requester, request, shared)
    request = accepted.request
    if request.dry_run:
        return Priced(kudos_milli=estimate.total_milli, lines=estimate.lines, warnings=warnings)
    request_id = uuid7()
    taken = await sources.take(horde, request_id, request)
    try:
        if taken:
            image.check_mask(request, source_has_alpha=taken.has_alpha)
        new, place, possible = await _prepare(
            horde, requester, request, request_id, client, taken, estimate.total_milli
        )
        await _store(horde, requester, request, new, place, accepted.reserve_milli)
    except Refusal:
        await horde.blobs.drop(list(sources.source_keys(taken.keys if taken else None)))
        raise
    message = None
    if not possible:
        message = NO_WORKER
        warnings = (*warnings, Warning(code="NoAvailableWorker", message=NO_WORKER))
    return Queued(
        request_id=request_id,
        kudos_milli=new.base_milli,
        message=message,
        warnings=warnings,
    )


def as_requester(account: "Account") -> Requester:
    """An account as the rules see it."""
    floor = floor_milli(anonymous=account.anonymous, pseudonymous=account.pseudonymous)
    return Requester(
        user_id=account.id,
        alias=account.alias,
        balance_milli=account.balance_milli,
        available_milli=account.balance_milli - floor,
        floor_milli=floor,
        concurrency=account.concurrency,
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


async def _known_workers(horde: "Horde", worker_ids: list[str]) -> list[str]:
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
    horde: "Horde", requester: Requester, request: ImageRequest, shared: bool
) -> tuple[policy.Accepted, pricing.Estimate]:
    """The request, made smaller if it must and may be, what must be covered, and its estimate."""
    estimate = pricing.estimate(request, horde.reference, shared=shared)
    snapshot = await horde.queue.snapshot()
    roster = await horde.workforce.roster()
    queued_jobs, threads = snapshot.jobs(), roster.threads(image.NAME)
    rule = policy.upfront(
        request,
        horde.reference,
        queued_jobs=queued_jobs,
        threads=threads,
        estimate_milli=estimate.total_milli,
    )
    if not rule.required:
        return policy.Accepted(request, 0), estimate
    balance_milli = await kudos.available_milli(horde.statements, requester.user_id)
    accepted = policy.accept(
        request,
        msgspec.structs.replace(requester, available_milli=balance_milli - requester.floor_milli),
        horde.reference,
        queued_jobs=queued_jobs,
        threads=threads,
        estimate_milli=estimate.total_milli,
    )
    if accepted.request is not request:
        estimate = pricing.estimate(accepted.request, horde.reference, shared=shared)
    return accepted, estimate


async def _prepare(
    horde: "Horde",
    requester: Requester,
    request: ImageRequest,
    request_id: UUID,
    client: Client,
    taken: sources.Sources | None,
    reserved_milli: int,
) -> tuple[NewRequest, Place, bool]:
    """Turn a judged request into what is stored, and find its place in the queue."""
    size = image.size(request)
    price = pricing.image_base(request)
    charge = pricing.charge(request, price.base_milli)
    needs = image.needs(
        request, requester, horde.reference, price_each_milli=charge.price_each_milli
    )
    lane = await horde.queue.lane(needs)
    count = request.params.n
    params = request.params
    seed = None
    if params.seed or params.seed_variation:
        seed = image.base_seed(params.seed, secrets.randbits(32))
    shared = image.sharing(request, requester)
    new = NewRequest(
        id=request_id,
        kind=image.NAME,
        user_id=requester.user_id,
        lane=lane,
        job_ids=[uuid7() for _ in range(count)],
        body=_body(request),
        sources=taken.keys if taken else None,
        seed=seed,
        things=size.things,
        batching=not request.disable_batching,
        inline_results=not request.r2,
        shared=shared,
        base_milli=price.base_milli,
        price_each_milli=charge.price_each_milli,
        tax_each_milli=charge.tax_each_milli,
        activation_milli=pricing.activation_tax_milli(request, shared=shared),
        reserved_milli=reserved_milli,
        ttl_seconds=image.ttl_seconds(
            request,
            horde.reference,
            extra_slow=False,
            minimum_seconds=horde.settings.job_ttl_seconds_min,
        ),
        client_agent=client.agent[:255],
        client_address=client.address,
    )
    roster = await horde.workforce.roster()
    place = _place(horde, requester, size.things)
    return new, place, roster.serves(lane, needs)


def _place(horde: "Horde", requester: Requester, things: int) -> Place:
    """Where the policy puts the jobs of a request. One that spaces a user's jobs also has them
    follow what the user has asked before, which the database knows."""
    standing = rank.Standing(
        # Whoever has no account comes after whoever has one.
        balance_milli=min(requester.balance_milli, -1)
        if requester.anonymous
        else requester.balance_milli,
        flagged=requester.flagged,
        virtual_time=horde.queue.virtual_time(image.NAME),
        created_micros=int(horde.clock.now().timestamp() * 1_000_000),
    )
    first, second = rank.POLICIES[horde.settings.rank_policy](standing, (things, things)).ranks
    return Place(rank=first, follows=second > first, step=second - first)


def _body(request: ImageRequest) -> str:
    """The request as JSON without its pictures, which live in the object store."""
    bare = msgspec.structs.replace(
        request, source_image=None, source_mask=None, extra_source_images=[]
    )
    return msgspec.json.encode(bare).decode()


async def _store(
    horde: "Horde",
    requester: Requester,
    request: ImageRequest,
    new: NewRequest,
    place: Place,
    upfront_milli: int,
) -> None:
    transfers = (
        *ledger.activate(new.id, new.user_id, new.activation_milli),
        *ledger.reserve(new.id, new.user_id, new.reserved_milli),
    )
    counted_lanes = None
    if requester.anonymous and request.models:
        counted_lanes = horde.queue.lanes_naming(request.models)
    if upfront_milli:
        # Only a request that must be covered waits for its turn among those of the same payer.
        async with horde.statements.transaction() as statements:
            await kudos.lock_payer(statements, requester.user_id)
            balance_milli = await kudos.available_milli(statements, requester.user_id)
            if balance_milli - requester.floor_milli < upfront_milli:
                raise Refusal(
                    "KudosUpfront",
                    required_milli=upfront_milli,
                    available_milli=balance_milli - requester.floor_milli,
                )
            submitted = await requests.submit(
                statements,
                new,
                place,
                transfers,
                concurrency=requester.concurrency,
                counted_lanes=counted_lanes,
            )
    else:
        submitted = await requests.submit(
            horde.statements,
            new,
            place,
            transfers,
            concurrency=requester.concurrency,
            counted_lanes=counted_lanes,
        )
    if submitted.rank is None:
        policy.check_concurrency(requester, waiting=submitted.waiting, asked=len(new.job_ids))
        raise AssertionError("a request was turned away that should have been accepted")
    horde.queue.joined(new.lane, submitted.rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a request is: its counts, its place, and how long it may take (seconds)."""

    facts: RequestFacts
    life: lives.Progress
    queue_position: int
    wait_seconds: int
    is_possible: bool
    kudos_milli: int


async def check(horde: "Horde", request_id: UUID) -> Progress:
    """How far a request is. Raises Refusal RequestNotFound."""
    facts = await requests.check(horde.statements, request_id)
    if facts is None:
        raise Refusal("RequestNotFound", id=str(request_id))
    life = lives.check(
        lives.RequestCounts(
            asked=facts.asked,
            waiting=facts.waiting,
            running=facts.running,
            done=facts.done,
            faulted=facts.faulted,
        )
    )
    position, wait = 0, 0
    possible = facts.running > 0 or life.done
    if facts.rank is not None:
        snapshot = await horde.queue.snapshot()
        roster = await horde.workforce.roster()
        position, jobs_ahead, things_ahead = snapshot.depth(facts.kind).up_to(facts.rank)
        position, jobs_ahead = max(1, position), max(facts.waiting, jobs_ahead)
        wait = lives.wait_seconds(
            things_ahead=max(things_ahead, facts.things * facts.waiting),
            mean_speed=roster.mean_speed(facts.kind),
            active_threads=roster.threads(facts.kind),
            jobs_ahead=jobs_ahead,
            remaining_running_seconds=facts.remaining_seconds,
            divisor=image.DIVISOR,
        )
        needs = horde.queue.needs(facts.lane)
        possible = possible or (needs is not None and roster.serves(facts.lane, needs))
    elif facts.running:
        wait = round(facts.remaining_seconds)
    return Progress(
        facts=facts,
        life=life,
        queue_position=position,
        wait_seconds=wait,
        is_possible=possible,
        kudos_milli=facts.activation_milli + facts.paid_milli,
    )


async def results(horde: "Horde", progress: Progress) -> list[Result]:
    """The finished jobs of a request."""
    if not progress.facts.done:
        return []
    return await requests.results(horde.statements, progress.facts.id)


async def cancel(horde: "Horde", request_id: UUID) -> Progress:
    """Withdraw what still waits of a request; answers how it stood before."""
    before = await check(horde, request_id)
    async with horde.statements.transaction() as statements:
        await requests.lock(statements, request_id)
        await requests.cancel(statements, request_id)
    await settle(horde, request_id)
    return before


async def expire(horde: "Horde", request_id: UUID) -> None:
    """End a request whose time is over, and give back what it holds."""
    async with horde.statements.transaction() as statements:
        await requests.lock(statements, request_id)
        await requests.expire(statements, request_id)
    await settle(horde, request_id)


async def settle(horde: "Horde", request_id: UUID) -> None:
    """Give back what a request still holds in reserve, once none of its jobs is open.

    Harmless to repeat: the release of a request is booked once.
    """
    unsettled = await requests.unsettled(horde.statements, request_id)
    if unsettled is not None:
        user_id, remaining_milli = unsettled
        await kudos.book(horde.statements, ledger.release(request_id, user_id, remaining_milli))
