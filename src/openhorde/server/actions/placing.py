# SPDX-License-Identifier: AGPL-3.0-or-later
"""A judged request is given its place in the queue and stored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from openhorde.server.domain import ledger, policy, rank
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.store import kudos, requests
from openhorde.server.store.requests import NewRequest, Place, Submitted
from openhorde.server.store.signals import Waiting
from openhorde.server.store.statements import Statements

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


def find_place(
    horde: "Horde", requester: Requester, kind: str, costs_things: Sequence[int]
) -> Place:
    """Where the policy puts jobs of these costs. One that spaces a user's jobs also has them follow
    what the user has asked before, which the database knows."""
    standing = rank.Standing(
        # Whoever has no account comes after whoever has one.
        balance_milli=min(requester.balance_milli, -1)
        if requester.anonymous
        else requester.balance_milli,
        flagged=requester.flagged,
        virtual_time=horde.queue.virtual_time(kind),
        last_finish=horde.queue.finish_tag(kind, requester.user_id),
        created_micros=int(horde.clock.now().timestamp() * 1_000_000),
    )
    # What would come next begins where these end.
    place = rank.POLICIES[horde.settings.rank_policy](standing, (*costs_things, 0)).ranks
    offsets = tuple(each - place[0] for each in place)
    return Place(rank=place[0], offsets=offsets[:-1], span=offsets[-1])


async def store(
    horde: "Horde",
    requester: Requester,
    new: NewRequest,
    models: Sequence[str],
    upfront_milli: int,
) -> None:
    """Store a request and its jobs where they belong in the queue, and tell the workers. `models`
    are those that it names.

    Raises Refusal TooManyPrompts, or KudosUpfront when so much is not there to be spent.
    """
    transfers = (
        *ledger.activate(new.id, new.user_id, new.order.activation_milli),
        *ledger.reserve(new.id, new.user_id, new.reserved_milli),
    )
    counted_lanes = None
    if requester.anonymous and models:
        counted_lanes = horde.queue.lanes_naming(new.kind, models)
    asked, user_id = len(new.job_ids), requester.user_id

    async def attempt(place: Place) -> tuple[Submitted, int]:
        with horde.queue.submitting(new.kind, user_id, asked) as others:
            concurrency = max(0, requester.concurrency - others)
            terms = new, place, transfers, concurrency, counted_lanes
            if not upfront_milli:
                return await requests.submit(horde.statements, *terms), others
            # Only who must be covered waits for its turn among the requests of the same payer.
            async with horde.statements.transaction() as statements:
                await _check_cover(statements, requester, upfront_milli)
                return await requests.submit(statements, *terms), others

    async with horde.queue.following(new.kind, user_id) as is_known:
        # Nothing is awaited between finding the place and keeping where it ends.
        place = find_place(horde, requester, new.kind, new.costs_things)
        if is_known:
            place = replace(place, is_known=True)
            horde.queue.keep_finish_tag(new.kind, user_id, place.rank + place.span)
        submitted, others = await attempt(place)
        if not is_known and submitted.rank is not None:
            horde.queue.keep_finish_tag(new.kind, user_id, submitted.rank + place.span)
    if submitted.rank is None and others:
        # Others of the same instant were counted that may be stored, and so counted twice.
        async with horde.queue.turn(new.kind, user_id):
            while submitted.rank is None and others:
                submitted, others = await attempt(place)
    if submitted.rank is None:
        policy.check_concurrency(requester, waiting=submitted.waiting, asked=asked)
        raise AssertionError("a request was turned away that should have been accepted")
    for signal in _signals(new, place, submitted.rank):
        horde.signals.send(signal)


def _signals(new: NewRequest, place: Place, rank: int) -> list[Waiting]:
    """One for each lane that jobs of the request wait in now."""
    offsets: dict[int, list[int]] = {}
    for lane, offset in zip(new.lanes, place.offsets, strict=True):
        offsets.setdefault(lane, []).append(offset)
    return [
        Waiting(
            kind=new.kind,
            lane=lane,
            rank=rank + min(each),
            jobs=len(each),
            user_id=new.user_id,
            finish_tag=rank + place.span,
        )
        for lane, each in offsets.items()
    ]


async def _check_cover(statements: Statements, requester: Requester, upfront_milli: int) -> None:
    """Raise Refusal KudosUpfront unless the payer, whose turn it now is, has so much to spend."""
    await kudos.lock_payer(statements, requester.user_id)
    balance_milli = await kudos.available_milli(statements, requester.user_id)
    if balance_milli - requester.floor_milli < upfront_milli:
        raise Refusal(
            "KudosUpfront",
            required_milli=upfront_milli,
            available_milli=balance_milli - requester.floor_milli,
        )
