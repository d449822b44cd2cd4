# SPDX-License-Identifier: AGPL-3.0-or-later
"""The vocabulary of needs: what a job may need of a worker, each word and size explained once.

Each job of a request is turned once into `Needs`, a worker's check-in into an `Offer`. Both speak
the words below, so the rule of matching is set inclusion, and sizes are compared name by name. A
feature that only some workers have is one word here and one line in its kind.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, get_args

import msgspec
from msgspec import Struct, field

from openhorde.wire.alchemy import Interrogation
from openhorde.wire.image import ControlType, PostProcessor, Sampler

SAMPLERS: Final[tuple[str, ...]] = get_args(Sampler)
POST_PROCESSORS: Final[tuple[str, ...]] = get_args(PostProcessor)
CONTROL_TYPES: Final[tuple[str, ...]] = get_args(ControlType)
FORMS: Final[tuple[str, ...]] = (*get_args(Interrogation), *POST_PROCESSORS)


class NeedWord(Struct, frozen=True):
    """One need. Reasons are fields of the wire's `Skipped`.

    `meaning` is what a worker does that has the word, so that it reads well after "workers that"
    and after "workers do not".
    `reason` is told when the worker's owner forbids it, `reason_when_agent_lacks` when the agent's
    version cannot do it. `rule` and `rule_when_agent_lacks` are the rows of the table in rules 4.4
    that say so (0: checked before the table); they order the reasons.
    """

    word: str
    meaning: str
    reason: str
    rule: int
    reason_when_agent_lacks: str = "bridge_version"
    rule_when_agent_lacks: int = 0


class NeedSize(Struct, frozen=True):
    """A way in which jobs have a size that a worker bounds.

    `meaning` and `reason` are as in NeedWord. `tells_limit`: a job exactly as large as the worker's
    limit is served, and yet told as skipped, as the v2 wire does.
    """

    name: str
    meaning: str
    reason: str
    tells_limit: bool = False


SIZES: Final[dict[str, NeedSize]] = {
    size.name: size
    for size in (
        NeedSize("pixels", "make pictures as large as this one", "max_pixels", tells_limit=True),
        NeedSize("tiles", "take pictures as large as this one", "max_tiles"),
        NeedSize("length", "write texts as long as this one", "max_length"),
        NeedSize("context_length", "read as much context as this", "max_context_length"),
    )
}
"""Pixels are width x height, tiles squares of 512 pixels (begun ones too), lengths tokens."""


def sampler_word(sampler: str, *, karras: bool) -> str:
    """The need of a sampler, with or without Karras sigmas."""
    return f"sampler:{sampler}:karras" if karras else f"sampler:{sampler}"


def post_processor_word(name: str) -> str:
    """The need of one post-processor."""
    return f"post-processor:{name}"


def form_word(name: str) -> str:
    """The need of one form of alchemy."""
    return f"form:{name}"


def allows_unsafe_ip(*spelled: bool | None) -> bool:
    """Whether a worker serves doubtful addresses: two spellings are in use; silence means yes."""
    return next((given for given in spelled if given is not None), True)


def control_word(name: str) -> str:
    """The need of one control type."""
    return f"control:{name}"


def _agent_only(word: str, meaning: str, rule: int) -> NeedWord:
    return NeedWord(word, meaning, "bridge_version", rule, "bridge_version", rule)


_ALLOWED = (
    NeedWord("nsfw", "serve requests that are not safe for work", "nsfw", 2),
    NeedWord("trusted", "have a trusted owner", "untrusted", 3),
    NeedWord("img2img", "start from a source image", "img2img", 12, "img2img", 7),
    NeedWord("painting", "fill in or extend a picture", "painting", 8, "painting", 8),
    NeedWord("inpainting_model", "serve a model made for filling in", "models", 8),
    NeedWord("ordinary_model", "serve a model not made for filling in", "models", 9),
    NeedWord("any_model", "serve only models open to everybody", "models", 0),
    NeedWord("fast", "make at least 500 000 pixelsteps a second", "performance", 0),
    NeedWord("brisk", "work at the usual pace, not extra slow", "performance", 0),
    NeedWord("lora", "apply loras", "lora", 0),
    NeedWord("post_processing", "post-process", "post_processing", 20, rule_when_agent_lacks=11),
    NeedWord("controlnet", "follow a control map", "controlnet", 14, rule_when_agent_lacks=14),
    NeedWord("sdxl_controlnet", "follow a control map on SDXL", "controlnet", 15),
    NeedWord("transparent", "make pictures with transparency", "controlnet", 0),
    NeedWord("unsafe_ip", "serve requests from doubtful addresses", "unsafe_ip", 17),
    NeedWord(
        "many_steps", "serve more steps than the model's comfortable number", "step_count", 18
    ),
    NeedWord("fast_forms", "do a form within 10 seconds", "performance", 0),
    NeedWord("fast_text", "write at a good pace for the size of their model", "performance", 0),
    NeedWord("validated", "run an engine that is known to obey", "bridge_version", 7),
    NeedWord("generous", "serve those who could not pay in advance", "kudos", 21),
)
_AGENT = (
    _agent_only("r2", "upload results to object storage", 0),
    _agent_only("extra_sources", "take extra source images", 0),
    _agent_only("textual_inversion", "load textual inversions", 0),
    _agent_only("tiling", "make seamless pictures", 13),
    _agent_only("return_control_map", "return the control map as the picture", 13),
    _agent_only("image_is_control", "take the source image as the control map", 14),
    _agent_only("qr_code", "hide a QR code in the picture", 15),
    _agent_only("hires_fix", "work in two passes", 16),
    _agent_only("stable_cascade_2pass", "work in two passes on Stable Cascade", 16),
    _agent_only("flux", "run software new enough for Flux", 16),
    _agent_only("clip_skip", "skip the last layers of the text encoder", 16),
    _agent_only("lora_versions", "find loras by version", 16),
)
_SAMPLERS = tuple(
    _agent_only(sampler_word(name, karras=karras), f"know the sampler {name}{suffix}", 10)
    for name in SAMPLERS
    for karras, suffix in ((False, ""), (True, " with Karras sigmas"))
)
_POST_PROCESSORS = tuple(
    NeedWord(
        post_processor_word(name),
        f"have the post-processor {name}",
        "post_processing",
        20,
        rule_when_agent_lacks=11,
    )
    for name in POST_PROCESSORS
)
_FORMS = tuple(NeedWord(form_word(name), f"do the form {name}", "forms", 0) for name in FORMS)
_CONTROLS = tuple(
    NeedWord(
        control_word(name),
        f"follow a control map of the type {name}",
        "controlnet",
        14,
        rule_when_agent_lacks=14,
    )
    for name in CONTROL_TYPES
)
WORDS: Final[dict[str, NeedWord]] = {
    need.word: need
    for need in (*_ALLOWED, *_AGENT, *_SAMPLERS, *_POST_PROCESSORS, *_CONTROLS, *_FORMS)
}


_SOFT_PROMPT: Final = "softprompt:"
_SOFT_PROMPTS: Final = NeedWord(
    _SOFT_PROMPT, "have the soft prompt that is asked for", "matching_softprompt", 8
)


def soft_prompt_word(name: str) -> str:
    """The need of a soft prompt. Owners name them as they like: these words are not in WORDS."""
    return _SOFT_PROMPT + name


def is_soft_prompt(word: str) -> bool:
    """Whether the word is the need of a soft prompt."""
    return word.startswith(_SOFT_PROMPT)


def explained(word: str) -> NeedWord:
    """What there is to say of a word."""
    return _SOFT_PROMPTS if is_soft_prompt(word) else WORDS[word]


class Needs(Struct, frozen=True, kw_only=True):
    """What one job needs. Tuples are sorted; `models` empty means any.

    `sizes` are pairs of a name in SIZES and how large the job is. `workers` names the only workers
    that may serve it, or, when `workers_excluded`, those that may not.
    """

    kind: str
    words: tuple[str, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    models: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    workers_excluded: bool = False

    def signature(self) -> str:
        """The identity of these needs: equal needs share a lane of the queue. 32 hex digits."""
        return blake2b(msgspec.json.encode(self), digest_size=16).hexdigest()

    def size(self, name: str) -> int:
        """One of the sizes; 0 for one that it does not have."""
        return next((size for each, size in self.sizes if each == name), 0)


class Offer(Struct, frozen=True, kw_only=True):
    """What one worker offers at a check-in. `sizes_max` bounds each size in SIZES that it takes.

    `lacking_agent_words` are the words missing because the agent's version cannot do them, not
    because its owner forbids them.
    """

    kind: str
    words: frozenset[str] = frozenset()
    sizes_max: Mapping[str, int] = field(default_factory=dict)
    models: frozenset[str] = frozenset()
    worker_id: str = ""
    lacking_agent_words: frozenset[str] = frozenset()
