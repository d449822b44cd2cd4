# SPDX-License-Identifier: AGPL-3.0-or-later
"""The variant of an impossible text request that is nearest to it and that a worker would do."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from openhorde.server.domain.kinds.variants import Changes, Finding, apply, old
from openhorde.server.domain.matching import shortfalls
from openhorde.server.domain.needs import Needs, Offer, is_soft_prompt
from openhorde.server.domain.possibility import Candidate, closest
from openhorde.server.domain.refusals import Refusal
from openhorde.wire.text import TextRequest

WORKERS_TRIED_MAX: Final = 16
LENGTH_MIN: Final = 16
CONTEXT_LENGTH_MIN: Final = 80

PLAIN: Final[dict[str, tuple[float, Changes]]] = {
    "fast_text": (1, {"slow_workers": True}),
    "trusted": (2, {"trusted_workers": False}),
    "validated": (2, {"validated_backends": False}),
}
"""Words that a request can do without: how much that means, and what is then changed."""

_WORKERS_WEIGHT, _LENGTH_WEIGHT, _SOFT_PROMPT_WEIGHT, _MODELS_WEIGHT = 2, 3, 6, 8


class Variants(Finding[TextRequest]):
    """Finds variants among the workers online, which were read at one moment."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates
        self._threads: Counter[str] = Counter()
        for candidate in candidates:
            self._threads.update(dict.fromkeys(candidate.offer.models, candidate.threads))

    def closest(self, needs: Needs) -> list[Candidate]:
        """The workers that lack least for these needs. The needs of a lane have one answer."""
        return closest(needs, self._candidates, partial(_weight, needs=needs), WORKERS_TRIED_MAX)

    def _changes(
        self, request: TextRequest, offer: Offer, needs_of: Callable[[TextRequest], Needs]
    ) -> dict[str, Any] | None:
        changes: dict[str, Any] = {}
        for shortfall in shortfalls(needs_of(request), offer):
            more = self._change(shortfall.what, request, offer)
            if more is None:
                return None
            changes |= more
        try:
            needs = needs_of(apply(request, changes))
        except Refusal:
            return None
        if shortfalls(needs, offer):
            return None
        return {path: new for path, new in changes.items() if old(request, path) != new}

    def _change(self, what: str, request: TextRequest, offer: Offer) -> Changes | None:
        if what in PLAIN:
            return PLAIN[what][1]
        if is_soft_prompt(what):
            return {"softprompt": None}
        match what:
            case "length":
                return _shorter(offer)
            case "context_length":
                return _less_context(request, offer)
            case "models":
                return self._other_model(offer)
            case "workers":
                return _other_workers(request, offer)
        return None

    def _other_model(self, offer: Offer) -> Changes | None:
        """The worker's model that most others serve too."""
        ranked = [(-self._threads[name], name) for name in offer.models]
        return {"models": [min(ranked)[1]]} if ranked else None


def _weight(what: str, offer: Offer, *, needs: Needs) -> float | None:
    """How much it means to do without something; None: nothing can be done about it."""
    if what in PLAIN:
        return PLAIN[what][0]
    if is_soft_prompt(what):
        return _SOFT_PROMPT_WEIGHT
    match what:
        case "length" | "context_length":
            return _LENGTH_WEIGHT + needs.size(what) / max(1, offer.sizes_max[what])
        case "models":
            return _MODELS_WEIGHT
        case "workers":
            return _WORKERS_WEIGHT
    return None


def _shorter(offer: Offer) -> Changes | None:
    """As long as the worker writes; a text can't be longer than what it is part of."""
    most = min(offer.sizes_max["length"], offer.sizes_max["context_length"])
    return {"params.max_length": most} if most >= LENGTH_MIN else None


def _less_context(request: TextRequest, offer: Offer) -> Changes | None:
    most = offer.sizes_max["context_length"]
    if most < CONTEXT_LENGTH_MIN:
        return None
    changes: Changes = {"params.max_context_length": most}
    if request.params.max_length > most:
        changes = {**changes, **(_shorter(offer) or {})}
    return changes


def _other_workers(request: TextRequest, offer: Offer) -> Changes:
    if request.worker_blacklist:
        return {"workers": [worker for worker in request.workers if worker != offer.worker_id]}
    return {"workers": []}
