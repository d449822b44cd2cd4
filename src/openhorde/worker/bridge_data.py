# SPDX-License-Identifier: AGPL-3.0-or-later
"""bridgeData.yaml and bridgeData.py: the settings of the workers that people already run, as ours.

What means the same here is taken over, under its own name or ours. All else is named, each with the
reason why it is not used, and so is each value that had to be changed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from openhorde.wire.image import PostProcessor
from openhorde.worker.bridge_names import NOT_NEEDED
from openhorde.worker.fields import SettingField, nearest_name

Warn = Callable[[str], None]

NAMES = ("dreamer_name", "alchemist_name", "scribe_name")
"""The settings whose presence tells which kinds of work the owner does."""
TELLING = (*NAMES, "kai_url", "cache_home", "ram_to_leave_free", "high_memory_mode")
BACKENDS = {"image": "diffusers", "alchemy": "transformers", "text": "koboldcpp"}
RENAMED = {
    "dreamer_name": "worker_name",
    "kai_name": "scribe_name",
    "kai_url": "koboldcpp_url",
}
TEMPLATE_NAMES_BEGIN = ("An Awesome", "My Awesome")
"""How the names in the templates begin that nobody has filled in."""
REGEN_ALONE = ("safety_on_gpu", "process_timeout", "high_performance_mode", "custom_models")
"""Settings that only reGen has, which does no alchemy for a name alone."""
MODEL_FOLDERS = ("compvis", "nataili/compvis")
"""Where those workers keep checkpoints, below cache_home."""
EVERY_MODEL = ("all", "all models")
META_WORDS = ("top ", "bottom ", "all ")
MIB_OF_GB = 1024
POST_PROCESSING = "post-process"


def is_bridge_data(path: Path, values: Mapping[str, Any]) -> bool:
    """Whether a settings file is one of theirs: by its name, or by names only they have."""
    return path.stem.lower().startswith("bridgedata") or any(name in values for name in TELLING)


def read_bridge_data(
    values: Mapping[str, Any], fields: Sequence[SettingField], folder: Path, warn: Warn
) -> dict[str, Any]:
    """Their values as ours, by the names of `fields`. `folder` is where the file lies.

    What is of the wrong kind is left as it is, to be refused like a setting of our own.
    """
    known = {one.name: one for one in fields}
    given = {str(name): value for name, value in values.items() if value is not None}
    given = {name: value for name, value in given.items() if not _is_template_name(name, value)}
    ours = _work(given, warn)
    for name, value in given.items():
        if name == "max_lora_cache_size" and isinstance(value, int | float):
            name, value = "cache_disk_mib", round(value * MIB_OF_GB)
        field = known.get(RENAMED.get(name, name))
        if field is not None:
            ours.setdefault(field.name, _fitted(field, value, warn))
        elif name == "cache_home":
            ours |= _models_folder(given, folder, warn)
        elif name != "alchemist":
            warn(_why_unused(name, known))
    for name, translate in (
        ("models_to_load", _models),
        ("forms", _forms),
        ("priority_usernames", _usernames),
    ):
        names = _texts(ours.get(name))
        if names is not None:
            ours[name] = translate(names, warn)
    return {name: value for name, value in ours.items() if value is not None}


def _work(given: Mapping[str, Any], warn: Warn) -> dict[str, Any]:
    """The kinds of work that the file is about and the engines for them, if it tells and does not
    name its engines. A name that stands for no work is None."""
    if "backends" in given or "backend" in given:
        return {}
    scribe = "scribe_name" in given or "kai_name" in given
    alchemist = given.get("alchemist")
    by_name = alchemist is None and not any(name in given for name in REGEN_ALONE)
    kinds = ["image"] if "dreamer_name" in given else []
    if alchemist is True or (by_name and "alchemist_name" in given):
        kinds.append("alchemy")
    without_work: dict[str, Any] = {}
    if scribe and ("kai_url" in given or "koboldcpp_url" in given or "image" not in kinds):
        kinds.append("text")
    elif scribe:
        warn(
            "scribe_name: no text work is taken, for the file names no engine for it: see backends"
        )
        without_work["scribe_name"] = None
    if "alchemist_name" in given and "alchemy" not in kinds:
        warn("alchemist_name: no alchemy is taken, for alchemist is not on")
        without_work["alchemist_name"] = None
    if not kinds:
        return without_work
    backends = [BACKENDS[kind] for kind in kinds]
    return {"backends": backends, "kinds": given.get("kinds", kinds)} | without_work


def _models_folder(given: Mapping[str, Any], folder: Path, warn: Warn) -> dict[str, Any]:
    """Where the models are, when it can be seen; a word of it in any case."""
    home = (folder / Path(str(given["cache_home"])).expanduser()).absolute()
    if "models_folder" in given:
        warn("cache_home: not needed here: models_folder says where the models are")
        return {}
    for below in MODEL_FOLDERS:
        if (home / below).is_dir():
            warn(
                f"cache_home: the models in {home / below} are offered, as models_folder would say"
            )
            return {"models_folder": str(home / below)}
    warn(f"cache_home: there is no folder compvis in {home}; set models_folder to your models")
    return {}


def _why_unused(name: str, known: Mapping[str, SettingField]) -> str:
    reason = NOT_NEEDED.get(name)
    if reason is not None:
        return f"{name}: not needed here: {reason}"
    return (
        f"{name}: unknown, and not used; the nearest known setting is {nearest_name(name, known)!r}"
    )


def _is_template_name(name: str, value: Any) -> bool:
    return name.endswith("_name") and str(value).startswith(TEMPLATE_NAMES_BEGIN)


def _fitted(field: SettingField, value: Any, warn: Warn) -> Any:
    """The value within the bounds of its field, if it is a number or a text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        nearest = value
        if field.maximum is not None:
            nearest = min(nearest, field.maximum)
        if field.minimum is not None:
            nearest = max(nearest, field.minimum)
        if nearest != value:
            warn(f"{field.name}: {value} is not possible here, {nearest:g} is used")
        return type(value)(nearest)
    if isinstance(value, str) and field.length_max is not None and len(value) > field.length_max:
        warn(f"{field.name}: only the first {field.length_max} characters are used")
        return value[: field.length_max]
    return value


def _models(names: list[str], warn: Warn) -> list[str]:
    """The models by name. "ALL MODELS" is what an empty list means here."""
    if any(name.lower() in EVERY_MODEL for name in names):
        return []
    kept = []
    for name in names:
        if name.lower().startswith(META_WORDS):
            warn(
                f"models_to_load: {name!r} is left out: this worker offers the models in its "
                "models_folder. Name them, or leave the list empty to offer them all"
            )
        else:
            kept.append(name)
    return kept


def _forms(names: list[str], warn: Warn) -> list[str]:
    """The forms by name; one word of theirs stands for all post-processors."""
    if POST_PROCESSING in names:
        names = [name for name in names if name != POST_PROCESSING]
        names += get_args(PostProcessor)
    return list(dict.fromkeys(names))


def _usernames(names: list[str], warn: Warn) -> list[str]:
    """The users that are named with their numbers, for these alone are found."""
    whole = [name for name in names if "#" in name.strip("#")]
    for name in names:
        if name not in whole:
            warn(f"priority_usernames: {name!r} is left out: it is not name#number")
    return whole


def _texts(values: Any) -> list[str] | None:
    """A list of texts, if it is one; one text alone counts as such a list."""
    if isinstance(values, str):
        values = values.split(",")
    if not isinstance(values, list | tuple) or any(isinstance(one, dict | list) for one in values):
        return None
    return [str(one).strip() for one in values if one is not None and str(one).strip()]
