# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a worker asks for less than everything: which engine cannot, which setting does not want."""

from collections.abc import Callable

from openhorde.worker.agent.kinds.table import KINDS
from openhorde.worker.backends.base import Capabilities, Feature
from openhorde.worker.settings import KindName, WorkerSettings

FEATURES: tuple[tuple[str, Feature, str], ...] = (
    ("allow_img2img", "img2img", "pictures to start from"),
    ("allow_painting", "inpainting", "inpainting"),
    ("allow_lora", "lora", "LoRAs"),
    ("allow_controlnet", "controlnet", "control maps"),
    ("allow_post_processing", "post_processing", "post-processing"),
)
"""Settings that allow what an engine may do, and what that is called."""

SKIPPED = {
    "worker_id": "are meant for other workers, or not for this one",
    "performance": "want a faster worker",
    "nsfw": "are for adults only, and nsfw is off",
    "blacklist": "have a word of the blacklist in their prompt",
    "untrusted": "want a trusted worker; trust comes with time and work",
    "models": "want models that this worker does not offer",
    "bridge_version": "need something that this worker's software does not do",
    "kudos": "have no kudos beforehand, and require_upfront_kudos is on",
    "max_pixels": "are too large: max_power",
    "step_count": "have more steps than limit_max_steps lets pass",
    "unsafe_ip": "come through a VPN or proxy, and allow_unsafe_ip is off",
    "img2img": "start from a picture: allow_img2img",
    "painting": "are inpainting: allow_painting",
    "post-processing": "want post-processing: allow_post_processing",
    "lora": "want LoRAs: allow_lora",
    "controlnet": "want control maps: allow_controlnet",
    "max_context_length": "have a longer context: max_context_length",
    "max_length": "want longer texts: max_length",
    "matching_softprompt": "want a soft prompt",
    "max_tiles": "are of too large a picture: max_power",
    "forms": "are forms that this worker does not do",
}
"""What it means that waiting requests were skipped, by the word of the wire."""


def skipped_sentences(skipped: dict[str, int]) -> list[str]:
    """`3 waiting requests want a faster worker`, the most frequent first."""
    counts = sorted(skipped.items(), key=lambda one: -one[1])
    return [
        f"{count} waiting: {SKIPPED.get(reason, f'skipped because of {reason!r}')}"
        for reason, count in counts
    ]


def narrowing(kind: KindName, settings: WorkerSettings, capabilities: Capabilities) -> list[str]:
    """Sentences on what of this kind is not asked for, and why."""
    face = KINDS[kind]
    offered = face.offered(capabilities)
    wanted = face.wanted(settings, offered)
    left_out = [name for name in offered if name not in wanted]
    found = []
    if left_out:
        setting = "forms" if kind == "alchemy" else "models_to_skip"
        found.append(f"{setting} leaves out {', '.join(left_out)}")
    found += unoffered(kind, settings, capabilities)
    found += _BY_KIND[kind](settings, capabilities)
    if settings.require_upfront_kudos:
        found.append("require_upfront_kudos: only requests whose kudos are there beforehand")
    if not settings.allow_unsafe_ip:
        found.append("allow_unsafe_ip is off: no requests through a VPN or proxy")
    return found


def unoffered(kind: KindName, settings: WorkerSettings, capabilities: Capabilities) -> list[str]:
    """What the settings ask for by name although no engine has it, in a sentence."""
    if kind != "alchemy":
        return []
    absent = [form for form in settings.forms if form not in capabilities.forms]
    if not absent:
        return []
    return [
        f"forms: no engine here does {', '.join(absent)}; upscalers and face fixers need "
        "post_processors_folder, all forms the backend transformers"
    ]


def _content(settings: WorkerSettings) -> list[str]:
    found = []
    if not settings.nsfw:
        found.append("nsfw is off: no requests for adults only")
    if settings.blacklist:
        found.append(f"blacklist: no prompts with one of its {len(settings.blacklist)} words")
    if settings.extra_slow_worker:
        found.append("extra_slow_worker: only requests that can wait")
    return found


def _image(settings: WorkerSettings, capabilities: Capabilities) -> list[str]:
    found = []
    for setting, feature, called in FEATURES:
        if feature not in capabilities.features:
            found.append(f"no {called}: not every engine can")
        elif not getattr(settings, setting):
            found.append(f"no {called}: {setting} is off")
    if capabilities.pixels_max is not None and capabilities.pixels_max < settings.pixels_max:
        found.append(f"pictures of at most {capabilities.pixels_max} pixels: the engine's bound")
    else:
        found.append(f"pictures of at most {settings.pixels_max} pixels: max_power")
    if settings.limit_max_steps:
        found.append("limit_max_steps: no requests with more steps than their model needs")
    return found + _content(settings)


def _alchemy(settings: WorkerSettings, capabilities: Capabilities) -> list[str]:
    return [f"source pictures of at most {settings.max_power} squares of 512 pixels: max_power"]


def _text(settings: WorkerSettings, capabilities: Capabilities) -> list[str]:
    found = []
    for setting, tokens in (
        ("max_length", capabilities.tokens_max),
        ("max_context_length", capabilities.context_tokens_max),
    ):
        wanted: int = getattr(settings, setting)
        bound = setting if 0 < wanted < tokens else "the engine's bound"
        what = "new tokens" if setting == "max_length" else "tokens in all"
        found.append(f"at most {min(wanted or tokens, tokens)} {what}: {bound}")
    return found + _content(settings)


_BY_KIND: dict[KindName, Callable[[WorkerSettings, Capabilities], list[str]]] = {
    "image": _image,
    "alchemy": _alchemy,
    "text": _text,
}
