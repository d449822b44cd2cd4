# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a text must be payable in advance, and what is made of one that is not (rules 2.12)."""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextRequest

LENGTH_PER_THREAD: Final = 5
LENGTH_PER_REQUEST: Final = 0.9
LENGTH_MIN: Final = 256
LENGTH_FREE: Final = 512
ANY_MODEL_MILLI: Final = 20_000
TOKENS_PER_KUDOS_AND_BILLION: Final = 21
BILLIONS_UNKNOWN: Final = 1.0


class Upfront(Struct, frozen=True, kw_only=True):
    """Whether a text must be payable in advance, and how long it may be otherwise.

    `reasons` says which limits it breaks: slow_workers, max_length, workers.
    """

    required: bool
    amount_milli: int
    forbids_downgrade: bool
    limit_length: int
    reasons: tuple[str, ...] = ()


class Accepted(Struct, frozen=True):
    """The request as it goes on, and what to reserve for it, in thousandths."""

    request: TextRequest
    reserve_milli: int


def limit_length(
    request: TextRequest, *, queued_jobs: int, threads: int, length_free: int = LENGTH_FREE
) -> int:
    """T of rules 2.12: the tokens that are free under the present load, never below zero; without
    slow workers it is not kept in bounds. `length_free` of them are free while little waits."""
    length = length_free + LENGTH_PER_THREAD * threads - round(LENGTH_PER_REQUEST * queued_jobs)
    if not request.slow_workers:
        return max(length, 0)
    return min(max(length, LENGTH_MIN), length_free)


def amount_milli(request: TextRequest, reference: TextReference, estimate_milli: int) -> int:
    """What must be there to be spent: a sum by length and size, and at least the estimate, which is
    what the request can really cost."""
    params = request.params
    if not request.models:
        return max(estimate_milli, ANY_MODEL_MILLI * params.n)
    largest = max(reference.billions(name) or BILLIONS_UNKNOWN for name in request.models)
    each = round(params.max_length * largest / TOKENS_PER_KUDOS_AND_BILLION * 1000)
    return max(estimate_milli, each * params.n)


def upfront(
    request: TextRequest,
    reference: TextReference,
    *,
    queued_jobs: int,
    threads: int,
    estimate_milli: int,
    length_free: int = LENGTH_FREE,
    charges_worker_lists: bool = False,
) -> Upfront:
    """Whether the request is so heavy that it must be payable in advance.

    `queued_jobs` texts wait or run in the whole horde, `threads` write.
    """
    length = limit_length(
        request, queued_jobs=queued_jobs, threads=threads, length_free=length_free
    )
    listed = charges_worker_lists and (bool(request.workers) or request.worker_blacklist)
    reasons = (*_heavy_reasons(request, length), *(("workers",) if listed else ()))
    return Upfront(
        required=bool(reasons),
        amount_milli=amount_milli(request, reference, estimate_milli) if reasons else 0,
        forbids_downgrade=listed,
        limit_length=length,
        reasons=reasons,
    )


def accept(
    request: TextRequest, requester: Requester, rule: Upfront, shorter: TextRequest
) -> Accepted:
    """Applies the heavy-load rule: the request, perhaps shorter, and what to reserve for it.

    Raises `Refusal` KudosUpfront (facts: required_milli, available_milli, reasons, and limit_length
    if that is exceeded) when it is too heavy, cannot be paid and may not be made shorter. A dry run
    is never refused and reserves nothing.
    """
    if request.dry_run or not rule.required:
        return Accepted(request, 0)
    if requester.available_milli >= rule.amount_milli:
        return Accepted(request, rule.amount_milli)
    if request.allow_downgrade and not rule.forbids_downgrade:
        return Accepted(shorter, 0)
    raise Refusal(
        "KudosUpfront",
        required_milli=rule.amount_milli,
        available_milli=requester.available_milli,
        reasons=rule.reasons,
        **({"limit_length": rule.limit_length} if "max_length" in rule.reasons else {}),
    )


def downgrade(
    request: TextRequest, *, queued_jobs: int, threads: int, length_free: int = LENGTH_FREE
) -> TextRequest:
    """A copy short enough to be free, with slow workers allowed."""
    slow = msgspec.structs.replace(request, slow_workers=True)
    length = limit_length(slow, queued_jobs=queued_jobs, threads=threads, length_free=length_free)
    params = request.params
    shorter = msgspec.structs.replace(params, max_length=min(params.max_length, length))
    return msgspec.structs.replace(slow, params=shorter)


def _heavy_reasons(request: TextRequest, length: int) -> Iterator[str]:
    if not request.slow_workers:
        yield "slow_workers"
    elif request.params.max_length > length:
        yield "max_length"
