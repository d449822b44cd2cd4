# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests: submitted, checked, read, cancelled and settled."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from openhorde.server.actions import placing, sources, webhooks
from openhorde.server.actions.possibility import Asked, Outlook, look_ahead, needs_of
from openhorde.server.actions.progress import Progress, measure
from openhorde.server.domain import ledger, policy, pricing
from openhorde.server.domain.kinds import image
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester, floor_milli
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import events, kudos, requests
from openhorde.server.store.requests import NewRequest, Place, Result
from openhorde.server.store.signals import Changed
from openhorde.wire.requests import ImageRequest, Warning

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

STAYS = "It stays in the queue for 20 minutes in case one comes."


@dataclass(frozen=True, slots=True)
class Client:
    """Who speaks for the requester: the `Client-Agent` header and the address."""

    agent: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A request that waits now. `kudos_milli` is the base price of one of its jobs, and
    `webhook_secret` what verifies the calls of its webhook, if it has one."""

    request_id: UUID
    kudos_milli: int
    message: str | None
    warnings: tuple[Warning, ...]
    webhook_secret: str | None
    outlook: Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a request would cost, all its jobs and taxes together, and why."""

    kudos_milli: int
    lines: tuple[pricing.PriceLine, ...]
    warnings: tuple[Warning, ...]
    outlook: Outlook


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
        return await _priced(horde, requester, request, estimate, warnings)
    request_id = uuid7()
    taken = await sources.take(horde, request_id, request)
    try:
        if taken:
            image.check_mask(request, source_has_alpha=taken.has_alpha)
        new, place, needs = await _prepare(
            horde, requester, request, request_id, client, taken, estimate.total_milli
        )
        outlook = await look_ahead(horde, Asked(requester, request, needs, new.lane, place))
        await placing.store(horde, requester, request, new, accepted.reserve_milli)
    except Refusal:
        await horde.blobs.drop(list(sources.source_keys(taken.keys if taken else None)))
        raise
    message = None
    if not outlook.is_possible:
        message = f"{outlook.sentence} {STAYS}"
        warnings = (*warnings, Warning(code="NoAvailableWorker", message=message))
    return Queued(
        request_id=request_id,
        kudos_milli=new.base_milli,
        message=message,
        warnings=warnings,
        webhook_secret=webhooks.secret(horde, request_id) if request.webhook else None,
        outlook=outlook,
    )


async def _priced(
    horde: "Horde",
    requester: Requester,
    request: ImageRequest,
    estimate: pricing.Estimate,
    warnings: tuple[Warning, ...],
) -> Priced:
    """The answer to a dry run, with everything there is to say about its prospects."""
    needs = needs_of(horde, requester, request)
    place = placing.find_place(horde, requester, image.size(request).things)
    asked = Asked(requester, request, needs, None, place)
    outlook = await look_ahead(horde, asked, explained=True)
    if not outlook.is_possible:
        warnings = (*warnings, Warning(code="NoAvailableWorker", message=outlook.sentence))
    total_milli, lines = estimate.total_milli, estimate.lines
    return Priced(kudos_milli=total_milli, lines=lines, warnings=warnings, outlook=outlook)


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
) -> tuple[NewRequest, Place, Needs]:
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
        screened_text=request.prompt.lower(),
        webhook=request.webhook,
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
    return new, placing.find_place(horde, requester, size.things), needs


def _body(request: ImageRequest) -> str:
    """The request as JSON without its pictures, which live in the object store."""
    bare = msgspec.structs.replace(
        request, source_image=None, source_mask=None, extra_source_images=[]
    )
    return msgspec.json.encode(bare).decode()


async def check(horde: "Horde", request_id: UUID) -> Progress:
    """How far a request is. Raises Refusal RequestNotFound."""
    facts = await events.check(horde.statements, request_id)
    if facts is None:
        raise Refusal("RequestNotFound", id=str(request_id))
    return await measure(facts, horde.queue, horde.workforce)


async def read(horde: "Horde", request_id: UUID) -> tuple[Progress, list[Result]]:
    """How far a request is, and its finished jobs. Raises Refusal RequestNotFound."""
    story = await events.watch(horde.statements, request_id)
    if story is None:
        raise Refusal("RequestNotFound", id=str(request_id))
    progress = await measure(story.facts, horde.queue, horde.workforce)
    return progress, story.finished()


async def cancel(horde: "Horde", request_id: UUID) -> tuple[Progress, list[Result]]:
    """Withdraw what still waits of a request; answers how it stood before."""
    before = await read(horde, request_id)
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
