# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a declared type allows, in plain words: for refusals and for the documents."""

import re
from typing import Any

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]")
_SHOWN_CHARACTERS = 60


def bare(kind: inspect.Type) -> inspect.Type:
    """The type without its notes, and without the null that only means "absent"."""
    while True:
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            others = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
            if len(others) != 1:
                return kind
            kind = others[0]
        else:
            return kind


def allowed(kind: inspect.Type) -> str:
    """Say what a value of this type may be, with all its bounds."""
    kind = bare(kind)
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{_bounds(kind)}"
        case inspect.FloatType():
            return f"a number{_bounds(kind)}"
        case inspect.StrType():
            text = f"text{_length(kind.min_length, kind.max_length, 'character')}"
            return f"{text} of the form {kind.pattern}" if kind.pattern else text
        case inspect.LiteralType():
            return "one of " + ", ".join(str(value) for value in kind.values)
        case inspect.ListType():
            return f"a list{_length(kind.min_length, kind.max_length, 'entry')}"
        case inspect.StructType() | inspect.DictType():
            return "an object"
        case inspect.UnionType():
            return " or ".join(allowed(each) for each in kind.types)
    return "a value"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low, high = kind.ge, kind.le
    words = ""
    if low is not None and high is not None:
        words = f" from {low} to {high}"
    elif low is not None:
        words = f" of at least {low}"
    elif high is not None:
        words = f" of at most {high}"
    if kind.gt is not None:
        words += f" above {kind.gt}"
    if kind.lt is not None:
        words += f" below {kind.lt}"
    if kind.multiple_of is not None:
        words += f" and a multiple of {kind.multiple_of}"
    return words


def _length(low: int | None, high: int | None, unit: str) -> str:
    units = unit.removesuffix("y") + "ies" if unit.endswith("y") else unit + "s"
    if low and high is not None:
        return f" of {low} to {high} {units}"
    if low:
        return f" of at least {low} {unit if low == 1 else units}"
    if high is not None:
        return f" of at most {high} {units}"
    return ""


def explain(error: msgspec.ValidationError, kind: type, value: Any) -> dict[str, str]:
    """Turn msgspec's complaint about a value into field and sentence.

    The field is its dotted path (`params.loras.0.name`), "body" for the whole.
    """
    message, _, place = str(error).partition(" - at `$")
    steps = [name or index for name, index in _STEP.findall(place)]
    missing = message.partition("missing required field `")[2].rstrip("`")
    if missing:
        steps.append(missing)
    field = ".".join(steps) or "body"
    found = _type_at(inspect.type_info(kind), steps)
    if found is None:
        return {field: message}
    if missing:
        return {field: f"is missing; it must be {allowed(found)}"}
    return {field: f"must be {allowed(found)}{_instead(value, steps)}"}


def _type_at(kind: inspect.Type, steps: list[str]) -> inspect.Type | None:
    for step in steps:
        kind = bare(kind)
        if isinstance(kind, inspect.StructType):
            fields = {field.encode_name: field.type for field in kind.fields}
            if step not in fields:
                return None
            kind = fields[step]
        elif isinstance(kind, inspect.ListType):
            kind = kind.item_type
        else:
            return None
    return kind


def _instead(value: Any, steps: list[str]) -> str:
    """What was sent instead, where it can be shown."""
    try:
        for step in steps:
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (KeyError, IndexError, TypeError, ValueError):
        return ""
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f", not {len(value)} characters"
    if isinstance(value, list):
        return f", not a list of {len(value)}"
    if isinstance(value, dict):
        return ", not an object"
    return f", not {msgspec.json.encode(value).decode()}"
