# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever comes from outside has a bound, which its refusal names."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from openhorde.server.api.bodies import VALUES_MAX, BodyReader, read_query
from openhorde.server.api.operations import BODY_BYTES_MAX_POP, Invalid, Operation
from openhorde.server.api.table import OPERATIONS
from openhorde.wire.text import TextPop
from openhorde.wire.work import ImagePop

JUDGED_BY_SIZE = {
    "ImageParams.special",
    "AskedForm.payload",
    "FormSubmit.result",
    "TextRequest.extra_source_images[]",
}
"""Objects of any content: rules bound the bytes of three, and refuse the fourth."""

TAKING = [each for each in OPERATIONS if each.body not in (None, bytes) or each.query is not None]


def places(kind: inspect.Type, path: str) -> Iterator[tuple[str, inspect.Type]]:
    """All types within a type, with their paths."""
    match kind:
        case inspect.Metadata():
            yield from places(kind.type, path)
        case inspect.UnionType():
            for each in kind.types:
                yield from places(each, path)
        case inspect.StructType():
            for field in kind.fields:
                yield from places(field.type, f"{kind.cls.__name__}.{field.name}")
        case inspect.ListType():
            yield path, kind
            yield from places(kind.item_type, f"{path}[]")
        case inspect.DictType():
            yield path, kind
            yield from places(kind.key_type, f"{path}{{}}")
            if path not in JUDGED_BY_SIZE:
                yield from places(kind.value_type, f"{path}{{}}")
        case _:
            yield path, kind


def is_bounded(kind: inspect.Type) -> bool:
    """Whether nothing of this type is larger than somebody has thought of."""
    match kind:
        case inspect.StrType() | inspect.ListType() | inspect.DictType():
            return kind.max_length is not None
        case inspect.IntType() | inspect.FloatType():
            low, high = (kind.ge, kind.gt), (kind.le, kind.lt)
            return low != (None, None) and high != (None, None)
        case inspect.BoolType() | inspect.NoneType() | inspect.LiteralType() | inspect.DateType():
            return True
    return False


@pytest.mark.parametrize("operation", TAKING, ids=lambda operation: operation.name)
def test_everything_that_an_operation_takes_has_a_bound(operation: Operation) -> None:
    taken = [kind for kind in (operation.body, operation.query) if kind not in (None, bytes)]
    found = [
        (path, inner)
        for kind in taken
        for path, inner in places(inspect.type_info(kind), operation.name)
    ]
    assert found
    assert [path for path, inner in found if not is_bounded(inner)] == []


def longest(kind: inspect.Type) -> list[Any]:
    """Values one beyond the upper bound of a type, where it is small enough to be made."""
    match kind:
        case inspect.Metadata():
            return longest(kind.type)
        case inspect.UnionType():
            return [value for each in kind.types for value in longest(each)]
        case inspect.StrType() if kind.max_length is not None and not kind.pattern:
            return ["x" * (kind.max_length + 1)]
        case inspect.ListType() if kind.max_length is not None:
            return [[fitting(kind.item_type)] * (kind.max_length + 1)]
        case inspect.IntType() if kind.le is not None and kind.le < 2**63 - 1:
            return [kind.le + 1]
        case inspect.FloatType() if kind.le is not None:
            return [kind.le + 1]
    return []


def fitting(kind: inspect.Type) -> Any:
    """A value that fits a type."""
    match kind:
        case inspect.Metadata():
            return fitting(kind.type)
        case inspect.StrType():
            return "x" * max(3, kind.min_length or 0)
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.UnionType():
            return fitting(kind.types[0])
        case inspect.StructType():
            return {
                field.encode_name: fitting(field.type) for field in kind.fields if field.required
            }
        case inspect.ListType():
            return [fitting(kind.item_type)] * (kind.min_length or 0)
        case inspect.DictType():
            return {}
    return 1


def beyond(kind: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Bodies of a struct in which one field is beyond its bound, and its name."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        for value in longest(field.type):
            yield field.encode_name, {**fitting(info), field.encode_name: value}


@pytest.mark.parametrize(
    "operation", [each for each in TAKING if each.body], ids=lambda operation: operation.name
)
def test_a_refusal_names_the_field_and_its_bound(operation: Operation) -> None:
    reader = BodyReader(operation.body)
    for field, body in beyond(operation.body):
        with pytest.raises(Invalid) as refused:
            reader.read(msgspec.json.encode(body))
        (named, sentence), *others = refused.value.errors.items()
        assert (named, others) == (field, [])
        assert any(character.isdigit() for character in sentence), sentence


@pytest.mark.parametrize(
    "operation", [each for each in TAKING if each.query], ids=lambda operation: operation.name
)
def test_a_query_beyond_its_bounds_is_refused(operation: Operation) -> None:
    assert operation.query is not None
    for field, value in beyond(operation.query):
        with pytest.raises(Invalid) as refused:
            read_query(operation.query, f"{field}={value[field]}")
        assert list(refused.value.errors) == [field]


@pytest.mark.parametrize("kind", [ImagePop, TextPop])
def test_workers_with_very_much_on_offer_fit(kind: type) -> None:
    """All models of the public reference, and a long blacklist."""
    body = {
        "name": "A worker",
        "models": [f"Some quite long name of a model, number {number}" for number in range(900)],
        "blacklist": [f"a word {number}" for number in range(2_000)],
        "priority_usernames": [f"somebody#{number}" for number in range(500)],
    }
    raw = msgspec.json.encode(body)
    assert len(raw) < BODY_BYTES_MAX_POP
    assert sum(map(len, body.values())) < VALUES_MAX
    assert BodyReader(kind).read(raw).name == "A worker"
