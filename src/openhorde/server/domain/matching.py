# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one matching rule: a request fits a worker when nothing is lacking (rules 4.4, 4.5)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from openhorde.server.domain.needs import WORDS, Needs, Offer

HEAVY_POST_PROCESSORS: Final = frozenset(
    {
        "RealESRGAN_x4plus",
        "RealESRGAN_x4plus_anime_6B",
        "NMKD_Siax",
        "4x_AnimeSharp",
        "CodeFormers",
        "4xNomos8kSC",
        "4xLSDIRplus",
        "4xNomos2_hq_dat2",
        "RestoreFormer",
    }
)
BATCH_BURDENS: Final = {"flux_1": 5, "qwen_image": 10, "z_image_turbo": 8}
"""How much more memory a picture of this family takes in a batch."""

_MODELS_RULE, _PIXELS_RULE, _WORKER_RULE = 0, 0, 6
_WORDS_ABOUT_MODELS: Final = frozenset(
    need.word for need in WORDS.values() if "models" in (need.reason, need.reason_when_agent_lacks)
)


def fits(needs: Needs, offer: Offer) -> bool:
    """Whether the worker can serve the request: the same as `not lacking(needs, offer)`."""
    return (
        needs.kind == offer.kind
        and needs.pixels <= offer.pixels_max
        and offer.words.issuperset(needs.words)
        and (not needs.models or not offer.models.isdisjoint(needs.models))
        and _is_welcome(needs, offer)
    )


class Shortfall(NamedTuple):
    """One thing that a worker lacks: a word, or `models`, `pixels` or `workers`; `reason` is a
    field of the wire's `Skipped`, `rule` the row of the table in rules 4.4 that says so."""

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
    if needs.pixels > offer.pixels_max:
        found.append(Shortfall(_PIXELS_RULE, "max_pixels", "pixels"))
    if not _is_welcome(needs, offer):
        found.append(Shortfall(_WORKER_RULE, "worker_id", "workers"))
    for word in needs.words:
        if word in offer.words:
            continue
        need = WORDS[word]
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


class Waiting:
    """What waits, summed up once for all workers that ask why they get nothing of it.

    A reason depends on a part of the needs only, and requests that agree in that part are counted
    together: what a worker hears costs as many steps as there are different sets of words, sizes
    and choices of models, not as there are lanes.
    """

    __slots__ = ("_models", "_sizes", "_words", "_workers")

    def __init__(self, lanes: Iterable[tuple[Needs, int]]) -> None:
        """`lanes` are distinct needs with the number of requests that have them."""
        self._words: dict[tuple[str, ...], _Wordy] = {}
        self._sizes: dict[tuple[str, int], int] = {}
        self._models: dict[tuple[str, tuple[str, ...], tuple[str, ...]], int] = {}
        self._workers: dict[tuple[tuple[str, ...], bool], int] = {}
        for needs, requests in lanes:
            wordy = self._words.get(needs.words)
            if wordy is None:
                about_models = tuple(word for word in needs.words if word in _WORDS_ABOUT_MODELS)
                wordy = self._words[needs.words] = _Wordy(about_models)
            wordy.requests += requests
            size = needs.kind, needs.pixels
            self._sizes[size] = self._sizes.get(size, 0) + requests
            choice = needs.kind, needs.models, wordy.about_models
            self._models[choice] = self._models.get(choice, 0) + requests
            if needs.workers:
                listed = needs.workers, needs.workers_excluded
                self._workers[listed] = self._workers.get(listed, 0) + requests

    def tally(self, offer: Offer) -> dict[str, int]:
        """How many waiting requests the worker cannot be given, by reason, each on its own.

        A request as large as the worker's limit is served and yet counted under max_pixels: the v2
        wire does so.
        """
        counts: Counter[str] = Counter()
        unserved: dict[tuple[str, ...], bool] = {}
        for words, wordy in self._words.items():
            if not offer.words.issuperset(words):
                for reason in _reasons(words, offer) - {"models"}:
                    counts[reason] += wordy.requests
            if wordy.about_models not in unserved:
                unserved[wordy.about_models] = "models" in _reasons(wordy.about_models, offer)
        for (kind, pixels), requests in self._sizes.items():
            if pixels > offer.pixels_max or (kind == offer.kind and pixels == offer.pixels_max):
                counts["max_pixels"] += requests
        for (kind, models, about_models), requests in self._models.items():
            if unserved[about_models] or _lacks_models(kind, models, offer):
                counts["models"] += requests
        for (workers, excluded), requests in self._workers.items():
            if (offer.worker_id in workers) is excluded:
                counts["worker_id"] += requests
        return dict(counts)


def prioritised(offer: Offer) -> Offer:
    """The offer as the worker's owner and priority users see it: they need not pay in advance."""
    return msgspec.structs.replace(offer, words=offer.words | {"generous"})


def batch_amount(
    *,
    pixels: int,
    pixels_max: int,
    amount: int,
    waiting: int,
    baseline: str,
    post_processing: Sequence[str] = (),
    transparent: bool = False,
    disable_batching: bool = False,
) -> int:
    """How many jobs of one request a worker gets at once (rules 4.5): 1 to min(amount, waiting).

    `pixels` of one picture, `pixels_max` the worker's limit, `amount` what it asks for, `baseline`
    the family of the job's model.
    """
    if disable_batching:
        return 1
    burden = 1 + 0.4 * len(post_processing)
    if transparent or not HEAVY_POST_PROCESSORS.isdisjoint(post_processing):
        burden *= 1.8
    burden *= BATCH_BURDENS.get(baseline, 1)
    safe = round(pixels_max / 3.5 * amount / (pixels * burden))
    return max(1, min(safe, amount, waiting))


def _lacks_models(kind: str, models: Sequence[str], offer: Offer) -> bool:
    return kind != offer.kind or (bool(models) and offer.models.isdisjoint(models))


def _reasons(words: Iterable[str], offer: Offer) -> set[str]:
    return {
        WORDS[word].reason_when_agent_lacks
        if word in offer.lacking_agent_words
        else WORDS[word].reason
        for word in words
        if word not in offer.words
    }


def _is_welcome(needs: Needs, offer: Offer) -> bool:
    if not needs.workers:
        return True
    return (offer.worker_id in needs.workers) is not needs.workers_excluded
