# SPDX-License-Identifier: AGPL-3.0-or-later
"""The OpenAPI 3.1 document of a table of operations."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from openhorde import __version__
from openhorde.server.api.operations import Operation, Who
from openhorde.server.api.words import WORDS, status_of
from openhorde.wire.errors import Error

Document = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_REASONS = {
    400: "What was sent does not fit",
    401: "Nobody has this key",
    403: "Not allowed",
    404: "Not found",
    410: "Gone",
    413: "The body is too large",
    423: "In use",
    429: "Too many calls or jobs",
    503: "No room, or not now",
    500: "A mistake of ours",
}
_ABOUT = (
    "A horde of volunteers' machines that make pictures for everybody. Send your key in the header"
    " `apikey`; `0000000000` is anonymous. Unknown fields are ignored and an explicit null counts"
    " as absent, except where kudos move or an account changes. Every refusal is JSON with a"
    " `message`; where it has one, `rc` says the reason to programs, and `errors` names the fields"
    " that do not fit."
)


def openapi_document(operations: Iterable[Operation], prefix: str = "") -> Document:
    """Describe the operations that have a tag, as they are found below the path `prefix`."""
    shown = [operation for operation in operations if operation.tag]
    schemas = _Schemas(shown)
    paths: dict[str, dict[str, Document]] = {}
    for operation in shown:
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, schemas)
    tags = dict.fromkeys(operation.tag for operation in shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openhorde",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "servers": [{"url": prefix or "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "apikey": {"type": "apiKey", "in": "header", "name": "apikey"},
            },
        },
    }


class _Schemas:
    """JSON schemas of all types that operations speak."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        bodies = _unique(each.body for each in operations)
        answers = _unique(
            [Error]
            + [each.answer for each in operations]
            + [kind for each in operations for kind in each.answers.values()]
        )
        kinds = bodies + answers
        schemas, self.components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
        self._by_kind = list(zip(kinds, schemas, strict=True))
        takes_nulls = [each.body for each in operations if not each.refuses_null]
        for kind, schema in zip(bodies, schemas, strict=False):
            if kind in takes_nulls:
                self._allow_nulls(schema, set())
            else:
                self._forbid_nulls(schema)

    def of(self, kind: Any) -> Document:
        """The schema of a type."""
        return next(schema for each, schema in self._by_kind if each == kind)

    def _forbid_nulls(self, schema: Document) -> None:
        """Where a null is refused, a field may only be absent."""
        properties = self.components[schema["$ref"].rpartition("/")[2]]["properties"]
        for field, each in properties.items():
            properties[field] = _without_null(each)

    def _allow_nulls(self, schema: Any, seen: set[str]) -> None:
        """In what is sent, a field that may be absent may be null."""
        if isinstance(schema, list):
            for each in schema:
                self._allow_nulls(each, seen)
        if not isinstance(schema, dict):
            return
        name = schema.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            self._allow_nulls(self.components[name], seen)
        for key in ("anyOf", "items", "additionalProperties"):
            self._allow_nulls(schema.get(key), seen)
        required = schema.get("required", ())
        for field, each in schema.get("properties", {}).items():
            self._allow_nulls(each, seen)
            if field not in required:
                schema["properties"][field] = _or_null(each)


def _or_null(schema: Document) -> Document:
    if {"type": "null"} in schema.get("anyOf", ()) or schema == {}:
        return schema
    notes: Document = {key: schema[key] for key in ("default", "description") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in notes}
    return {"anyOf": [rest, {"type": "null"}], **notes}


def _unique(kinds: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for kind in kinds:
        if kind is not None and kind is not bytes and kind not in found:
            found.append(kind)
    return found


def _describe(operation: Operation, schemas: _Schemas) -> Document:
    described: Document = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Who may: {operation.who.value}.{_limits(operation)}",
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas.of(operation.body)}},
        }
    if operation.who is Who.OPTIONAL:
        described["security"] = [{}, {"apikey": []}]
    elif operation.who is not Who.ANYONE:
        described["security"] = [{"apikey": []}]
    return described


def _limits(operation: Operation) -> str:
    if not operation.limits:
        return ""
    parts = []
    for limit in operation.limits:
        anonymous = f" ({limit.rate_anonymous} anonymously)" if limit.rate_anonymous else ""
        parts.append(f"{limit.rate}{anonymous} by {limit.bucket.value}")
    return f" At most {', '.join(parts)}."


def _path_parameters(path: str) -> Iterable[Document]:
    for segment in path.split("/"):
        if segment.startswith("{"):
            name = segment.strip("{}").removesuffix(":path")
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
            }


def _query_parameters(query: type | None) -> Iterable[Document]:
    if query is None:
        return
    _, components = msgspec.json.schema_components([query])
    schema = components[query.__name__]
    for name, each in schema["properties"].items():
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _without_null(each),
        }


def _without_null(schema: Document) -> Document:
    """A query cannot hold a null: such a field is just not there."""
    kinds: list[Document] = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1:
        return kinds[0]
    enum = [each for each in schema.get("enum", ()) if each is not None]
    return {**schema, "enum": enum} if enum else schema


def _responses(operation: Operation, schemas: _Schemas) -> Document:
    responses: Document = {}
    for status, kind in {operation.status: operation.answer, **operation.answers}.items():
        responses[str(status)] = {"description": "Success"}
        if kind is not None:
            content = {operation.media_type: {"schema": schemas.of(kind)}}
            responses[str(status)]["content"] = content
    error = {"application/json": {"schema": schemas.of(Error)}}
    for status, codes in sorted(_refusals(operation).items()):
        responses[str(status)] = {
            "description": ". ".join([_REASONS[status], *(_sentence(code) for code in codes)]),
            "content": error,
            "x-rc": codes,
        }
    return responses


def _refusals(operation: Operation) -> dict[int, list[str]]:
    """The statuses that an operation may refuse with, and their codes."""
    found: dict[int, list[str]] = {400: [], 500: []}
    if operation.body is not None:
        found[413] = []
    if operation.limits:
        found[429] = []
    codes = list(operation.refusals)
    if operation.who is not Who.ANYONE and "InvalidAPIKey" not in codes:
        codes.append("InvalidAPIKey")
    if operation.who is Who.MODERATOR and "NotModerator" not in codes:
        codes.append("NotModerator")
    for code in codes:
        found.setdefault(status_of(code), []).append(code)
    return found


def _sentence(code: str) -> str:
    template = WORDS[code][1] if code in WORDS else ""
    for mark in "[]{}":
        template = template.replace(mark, "")
    return f"{code}: {template}"
