# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and embeddings on disk: which file a name means, and what the file says of itself.

A file is found by its name in the owner's folder, or among what was fetched. `NAME.json` beside it
may tell `triggers` and `baseline`; what trainers write into the file's own header counts too.
"""

import difflib
import hashlib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field
from safetensors import SafetensorError, safe_open

from openhorde.incoming.texts import read_json_file

Kind = Literal["loras", "embeddings"]
Family = Literal["stable_diffusion", "stable_diffusion_2", "stable_diffusion_xl", "other"]
ANY_TRIGGER = "any"
URL_STARTS = ("https://", "http://")


class About(Struct, kw_only=True):
    """What is known of an adapter: words that call it up, and the models it was made for."""

    triggers: list[str] = field(default_factory=list)
    baseline: str | None = None
    sha256: str | None = None

    @property
    def family(self) -> Family | None:
        """The family of models it was made for; None when that is not known."""
        return _family(self.baseline) if self.baseline else None


def fetched_name(name: str, is_version: bool) -> str | None:
    """The name under which a fetched file is kept; None for what cannot be fetched."""
    if name.startswith(URL_STARTS):
        return f"url-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    if not (name.isascii() and name.isdigit()):
        return None
    return f"version-{name}" if is_version else f"model-{name}"


def find_adapter(
    kind: Kind, name: str, is_version: bool, folder: Path | None, cache: Path | None
) -> Path | None:
    """The file that a name means, in the owner's folder or the cache, and never one outside."""
    found = None if is_version else _named(folder, name)
    if found is None and cache is not None:
        kept = fetched_name(name, is_version)
        found = _named(cache / kind, kept) if kept is not None else None
    return found


def _named(folder: Path | None, name: str) -> Path | None:
    if folder is None or not folder.is_dir():
        return None
    return next((path for path in folder.glob("*.safetensors") if path.stem == name), None)


def read_about(path: Path) -> About:
    """What the file beside an adapter and its own header say. Raises ValueError for no adapter."""
    try:
        with safe_open(path, framework="numpy") as opened:
            header = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"it is not a safetensors file: {error}") from error
    about = _beside(path.with_suffix(".json"))
    if not about.triggers and header.get("modelspec.trigger_phrase"):
        about.triggers = [header["modelspec.trigger_phrase"]]
    if about.baseline is None:
        about.baseline = header.get("modelspec.architecture") or header.get("ss_base_model_version")
    return about


def _beside(path: Path) -> About:
    try:
        return read_json_file(path, About)
    except (OSError, msgspec.DecodeError):
        return About()


def choose_trigger(triggers: list[str], wanted: str | None) -> str | None:
    """The trigger nearest to the wanted one, the first for "any"; None when none is like it."""
    if not wanted or not triggers:
        return None
    if wanted.lower() == ANY_TRIGGER:
        return triggers[0]
    holding = [trigger for trigger in triggers if wanted.lower() in trigger.lower()]
    if holding:
        return min(holding, key=len)
    return next(iter(difflib.get_close_matches(wanted, triggers, n=1)), None)


def _family(baseline: str) -> Family:
    """The family that a trainer's or a catalogue's word for a baseline stands for."""
    word = baseline.lower().replace("_", " ").replace("-", " ")
    if any(sign in word for sign in ("xl", "pony", "illustrious", "noobai")):
        return "stable_diffusion_xl"
    if any(sign in word for sign in ("sd 2", "sd v2", "sd2", "diffusion 2", "diffusion v2")):
        return "stable_diffusion_2"
    if any(sign in word for sign in ("sd 1", "sd v1", "sd1", "diffusion 1", "diffusion v1")):
        return "stable_diffusion"
    return "stable_diffusion" if word == "stable diffusion" else "other"
