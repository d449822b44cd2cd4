# SPDX-License-Identifier: AGPL-3.0-or-later
"""Limits on accounts and workers, and the heavy-load rule (rules 2.3, 2.4, 7.4)."""

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Final

import msgspec
from msgspec import Struct

from openhorde.server.domain.kinds import image
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.shown_text import plain, shown_text
from openhorde.wire.requests import ImageRequest

SIDE_START_PIXELS: Final = 1024
SIDE_PIXELS_PER_THREAD: Final = 10
SIDE_PIXELS_PER_REQUEST: Final = 0.9
SIDE_MIN_PIXELS: Final = 576
SIDE_MIN_LARGE_MODEL_PIXELS: Final = 1024
SIDE_MAX_PIXELS: Final = 1024
SIDE_STEP_PIXELS: Final = 64
SIDE_DOWNGRADED_MIN_PIXELS: Final = 512
LARGE_BASELINES: Final = frozenset({"stable_diffusion_xl", "stable_cascade", "flux_1"})

FREE_STEPS: Final = 40
"""The free steps of a model that names no maximum."""

FREE_STEPS_DOWNGRADED: Final = 30
FREE_STEPS_WITH_CONTROL: Final = 20
FREE_STEPS_WITH_LCM: Final = 10
DOWNGRADED_STEPS_MIN: Final = 5
LCM_SAMPLER: Final = "lcm"
LCM_LORAS: Final = frozenset({"195519", "216190"})
"""The catalogue numbers of the loras that make a model an LCM one."""

WORKER_NAME_LENGTH_MAX: Final = 100
BLACKLIST_WORDS_MAX: Final = 200
BLACKLIST_WORD_LENGTH_MAX: Final = 15
HOSTED_NAMES: Final = ("colab", "tpu", "google")
BANNED_CLIENT_AGENTS: Final = frozenset({"My-Project:v0.0.1:My-Contact"})


class Upfront(Struct, frozen=True, kw_only=True):
    """Whether a request must be payable in advance, and what it must fit into otherwise.

    `reasons` says which limits it breaks: slow_workers, lcm, steps, pixels, control_type, workers.
    """

    required: bool
    amount_milli: int
    forbids_downgrade: bool
    limit_side_pixels: int
    reasons: tuple[str, ...] = ()


class Accepted(Struct, frozen=True):
    """The request as it goes on, and what to reserve for it, in thousandths."""

    request: ImageRequest
    reserve_milli: int


def check_concurrency(requester: Requester, *, waiting: int, asked: int) -> None:
    """Refuses with TooManyPrompts when more jobs would wait than the account may have (2.3)."""
    if waiting + asked > requester.concurrency:
        raise Refusal("TooManyPrompts", maximum=requester.concurrency, waiting=waiting, given=asked)


def check_client_agent(client_agent: str) -> None:
    """Refuses clients that left the example in place."""
    if client_agent in BANNED_CLIENT_AGENTS:
        raise Refusal("BannedClientAgent", given=client_agent)


def limit_side_pixels(
    request: ImageRequest, reference: Reference, *, queued_jobs: int, threads: int
) -> int:
    """R of rules 2.4: the side of the largest square that is free under the present load.

    Never below zero; without slow workers it is not kept in bounds.
    """
    side = SIDE_START_PIXELS + SIDE_PIXELS_PER_THREAD * threads
    side -= round(SIDE_PIXELS_PER_REQUEST * queued_jobs)
    if not request.slow_workers:
        return max(side, 0)
    side = max(side, SIDE_MIN_PIXELS)
    if any(reference.baseline(name) in LARGE_BASELINES for name in request.models):
        side = max(side, SIDE_MIN_LARGE_MODEL_PIXELS)
    return min(side, SIDE_MAX_PIXELS)


def upfront(
    request: ImageRequest,
    reference: Reference,
    *,
    queued_jobs: int,
    threads: int,
    estimate_milli: int,
    charges_worker_lists: bool = False,
) -> Upfront:
    """Whether the request is so heavy that it must be payable in advance (rules 2.4).

    `queued_jobs` wait or run in the whole horde, `threads` are active; `charges_worker_lists` is
    the operator's choice to ask it for requests that choose their workers.
    """
    side = limit_side_pixels(request, reference, queued_jobs=queued_jobs, threads=threads)
    listed = charges_worker_lists and (bool(request.workers) or request.worker_blacklist)
    reasons = tuple(_heavy_reasons(request, reference, side)) + (("workers",) if listed else ())
    return Upfront(
        required=bool(reasons),
        amount_milli=estimate_milli if reasons else 0,
        forbids_downgrade=listed,
        limit_side_pixels=side,
        reasons=reasons,
    )


def downgrade(
    request: ImageRequest, reference: Reference, *, queued_jobs: int, threads: int
) -> ImageRequest:
    """A copy small enough to be free: slow workers allowed, smaller, fewer steps (rules 2.4).

    Steps are lowered one at a time until they are free, but not below four: the adaptive sampler,
    which ignores them, stays as long as it is.
    """
    shrunk = msgspec.structs.replace(request, slow_workers=True)
    side = limit_side_pixels(shrunk, reference, queued_jobs=queued_jobs, threads=threads)
    params = request.params
    width, height = _shrunk_sides(params.width, params.height, side)
    limit = _free_steps(request, reference)
    steps = image.steps(request)
    while (
        image.accurate_steps(params.sampler_name, steps) > limit and steps >= DOWNGRADED_STEPS_MIN
    ):
        steps -= 1
    params = msgspec.structs.replace(params, width=width, height=height, steps=steps)
    return msgspec.structs.replace(shrunk, params=params)


def accept(
    request: ImageRequest,
    requester: Requester,
    reference: Reference,
    *,
    queued_jobs: int,
    threads: int,
    estimate_milli: int,
    charges_worker_lists: bool = False,
) -> Accepted:
    """Applies the heavy-load rule: the request, perhaps smaller, and what to reserve for it.

    Raises `Refusal` KudosUpfront (facts: required_milli, available_milli, reasons, and of
    limit_side_pixels and limit_steps those that it exceeds) when it is too heavy, cannot be paid
    and may not be made smaller. A dry run is never refused and reserves nothing.
    """
    rule = upfront(
        request,
        reference,
        queued_jobs=queued_jobs,
        threads=threads,
        estimate_milli=estimate_milli,
        charges_worker_lists=charges_worker_lists,
    )
    if request.dry_run or not rule.required:
        return Accepted(request, 0)
    if requester.available_milli >= rule.amount_milli:
        return Accepted(request, rule.amount_milli)
    if request.allow_downgrade and not rule.forbids_downgrade:
        smaller = downgrade(request, reference, queued_jobs=queued_jobs, threads=threads)
        return Accepted(smaller, 0)
    raise Refusal(
        "KudosUpfront",
        required_milli=rule.amount_milli,
        available_milli=requester.available_milli,
        reasons=rule.reasons,
        **_exceeded(request, reference, rule),
    )


class WorkerCaps(Struct, frozen=True, kw_only=True):
    """How many workers of one kind may have been online within a day; 0: any number.

    `per_address` is for an address on the public internet and owners who are not trusted; trusted
    ones may have as many there as in all.
    """

    per_owner: int
    per_trusted_owner: int
    per_address: int


def worker_limit(caps: WorkerCaps, *, trusted: bool, invited: int) -> int:
    """How many workers an owner may have; 0: any number. A trusted one may have one more than
    invited (rules 7.4)."""
    if not trusted:
        return caps.per_owner
    return max(caps.per_trusted_owner, invited + 1) if caps.per_trusted_owner else 0


def address_limit(caps: WorkerCaps, *, trusted: bool, invited: int) -> int:
    """How many workers may call from one public address; 0: any number (rules 7.4)."""
    if not caps.per_address or (trusted and not caps.per_trusted_owner):
        return 0
    usual = max(caps.per_address, caps.per_trusted_owner) if trusted else caps.per_address
    return max(usual, invited + 1)


def check_worker_name(name: str) -> None:
    """Refuses a new worker by its name (rules 7.4)."""
    if any(hosted in name.lower() for hosted in HOSTED_NAMES):
        raise Refusal("BadRequest", field="name", given=name)


def check_worker_count(
    caps: WorkerCaps,
    *,
    trusted: bool,
    invited: int,
    owned: int,
    from_same_ip: int,
    invite_only: bool,
) -> None:
    """Refuses one more worker because its owner or address has enough (rules 7.4).

    `owned` and `from_same_ip` count the workers of its kind that were online within a day.
    """
    if invite_only and owned >= invited:
        raise Refusal("WorkerInviteOnly", maximum=invited, given=owned)
    limit = worker_limit(caps, trusted=trusted, invited=invited)
    if limit and owned >= limit:
        code = "TooManyWorkersTrusted" if trusted else "TooManyWorkers"
        raise Refusal(code, maximum=limit, given=owned)
    limit = address_limit(caps, trusted=trusted, invited=invited)
    if limit and from_same_ip >= limit:
        raise Refusal("TooManySameIPs", maximum=limit, given=from_same_ip)


def worker_name(name: str) -> str:
    """A worker's name as it is stored: as it may be shown, at most 100 long.

    Raises `Refusal` BadRequest when nothing is left.
    """
    cleaned = shown_text(name, WORKER_NAME_LENGTH_MAX)
    if not cleaned:
        raise Refusal("BadRequest", field="name", given=name)
    return cleaned


def blacklist(words: Sequence[str]) -> tuple[str, ...]:
    """The words that a worker refuses, as they are stored (rules 1.3)."""
    cleaned = (plain(word)[:BLACKLIST_WORD_LENGTH_MAX] for word in words)
    return tuple(word for word in cleaned if word.strip())[:BLACKLIST_WORDS_MAX]


def priority_user_ids(aliases: Sequence[str]) -> tuple[int, ...]:
    """The user ids at the end of `name#id`; raises InvalidPriorityUsername (rules 4.2)."""
    ids: dict[int, None] = {}
    for alias in aliases:
        _, mark, text = alias.rpartition("#")
        if not mark or not text:
            raise Refusal("InvalidPriorityUsername", given=alias)
        if text.isascii() and text.isdigit() and len(text) <= 10:
            ids[int(text)] = None
    return tuple(ids)


def _heavy_reasons(request: ImageRequest, reference: Reference, side: int) -> Iterator[str]:
    steps = image.request_steps(request)
    if not request.slow_workers:
        yield "slow_workers"
    if _uses_lcm(request) and steps > FREE_STEPS_WITH_LCM:
        yield "lcm"
    if any(_steps_max(name, reference, FREE_STEPS) < steps for name in request.models):
        yield "steps"
    if request.params.width * request.params.height > side**2:
        yield "pixels"
    if request.params.control_type is not None and steps > FREE_STEPS_WITH_CONTROL:
        yield "control_type"


def _exceeded(request: ImageRequest, reference: Reference, rule: Upfront) -> dict[str, int]:
    """The bounds below which the request would be free, of those that it exceeds."""
    bounds = {}
    if "pixels" in rule.reasons:
        bounds["limit_side_pixels"] = rule.limit_side_pixels
    steps = {
        "steps": min((_steps_max(n, reference, FREE_STEPS) for n in request.models), default=0),
        "lcm": FREE_STEPS_WITH_LCM,
        "control_type": FREE_STEPS_WITH_CONTROL,
    }
    exceeded = [most for reason, most in steps.items() if reason in rule.reasons]
    return {**bounds, "limit_steps": min(exceeded)} if exceeded else bounds


def _free_steps(request: ImageRequest, reference: Reference) -> int:
    """The accurate steps that a downgraded request may have; no model counts as one unknown."""
    limits = [_steps_max(name, reference, FREE_STEPS_DOWNGRADED) for name in request.models]
    limits = limits or [FREE_STEPS_DOWNGRADED]
    if request.params.control_type is not None:
        limits.append(FREE_STEPS_WITH_CONTROL)
    if _uses_lcm(request):
        limits.append(FREE_STEPS_WITH_LCM)
    return min(limits)


def _steps_max(model: str, reference: Reference, default: int) -> int:
    return int(reference.facts(model).requirements.get("max_steps", default))


def _uses_lcm(request: ImageRequest) -> bool:
    params = request.params
    return params.sampler_name == LCM_SAMPLER or any(
        lora.name in LCM_LORAS for lora in params.loras
    )


def _shrunk_sides(width: int, height: int, side: int) -> tuple[int, int]:
    """Both sides in proportion, multiples of 64, at most side² pixels and at least 512²."""
    if width * height <= side**2:
        return width, height
    scale = sqrt(side**2 / (width * height))
    width = int(width * scale) // SIDE_STEP_PIXELS * SIDE_STEP_PIXELS
    height = int(height * scale) // SIDE_STEP_PIXELS * SIDE_STEP_PIXELS
    while width * height > side**2:
        if width > height:
            width -= SIDE_STEP_PIXELS
        else:
            height -= SIDE_STEP_PIXELS
    if width * height < SIDE_DOWNGRADED_MIN_PIXELS**2:
        return SIDE_DOWNGRADED_MIN_PIXELS, SIDE_DOWNGRADED_MIN_PIXELS
    return width, height
