# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings as fields: what a form, a flag or a variable needs to know of each, and how it is read.

A field is described by the type, bounds and help line of a struct. Its `Meta.extra` may hold
`flags` (short ones), `applies` ("now" when a running program heeds a change), `secret` (never to be
shown) and `words` (what it takes, where the bounds do not say it).
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

NOW = {"applies": "now"}
"""Marks what a running program heeds at once; all else needs a restart."""


class SettingsError(ValueError):
    """A setting is unknown, of the wrong type or out of bounds; the message names it."""


class SettingField(Struct, kw_only=True, frozen=True):
    """One setting as a form or a command line shows it.

    `choices` are what its value must be one of; for a list, what each entry must be one of.
    `applies` tells whether a running worker heeds a change at once.
    """

    name: str
    type: Any
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    length_min: int | None = None
    length_max: int | None = None
    choices: tuple[str, ...] = ()
    is_list: bool = False
    is_flag: bool = False
    flags: tuple[str, ...] = ()
    applies: Literal["now", "restart"] = "restart"
    is_secret: bool = False
    is_path: bool = False
    words: str = ""
    hint: Any = None
    environment_prefix: str = ""

    @property
    def environment(self) -> str:
        """The name of its environment variable."""
        return self.environment_prefix + self.name.upper()

    def read(self, value: Any) -> Any:
        """The value in this field's type, from text too. Raises SettingsError."""
        given = value
        if isinstance(value, str):
            if self.is_list:
                value = _entries([value])
            elif self.is_flag:
                value = _truth(self.name, value)
        elif isinstance(value, list) and self.choices:
            value = _entries([str(entry) for entry in value])
        if self.is_path:
            return None if value is None or value == "" else Path(value).expanduser()
        try:
            return msgspec.convert(value, self.hint, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{self.name}: {given!r} is not allowed: {self.allowed}") from error

    @property
    def allowed(self) -> str:
        """What the field takes, in words."""
        if self.words:
            return f"it must {self.words}"
        if self.choices:
            many = "list one or more of " if self.is_list else "be one of "
            return f"it must {many}" + ", ".join(self.choices)
        if self.is_list:
            return "it must be a list of words of 3 to 255 characters"
        if self.minimum is not None:
            kind = "a whole number" if self.type is int else "a number"
            return f"it must be {kind} from {self.minimum:.10g} to {self.maximum:.10g}"
        if self.length_max is not None:
            return f"it must have {self.length_min or 0} to {self.length_max} characters"
        return f"it must be {'true or false' if self.is_flag else 'text'}"


def described_fields(struct: type[Struct], environment_prefix: str) -> list[SettingField]:
    """Every field with its plain type, default, bounds, help line and flags (long one first)."""
    hints = get_type_hints(struct, include_extras=True)
    return [
        _described(one, hints[one.name], environment_prefix)
        for one in msgspec.structs.fields(struct)
    ]


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The setting that somebody may have meant: the first with these words, else the most alike."""
    words = set(name.split("_"))
    names = list(known)
    with_words = (one for one in names if words.issubset(one.split("_")))
    return next(with_words, difflib.get_close_matches(name, names, n=1, cutoff=0)[0])


def _described(one: Any, hint: Any, environment_prefix: str) -> SettingField:
    plain, meta = get_args(hint)[:2]
    is_list = get_origin(plain) is list
    entry = get_args(plain)[0] if is_list else plain
    extra = meta.extra or {}
    return SettingField(
        name=one.name,
        type=list[str] if is_list else plain,
        default=one.default_factory() if is_list else one.default,
        help=meta.description,
        minimum=meta.ge,
        maximum=meta.le,
        length_min=meta.min_length,
        length_max=meta.max_length,
        choices=get_args(entry) if get_origin(entry) is Literal else (),
        is_list=is_list,
        is_flag=plain is bool,
        flags=(f"--{one.name}", *extra.get("flags", ())),
        applies=extra.get("applies", "restart"),
        is_secret=extra.get("secret", False),
        is_path=_is_path(plain),
        words=extra.get("words", ""),
        hint=hint,
        environment_prefix=environment_prefix,
    )


def _is_path(plain: Any) -> bool:
    """Whether it is a path, or a path or nothing."""
    if get_origin(plain) in (UnionType, Union):
        return Path in get_args(plain)
    return plain is Path


def _entries(texts: list[str]) -> list[str]:
    """The entries of a list, several of which may be in one text, with commas between."""
    return [entry.strip() for text in texts for entry in text.split(",") if entry.strip()]


def _truth(name: str, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise SettingsError(f"{name}: {text!r} is not allowed: it must be true or false")
