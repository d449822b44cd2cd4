# SPDX-License-Identifier: AGPL-3.0-or-later
"""How settings are shown to people, in the panel and in the command line's help: the groups that
they stand in, and names that are written in a way of their own.
"""

from collections.abc import Sequence

LABEL_WORDS = {
    "url": "URL",
    "api": "API",
    "nsfw": "NSFW",
    "ip": "IP",
    "cpu": "CPU",
    "gpu": "GPU",
    "vram": "VRAM",
    "ram": "RAM",
    "lora": "LoRA",
    "loras": "LoRAs",
    "img2img": "img2img",
    "openai": "OpenAI",
    "koboldcpp": "KoboldCpp",
    "comfyui": "ComfyUI",
    "sdxl": "SDXL",
    "csam": "CSAM",
    "mib": "MiB",
}

# Titles, and what begins the names of their settings; the longest that fits takes a setting.
GROUPS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "Horde and account",
        (
            "horde_url",
            "api_key",
            "bridge_agent",
            "worker_",
            "scribe_",
            "alchemist_",
            "team",
            "storage_",
        ),
    ),
    ("Control panel", ("panel_",)),
    (
        "Engines",
        (
            "backend",
            "kinds",
            "openai_",
            "koboldcpp_",
            "comfyui_",
            "device",
            "cpu_threads",
            "transformers_",
        ),
    ),
    (
        "What is accepted",
        (
            "nsfw",
            "censor_",
            "blacklist",
            "priority_usernames",
            "allow_",
            "require_",
            "extra_slow",
            "limit_",
        ),
    ),
    (
        "Models and memory",
        (
            "model",
            "pinned",
            "stand_ins",
            "dynamic_",
            "gpu_",
            "ram_",
            "cpu_offload",
            "lora",
            "embedding",
            "controlnets",
            "annotators",
            "post_processors",
        ),
    ),
    (
        "Downloads",
        ("download", "cache_", "version_url", "model_url", "hub_", "allow_lora_downloads"),
    ),
    ("Safety", ("safety_", "csam_", "nsfw_", "censorlist")),
    ("Alchemy", ("form", "alchemy", "caption", "interrogat", "word", "clip_")),
    ("Text", ("text", "tokens", "context", "max_length", "max_context")),
    ("How much at once", ("max_", "queue_size", "threads", "steps", "upscaled")),
    ("Waiting and trying again", ("pop_", "idle_", "retry_", "spool_", "drain", "ttl")),
    ("Trials with the fake engine", ("fake_",)),
)
REST = "More"


def group_of(name: str) -> str:
    """The title of the group that a setting stands in."""
    fitting = [
        (len(beginning), title)
        for title, beginnings in GROUPS
        for beginning in beginnings
        if name.startswith(beginning)
    ]
    return max(fitting)[1] if fitting else REST


def begun_large(text: str) -> str:
    """With a large first letter, or the name that it begins with as it is written."""
    first, colon, rest = text.partition(":")
    if first in LABEL_WORDS:
        return f"{LABEL_WORDS[first]}{colon}{rest}"
    return text[0].upper() + text[1:]
