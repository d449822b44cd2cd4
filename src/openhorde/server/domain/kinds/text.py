# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text work: what a request needs, what a worker offers, what a job carries."""

from collections.abc import Sequence
from typing import Final

from openhorde.server.domain.bridges import is_validated
from openhorde.server.domain.kinds.text_work import fast_tokens_per_second
from openhorde.server.domain.needs import Needs, Offer, soft_prompt_word
from openhorde.server.domain.requester import Requester, can_pay_in_advance
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextPayload, TextPop, TextRequest, TextSampling

NAME: Final = "text"
DIVISOR: Final = 1
"""Things are tokens, and shown as such."""

SOFT_PROMPTS_MAX: Final = 200
"""So many of those that a worker has count."""

UPTIME_KUDOS: Final = 25
UPTIME_CONTEXT_KUDOS: Final = 15
UPTIME_CONTEXT_TOKENS: Final = 1024
UPTIME_CONTEXT_MAX: Final = 262_144
UPTIME_UNKNOWN_FACTOR: Final = 0.5
UPTIME_UNVALIDATED_FACTOR: Final = 0.3
UPTIME_BILLIONS: Final = 7
UPTIME_SIZE_FACTOR_MIN: Final = 0.25


def needs(request: TextRequest, requester: Requester, *, price_each_milli: int) -> Needs:
    """What a checked request needs of a worker. `price_each_milli` is the most one text costs."""
    words = {
        "trusted": request.trusted_workers,
        "validated": request.validated_backends,
        "fast_text": not request.slow_workers,
        "generous": not can_pay_in_advance(requester, price_each_milli),
    }
    if request.softprompt is not None:
        words[soft_prompt_word(request.softprompt)] = True
    params = request.params
    return Needs(
        kind=NAME,
        words=tuple(sorted(word for word, needed in words.items() if needed)),
        sizes=(("context_length", params.max_context_length), ("length", params.max_length)),
        models=tuple(sorted(set(request.models))),
        workers=tuple(sorted(set(request.workers))),
        workers_excluded=request.worker_blacklist and bool(request.workers),
    )


def offer(
    pop: TextPop,
    *,
    worker_id: str,
    models: Sequence[str],
    trusted_owner: bool,
    speed_things_per_second: float,
    reference: TextReference,
) -> Offer:
    """What a worker offers at this check-in. `models` are the accepted ones; the first decides how
    fast it must be (rules 4.4)."""
    pace = fast_tokens_per_second(reference.billions(models[0]) if models else None)
    validated = is_validated(pop.bridge_agent)
    words = {
        "trusted": trusted_owner,
        "validated": validated,
        "fast_text": speed_things_per_second >= pace,
        "generous": not pop.require_upfront_kudos,
        **dict.fromkeys(map(soft_prompt_word, pop.softprompts[:SOFT_PROMPTS_MAX]), True),
    }
    return Offer(
        kind=NAME,
        words=frozenset(word for word, has in words.items() if has),
        sizes_max={"length": pop.max_length, "context_length": pop.max_context_length},
        models=frozenset(models),
        worker_id=worker_id,
        lacking_agent_words=frozenset() if validated else frozenset({"validated"}),
    )


def payload(request: TextRequest) -> TextPayload:
    """What the worker is told to write: one text of each job."""
    shared = {name: getattr(request.params, name) for name in TextSampling.__struct_fields__}
    return TextPayload(
        **shared,
        prompt=request.prompt,
        n=1,
        max_length=request.params.max_length,
        max_context_length=request.params.max_context_length,
    )


def uptime_reward_milli(
    models: Sequence[str], *, max_context_length: int, bridge_agent: str, reference: TextReference
) -> int:
    """What ten minutes of readiness earn, in thousandths of a kudos (rules 3.7). The first model
    counts."""
    context = min(max_context_length, UPTIME_CONTEXT_MAX) / UPTIME_CONTEXT_TOKENS
    kudos = UPTIME_KUDOS + UPTIME_CONTEXT_KUDOS * context
    billions = reference.billions(models[0]) if models else None
    if billions is None:
        return round(kudos * UPTIME_UNKNOWN_FACTOR * 1000)
    if not is_validated(bridge_agent):
        kudos *= UPTIME_UNVALIDATED_FACTOR
    return round(kudos * max(billions / UPTIME_BILLIONS, UPTIME_SIZE_FACTOR_MIN) * 1000)
