# SPDX-License-Identifier: AGPL-3.0-or-later
"""How each setting is shown in the form, and how what is typed there becomes its value.

All of it follows from the settings struct; groups and labels stand in worker/labels.py.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from openhorde.worker.labels import GROUPS, LABEL_WORDS, REST, begun_large, group_of
from openhorde.worker.panel.chart import number_text
from openhorde.worker.panel.saving import UNSET
from openhorde.worker.settings import SettingField, settings_fields

Look = Literal["switch", "choice", "choices", "words", "slider", "number", "secret", "text"]

SLIDER_STEPS_MAX = 64
CLEAR = "-"
ENGINES = next(field.choices for field in settings_fields() if field.name == "backends")


class ShownField(Struct, frozen=True, kw_only=True):
    """One setting as the form shows it. `bounds` are those of a slider."""

    setting: SettingField
    look: Look
    label: str
    info: str
    at_once: bool

    @property
    def name(self) -> str:
        """The setting's name."""
        return self.setting.name

    @property
    def engine(self) -> str | None:
        """The engine whose name it begins with, if it is for one engine alone."""
        begun = (one for one in ENGINES if self.name.startswith(f"{one}_"))
        return next(begun, None)

    def has(self, words: Sequence[str]) -> bool:
        """Whether all these words, in small letters, are in its name, label or help."""
        text = f"{self.name} {self.label} {self.info}".lower()
        return all(word in text for word in words)


def shown_groups() -> list[tuple[str, list[ShownField]]]:
    """Every setting, by group; within one in the order of the struct."""
    groups: dict[str, list[ShownField]] = {title: [] for title, _ in GROUPS}
    groups[REST] = []
    for setting in settings_fields():
        groups[group_of(setting.name)].append(shown(setting))
    return [(title, fields) for title, fields in groups.items() if fields]


def shown(setting: SettingField) -> ShownField:
    """One setting with its look, label and help."""
    look = _look(setting)
    words = (LABEL_WORDS.get(word, word) for word in setting.name.split("_"))
    label = " ".join(words)
    return ShownField(
        setting=setting,
        look=look,
        label=begun_large(label),
        info=_info(setting, look),
        at_once=setting.applies == "now",
    )


def to_widget(field: ShownField, value: Any) -> Any:
    """A setting's value as its widget holds it. A secret is never put into one."""
    match field.look:
        case "secret":
            return ""
        case "words":
            return "\n".join(value)
        case "text":
            return "" if value is None else str(value)
        case _:
            return value


def from_widget(field: ShownField, value: Any) -> Any:
    """What a widget holds as a value to be checked. An emptied field goes back to its default.

    Secrets are told apart by the caller: an empty one is no change, and CLEAR empties it.
    """
    match field.look:
        case "words":
            return [line.strip() for line in (value or "").splitlines() if line.strip()]
        case "number" | "slider":
            if value is None:
                return UNSET
            return int(value) if float(value).is_integer() else float(value)
        case "secret":
            return UNSET if value.strip() == CLEAR else value.strip()
        case "choices":
            return list(value or [])
        case "text":
            text = (value or "").strip()
            return text if text or field.setting.default == "" else UNSET
        case _:
            return value


def _look(setting: SettingField) -> Look:
    if setting.is_secret:
        return "secret"
    if setting.is_flag:
        return "switch"
    if setting.choices:
        return "choices" if setting.is_list else "choice"
    if setting.is_list:
        return "words"
    if setting.type in (int, float):
        span = (setting.maximum or 0) - (setting.minimum or 0)
        bounded = setting.minimum is not None and setting.maximum is not None
        whole = setting.type is int
        return "slider" if whole and bounded and span <= SLIDER_STEPS_MAX else "number"
    return "text"


def _info(setting: SettingField, look: Look) -> str:
    """The help line, bounds and default, and what a change of it takes."""
    told = [begun_large(setting.help)]
    if setting.minimum is not None and setting.maximum is not None:
        told.append(f"from {number_text(setting.minimum)} to {number_text(setting.maximum)}")
    elif setting.minimum is not None:
        told.append(f"at least {number_text(setting.minimum)}")
    if look == "words":
        told.append("one a line")
    if look == "secret":
        told.append(f"empty keeps it, a single {CLEAR} removes it")
    elif not isinstance(setting.default, bool) and setting.default not in (None, "", []):
        told.append(f"default {_default_text(setting.default)}")
    return "; ".join(told) + "."


def _default_text(default: Any) -> str:
    return ", ".join(default) if isinstance(default, list) else str(default)
