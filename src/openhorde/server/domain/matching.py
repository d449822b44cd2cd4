# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one matching rule: a request fits a worker when nothing is lacking (rules 4.4, 4.5)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from openhorde.server.domain.needs import SIZES, WORDS, Needs, Offer, explained

_MODELS_RULE, _SIZE_RULE, _WORKER_RULE = 0, 0, 6
_WORDS_ABOUT_MODELS: Final = frozenset(
    need.word for need in WORDS.values() if "models" in (need.reason, need.reason_when_agent_lacks)
)


def fits(needs: Needs, offer: Offer) -> bool:
    """Whether the worker can serve the request: the same as `not lacking(needs, offer)`."""
    return (
        needs.kind == offer.kind
        and _is_small_enough(needs, offer)
        and offer.words.issuperset(needs.words)
        and (not needs.models or not offer.models.isdisjoint(needs.models))
        and _is_welcome(needs, offer)
    )


class Shortfall(NamedTuple):
    """One thing that a worker lacks: a word, a size, or `models` or `workers`; `reason` is a field
    of the wire's `Skipped`, `rule` the row of the table in rules 4.4 that says so."""

    rule: int
    reason: str
    what: str


def shortfalls(needs: Needs, offer: Offer) -> list[Shortfall]:
    """Everything that the worker lacks for the request, in the order of the table in rules 4.4.

    Empty when it fits. A request of another kind lacks `models`.
    """
    found: list[Shortfall] = []
    if _lacks_models(needs.kind, needs.models, offer):
        found.append(Shortfall(_MODELS_RULE, "models", "models"))
    for name, size in needs.sizes:
        if size > offer.sizes_max.get(name, 0):
            found.append(Shortfall(_SIZE_RULE, SIZES[name].reason, name))
    if not _is_welcome(needs, offer):
        found.append(Shortfall(_WORKER_RULE, "worker_id", "workers"))
    for word in needs.words:
        if word in offer.words:
            continue
        need = explained(word)
        if word in offer.lacking_agent_words:
            found.append(Shortfall(need.rule_when_agent_lacks, need.reason_when_agent_lacks, word))
        else:
            found.append(Shortfall(need.rule, need.reason, word))
    found.sort(key=lambda shortfall: shortfall.rule)
    return found


def lacking(needs: Needs, offer: Offer) -> tuple[str, ...]:
    """Every reason why the worker cannot serve the request; empty when it fits.

    Reasons are fields of the wire's `Skipped`, each once, in the order of the table in rules 4.4:
    the first is the one to tell.
    """
    return tuple(dict.fromkeys(shortfall.reason for shortfall in shortfalls(needs, offer)))


class _Wordy:
    """Requests with the same words, and which of these say something about models."""

    __slots__ = ("about_models", "requests")

    def __init__(self, about_models: tuple[str, ...]) -> None:
        self.about_models = about_models
        self.requests = 0


class _WaitingOfKind:
    """What waits of one kind, summed up."""

    __slots__ = ("models", "sizes", "words", "workers")

    def __init__(self) -> None:
        self.words: dict[tuple[str, ...], _Wordy] = {}
        self.sizes: dict[tuple[str, int], int] = {}
        self.models: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        self.workers: dict[tuple[tuple[str, ...], bool], int] = {}

    def add(self, needs: Needs, requests: int) -> None:
        wordy = self.words.get(needs.words)
        if wordy is None:
            about_models = tuple(word for word in needs.words if word in _WORDS_ABOUT_MODELS)
            wordy = self.words[needs.words] = _Wordy(about_models)
        wordy.requests += requests
        for size in needs.sizes:
            self.sizes[size] = self.sizes.get(size, 0) + requests
        choice = needs.models, wordy.about_models
        self.models[choice] = self.models.get(choice, 0) + requests
        if needs.workers:
            listed = needs.workers, needs.workers_excluded
            self.workers[listed] = self.workers.get(listed, 0) + requests


class Waiting:
    """What waits, summed up once for all workers that ask why they get nothing of it.

    A reason depends on a part of the needs only, and requests that agree in that part are counted
    together: what a worker hears costs as many steps as there are different sets of words, sizes
    and choices of models, not as there are lanes.
    """

    __slots__ = ("_kinds",)

    def __init__(self, lanes: Iterable[tuple[Needs, int]]) -> None:
        """`lanes` are distinct needs with the number of requests that have them."""
        self._kinds: dict[str, _WaitingOfKind] = {}
        for needs, requests in lanes:
            self._kinds.setdefault(needs.kind, _WaitingOfKind()).add(needs, requests)

    def tally(self, offer: Offer) -> dict[str, int]:
        """How many waiting requests of its kind the worker cannot be given, by reason, each on its
        own.

        A size that `tells_limit` is counted also where a request is as large as the worker's limit.
        """
        waiting = self._kinds.get(offer.kind)
        if waiting is None:
            return {}
        counts: Counter[str] = Counter()
        unserved: dict[tuple[str, ...], bool] = {}
        for words, wordy in waiting.words.items():
            if not offer.words.issuperset(words):
                for reason in _reasons(words, offer) - {"models"}:
                    counts[reason] += wordy.requests
            if wordy.about_models not in unserved:
                unserved[wordy.about_models] = "models" in _reasons(wordy.about_models, offer)
        for (name, size), requests in waiting.sizes.items():
            if size + SIZES[name].tells_limit > offer.sizes_max.get(name, 0):
                counts[SIZES[name].reason] += requests
        for (models, about_models), requests in waiting.models.items():
            if unserved[about_models] or _lacks_models(offer.kind, models, offer):
                counts["models"] += requests
        for (workers, excluded), requests in waiting.workers.items():
            if (offer.worker_id in workers) is excluded:
                counts["worker_id"] += requests
        return dict(counts)


def prioritised(offer: Offer) -> Offer:
    """The offer as the worker's owner and priority users see it: they need not pay in advance."""
    return msgspec.structs.replace(offer, words=offer.words | {"generous"})


def _is_small_enough(needs: Needs, offer: Offer) -> bool:
    limits = offer.sizes_max
    for name, size in needs.sizes:  # noqa: SIM110 (a generator would take three times as long)
        if size > limits.get(name, 0):
            return False
    return True


def _lacks_models(kind: str, models: Sequence[str], offer: Offer) -> bool:
    return kind != offer.kind or (bool(models) and offer.models.isdisjoint(models))


def _reasons(words: Iterable[str], offer: Offer) -> set[str]:
    return {
        explained(word).reason_when_agent_lacks
        if word in offer.lacking_agent_words
        else explained(word).reason
        for word in words
        if word not in offer.words
    }


def _is_welcome(needs: Needs, offer: Offer) -> bool:
    if not needs.workers:
        return True
    return (offer.worker_id in needs.workers) is not needs.workers_excluded
