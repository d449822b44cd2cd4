# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that the wire allows, as values to try: read from its structs, so a new one is tried too.

`values` has each field's edges, `covering` rows in which every two values meet once.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

import msgspec
from msgspec import inspect

Row = dict[str, Any]


def values(struct: type[msgspec.Struct], own: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The values to try of each field, the cheap ones first. `own` has those of fields whose types
    do not say. Raises AssertionError, naming the field, for one that nothing is known of."""
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    return {
        field.name: list(own[field.name]) if field.name in own else _edges(field.name, field.type)
        for field in kind.fields
    }


def _edges(name: str, kind: inspect.Type) -> list[Any]:
    match kind:
        case inspect.Metadata():
            return _edges(name, kind.type)
        case inspect.UnionType():
            several = [one for part in kind.types for one in _edges(name, part)]
            return sorted(several, key=lambda one: one is not None)
        case inspect.LiteralType():
            return list(kind.values)
        case inspect.BoolType():
            return [False, True]
        case inspect.NoneType():
            return [None]
        case inspect.IntType(ge=int(low), le=int(high)):
            return [low, high]
        case inspect.FloatType(ge=float() | int() as low, le=float() | int() as high):
            return [float(low), float(high), round((low + high) / 3, 2)]
    raise AssertionError(f"say which values of {name} are to be tried: the wire does not ({kind})")


def covering(choices: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Rows in which every two values of different fields meet; greedily few, always the same."""
    names = list(choices)
    left = {
        ((one, first), (other, second))
        for one, other in combinations(names, 2)
        for first, second in product(range(len(choices[one])), range(len(choices[other])))
    }
    rows: list[Row] = []
    while left:
        row: dict[str, int] = dict(min(left))
        for name in names:
            if name not in row:
                row[name] = _most_new(name, len(choices[name]), row, names, left)
        left -= _pairs(row, names)
        rows.append({name: choices[name][row[name]] for name in names})
    return rows


def _most_new(name: str, count: int, row: dict[str, int], names: list[str], left: set[Any]) -> int:
    """The value by which the row meets most pairs that no row has met; the first of several."""
    return max(range(count), key=lambda at: len(_pairs(row | {name: at}, names) & left))


def _pairs(row: dict[str, int], names: list[str]) -> set[Any]:
    there = [(name, row[name]) for name in names if name in row]
    return set(combinations(there, 2))
