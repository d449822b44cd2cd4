# SPDX-License-Identifier: AGPL-3.0-or-later
"""The variant of an impossible image request that is nearest to it and that a worker would do."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from typing import Any, Final

from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.image_work import ADAPTIVE_SAMPLER, SECOND_ORDER_SAMPLERS
from openhorde.server.domain.kinds.variants import Changes, Finding, apply, old
from openhorde.server.domain.matching import shortfalls
from openhorde.server.domain.needs import (
    CONTROL_TYPES,
    SAMPLERS,
    Needs,
    Offer,
    control_word,
    post_processor_word,
    sampler_word,
)
from openhorde.server.domain.possibility import Candidate, closest
from openhorde.server.domain.reference import Reference, is_special
from openhorde.server.domain.refusals import Refusal
from openhorde.wire.requests import ImageRequest

SIDE_PIXELS: Final = 64
WORKERS_TRIED_MAX: Final = 16
ROUNDS_MAX: Final = 3
"""A change may bring a new need (another model has fewer comfortable steps): so often is it met."""


_NO_SOURCE: Final[Changes] = {
    "source_image": None,
    "source_mask": None,
    "source_processing": "img2img",
    "extra_source_images": [],
    "params.control_type": None,
    "params.image_is_control": False,
    "params.return_control_map": False,
}
_NO_CONTROL: Final[Changes] = {
    "params.control_type": None,
    "params.image_is_control": False,
    "params.return_control_map": False,
}
_NO_PAINTING: Final[Changes] = {"source_mask": None, "source_processing": "img2img"}
_NO_WORKFLOW: Final[Changes] = {"params.workflow": None, "params.extra_texts": None}
_NO_SECOND_PASS: Final[Changes] = {"params.hires_fix": False}

PLAIN: Final[dict[str, tuple[float, Changes]]] = {
    "fast": (1, {"slow_workers": True}),
    "brisk": (1, {"extra_slow_workers": True}),
    "r2": (1, {"r2": False}),
    "trusted": (2, {"trusted_workers": False}),
    "clip_skip": (2, {"params.clip_skip": None}),
    "hires_fix": (3, _NO_SECOND_PASS),
    "stable_cascade_2pass": (3, _NO_SECOND_PASS),
    "tiling": (5, {"params.tiling": False}),
    "textual_inversion": (5, {"params.tis": []}),
    "lora": (6, {"params.loras": []}),
    "return_control_map": (6, {"params.return_control_map": False}),
    "image_is_control": (6, {"params.image_is_control": False}),
    "transparent": (8, {"params.transparent": False}),
    "nsfw": (8, {"nsfw": False}),
    "controlnet": (10, _NO_CONTROL),
    "extra_sources": (10, {"extra_source_images": []}),
    "qr_code": (15, _NO_WORKFLOW),
    "sdxl_controlnet": (15, _NO_WORKFLOW),
    "painting": (15, _NO_PAINTING),
    "inpainting_model": (15, _NO_PAINTING),
    "img2img": (20, _NO_SOURCE),
    **{control_word(name): (10, _NO_CONTROL) for name in CONTROL_TYPES},
}
"""Words that a request can do without: how much that means, and what is then changed."""

_SAMPLER_WEIGHT, _STEPS_WEIGHT, _POST_PROCESSING_WEIGHT, _LORA_VERSIONS_WEIGHT = 2, 2, 4, 6
_WORKERS_WEIGHT, _PIXELS_WEIGHT, _KIN_WEIGHT, _STRANGER_WEIGHT = 2, 3, 7, 12


class Variants(Finding[ImageRequest]):
    """Finds variants among the workers online, which were read at one moment."""

    def __init__(self, candidates: Sequence[Candidate], reference: Reference) -> None:
        self._candidates = candidates
        self._reference = reference
        self._threads: Counter[str] = Counter()
        for candidate in candidates:
            self._threads.update(dict.fromkeys(candidate.offer.models, candidate.threads))

    def closest(self, needs: Needs) -> list[Candidate]:
        """The workers that lack least for these needs. The needs of a lane have one answer."""
        families = {self._reference.baseline(name) for name in needs.models}
        kin = {name for name in self._threads if self._reference.baseline(name) in families}
        weight = partial(_weight, needs=needs, kin=kin)
        return closest(needs, self._candidates, weight, WORKERS_TRIED_MAX)

    def _changes(
        self, request: ImageRequest, offer: Offer, needs_of: Callable[[ImageRequest], Needs]
    ) -> dict[str, Any] | None:
        changes: dict[str, Any] = {}
        try:
            for _ in range(ROUNDS_MAX):
                changed = apply(request, changes)
                lacking = [shortfall.what for shortfall in shortfalls(needs_of(changed), offer)]
                if not lacking:
                    return {path: new for path, new in changes.items() if old(request, path) != new}
                for what in lacking:
                    more = self._change(what, changed, offer)
                    if more is None:
                        return None
                    changes |= more
        except Refusal:
            pass
        return None

    def _change(self, what: str, request: ImageRequest, offer: Offer) -> Changes | None:
        if what in PLAIN:
            return PLAIN[what][1]
        if what.startswith("sampler:"):
            return _other_sampler(request, offer)
        if what.startswith("post-processor:") or what == "post_processing":
            return _less_post_processing(request, offer)
        match what:
            case "pixels":
                return _smaller(request, offer)
            case "models" | "any_model" | "flux":
                return self._other_model(request, offer)
            case "workers":
                return _other_workers(request, offer)
            case "lora_versions":
                return {
                    "params.loras": [lora for lora in request.params.loras if not lora.is_version]
                }
            case "many_steps":
                return self._fewer_steps(request, offer)
        return None

    def _other_model(self, request: ImageRequest, offer: Offer) -> Changes | None:
        """The worker's model that most others serve too, of the same family if there is one."""
        families = {self._reference.baseline(name) for name in request.models}
        painting = request.source_image is not None and request.source_processing in image.PAINTING
        ranked = []
        for name in offer.models:
            facts = self._reference.facts(name)
            if is_special(name) or (facts.inpainting and not painting):
                continue
            if facts.baseline == "flux_1" and "flux" not in offer.words:
                continue
            ranked.append((facts.baseline not in families, -self._threads[name], name))
        return {"models": [min(ranked)[-1]]} if ranked else None

    def _fewer_steps(self, request: ImageRequest, offer: Offer) -> Changes | None:
        sampler = request.params.sampler_name
        changes: dict[str, Any] = {}
        if sampler == ADAPTIVE_SAMPLER:
            other = _other_sampler(request, offer)
            if other is None:
                return None
            changes |= other
            sampler = changes.get("params.sampler_name", sampler)
        steps = image.comfortable_steps(request.models, self._reference)
        if sampler in SECOND_ORDER_SAMPLERS:
            steps /= 2
        return {**changes, "params.steps": int(steps)} if steps >= 1 else None


def _weight(what: str, offer: Offer, *, needs: Needs, kin: set[str]) -> float | None:
    """How much it means to do without something; None: nothing can be done about it."""
    if what in PLAIN:
        return PLAIN[what][0]
    if what.startswith("sampler:"):
        return _SAMPLER_WEIGHT
    if what.startswith("post-processor:") or what == "post_processing":
        return _POST_PROCESSING_WEIGHT
    match what:
        case "pixels":
            return _PIXELS_WEIGHT + needs.size("pixels") / offer.sizes_max["pixels"]
        case "models" | "any_model" | "flux":
            return _STRANGER_WEIGHT if kin.isdisjoint(offer.models) else _KIN_WEIGHT
        case "workers":
            return _WORKERS_WEIGHT
        case "lora_versions":
            return _LORA_VERSIONS_WEIGHT
        case "many_steps":
            return _STEPS_WEIGHT
    return None


def _smaller(request: ImageRequest, offer: Offer) -> Changes | None:
    """Sides of about the same proportion that the worker takes."""
    width, height = request.params.width, request.params.height
    pixels_max = offer.sizes_max["pixels"]
    scale = sqrt(pixels_max / (width * height))
    width, height = (
        max(SIDE_PIXELS, int(side * scale) // SIDE_PIXELS * SIDE_PIXELS) for side in (width, height)
    )
    while width * height > pixels_max:
        # A side cannot be less than 64: the other has to give way.
        if max(width, height) == SIDE_PIXELS:
            return None
        if width > height:
            width -= SIDE_PIXELS
        else:
            height -= SIDE_PIXELS
    return {"params.width": width, "params.height": height}


def _other_workers(request: ImageRequest, offer: Offer) -> Changes:
    if request.worker_blacklist:
        return {"workers": [worker for worker in request.workers if worker != offer.worker_id]}
    return {"workers": []}


def _other_sampler(request: ImageRequest, offer: Offer) -> Changes | None:
    """The same sampler on the other schedule, else one with as many evaluations a step."""
    params = request.params
    order = params.sampler_name in SECOND_ORDER_SAMPLERS

    def distance(choice: tuple[str, bool]) -> tuple[bool, bool, bool]:
        name, karras = choice
        return (
            name != params.sampler_name,
            (name in SECOND_ORDER_SAMPLERS) is not order,
            karras is not params.karras,
        )

    known = [
        (name, karras)
        for name in SAMPLERS
        for karras in (True, False)
        if sampler_word(name, karras=karras) in offer.words and name != ADAPTIVE_SAMPLER
    ]
    if not known:
        return None
    name, karras = min(known, key=distance)
    return {"params.sampler_name": name, "params.karras": karras}


def _less_post_processing(request: ImageRequest, offer: Offer) -> Changes:
    if "post_processing" not in offer.words:
        return {"params.post_processing": []}
    known = [
        name for name in request.params.post_processing if post_processor_word(name) in offer.words
    ]
    return {"params.post_processing": known}
