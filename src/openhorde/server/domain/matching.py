# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one matching rule: a request fits a worker when nothing is lacking (rules 4.4, 4.5)."""

from collections.abc import Iterable, Sequence
from typing import Final

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


def fits(needs: Needs, offer: Offer) -> bool:
    """Whether the worker can serve the request: the same as `not lacking(needs, offer)`."""
    return (
        needs.kind == offer.kind
        and needs.pixels <= offer.pixels_max
        and offer.words.issuperset(needs.words)
        and (not needs.models or not offer.models.isdisjoint(needs.models))
        and _is_welcome(needs, offer)
    )


def lacking(needs: Needs, offer: Offer) -> tuple[str, ...]:
    """Every reason why the worker cannot serve the request; empty when it fits.

    Reasons are fields of the wire's `Skipped`, each once, in the order of the table in rules 4.4:
    the first is the one to tell. A request of another kind lacks `models`.
    """
    found: list[tuple[int, str]] = []
    if needs.kind != offer.kind or (needs.models and offer.models.isdisjoint(needs.models)):
        found.append((_MODELS_RULE, "models"))
    if needs.pixels > offer.pixels_max:
        found.append((_PIXELS_RULE, "max_pixels"))
    if not _is_welcome(needs, offer):
        found.append((_WORKER_RULE, "worker_id"))
    for word in needs.words:
        if word in offer.words:
            continue
        need = WORDS[word]
        if word in offer.lacking_agent_words:
            found.append((need.rule_when_agent_lacks, need.reason_when_agent_lacks))
        else:
            found.append((need.rule, need.reason))
    found.sort(key=lambda entry: entry[0])
    return tuple(dict.fromkeys(reason for _, reason in found))


def tally(lanes: Iterable[tuple[Needs, int]], offer: Offer) -> dict[str, int]:
    """How many waiting requests the worker cannot be given, by reason, each reason on its own.

    `lanes` are distinct needs with the number of requests that have them. A request as large as
    the worker's limit is served and yet counted under max_pixels: the v2 wire does so.
    """
    counts: dict[str, int] = {}
    for needs, requests in lanes:
        reasons = set(lacking(needs, offer))
        if needs.kind == offer.kind and needs.pixels >= offer.pixels_max:
            reasons.add("max_pixels")
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + requests
    return counts


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


def _is_welcome(needs: Needs, offer: Offer) -> bool:
    if not needs.workers:
        return True
    return (offer.worker_id in needs.workers) is not needs.workers_excluded
