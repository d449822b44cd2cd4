# SPDX-License-Identifier: AGPL-3.0-or-later
"""bridgeData.yaml: the settings file of the workers that people already run, read as our own.

What means the same here is taken over, under its own name or ours. What has no counterpart is
named in a warning, and so is each value that had to be changed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from openhorde.wire.image import PostProcessor
from openhorde.worker.fields import SettingField, SettingsError

Warn = Callable[[str], None]

NAMES = {"dreamer_name": "diffusers", "alchemist_name": "transformers", "scribe_name": "koboldcpp"}
"""The settings whose presence tells which kinds of work the owner does, and the backend for it."""
TELLING = (*NAMES, "kai_url", "cache_home", "ram_to_leave_free", "high_memory_mode")
RENAMED = {
    "dreamer_name": "worker_name",
    "kai_url": "koboldcpp_url",
}
TEMPLATE_NAME_BEGINS = "An Awesome"
"""How the names in the template begin that nobody has filled in."""
EVERY_MODEL = ("all", "all models")
META_WORDS = ("top ", "bottom ", "all ")
MIB_OF_GB = 1024
POST_PROCESSING = "post-process"


def is_bridge_data(path: Path, values: Mapping[str, Any]) -> bool:
    """Whether a settings file is one of theirs: by its name, or by names only they have."""
    return path.stem.lower().startswith("bridgedata") or any(name in values for name in TELLING)


def read_bridge_data(
    values: Mapping[str, Any], fields: Sequence[SettingField], warn: Warn
) -> dict[str, Any]:
    """Their values as ours, by the names of `fields`. Raises SettingsError only for what would
    change what the worker accepts, such as `nsfw: perhaps`."""
    known = {one.name: one for one in fields}
    given = {str(name): value for name, value in values.items() if value is not None}
    backends = _backends(given)
    given = {name: value for name, value in given.items() if not _is_template_name(name, value)}
    ours: dict[str, Any] = {"backends": backends} if backends else {}
    unknown = []
    for name, value in given.items():
        if name == "max_lora_cache_size" and isinstance(value, int | float):
            name, value = "cache_disk_mib", round(value * MIB_OF_GB)
        field = known.get(RENAMED.get(name, name))
        if field is not None:
            ours[field.name] = _fitted(field, value, warn)
        elif name != "alchemist":
            unknown.append(name)
    if unknown:
        warn(f"not used by this worker: {', '.join(sorted(unknown))}")
    for name, translate in (
        ("models_to_load", _models),
        ("forms", _forms),
        ("priority_usernames", _usernames),
    ):
        if name in ours:
            ours[name] = translate(ours[name], warn)
    return ours


def _backends(given: Mapping[str, Any]) -> list[str]:
    """The engines for the work that the file is about; empty when it does not tell."""
    if isinstance(given.get("backends"), list | str):
        return []
    found = [
        backend
        for name, backend in NAMES.items()
        if name in given and not _is_template_name(name, given[name])
    ]
    if given.get("alchemist") is True and "transformers" not in found:
        found.append("transformers")
    return found


def _is_template_name(name: str, value: Any) -> bool:
    return name.endswith("_name") and str(value).startswith(TEMPLATE_NAME_BEGINS)


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


def _models(models: Any, warn: Warn) -> list[str]:
    """The models by name. "ALL MODELS" is what an empty list means here."""
    names = _texts("models_to_load", models)
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


def _forms(forms: Any, warn: Warn) -> list[str]:
    """The forms by name; one word of theirs stands for all post-processors."""
    names = _texts("forms", forms)
    if POST_PROCESSING in names:
        names = [name for name in names if name != POST_PROCESSING]
        names += get_args(PostProcessor)
    return list(dict.fromkeys(names))


def _usernames(usernames: Any, warn: Warn) -> list[str]:
    """The users that are named with their numbers, for these alone are found."""
    names = _texts("priority_usernames", usernames)
    whole = [name for name in names if "#" in name.strip("#")]
    for name in names:
        if name not in whole:
            warn(f"priority_usernames: {name!r} is left out: it is not name#number")
    return whole


def _texts(name: str, values: Any) -> list[str]:
    """A list of texts; one text alone counts as such a list."""
    if isinstance(values, str):
        values = values.split(",")
    if not isinstance(values, list) or any(isinstance(one, dict | list) for one in values):
        raise SettingsError(f"{name}: {values!r} is not allowed: it must be a list of words")
    return [str(one).strip() for one in values if one is not None and str(one).strip()]
