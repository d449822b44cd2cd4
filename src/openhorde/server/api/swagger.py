# SPDX-License-Identifier: AGPL-3.0-or-later
"""The same document as Swagger 2.0, which generators of older clients read."""

from typing import Any

from openhorde.server.api.openapi import Document

_PRODUCED = ["application/json"]
_KEPT = frozenset(
    {
        "description",
        "default",
        "enum",
        "format",
        "maximum",
        "maxItems",
        "maxLength",
        "minimum",
        "minItems",
        "minLength",
        "multipleOf",
        "pattern",
        "required",
        "title",
        "type",
    }
)


def swagger_document(openapi: Document) -> Document:
    """Turn an OpenAPI 3.1 document into Swagger 2.0. Paths lose the base path /api."""
    described = dict(openapi["info"])
    described["license"] = {"name": described["license"]["name"]}
    components = openapi["components"]["schemas"]
    prefix = openapi["servers"][0]["url"].rstrip("/")
    return {
        "swagger": "2.0",
        "info": described,
        "basePath": f"{prefix}/api",
        "consumes": ["application/json"],
        "produces": _PRODUCED,
        "tags": openapi["tags"],
        "securityDefinitions": openapi["components"]["securitySchemes"],
        "paths": {
            path.removeprefix("/api"): {
                method: _operation(operation) for method, operation in methods.items()
            }
            for path, methods in openapi["paths"].items()
        },
        "definitions": {name: _schema(each) for name, each in components.items()},
    }


def _operation(operation: Document) -> Document:
    kept = ("operationId", "summary", "description", "tags", "security")
    converted = {key: operation[key] for key in kept if key in operation}
    parameters = [_parameter(each) for each in operation["parameters"]]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parameters.append(
            {"name": "payload", "in": "body", "required": True, "schema": _schema(schema)}
        )
    converted["parameters"] = parameters
    produced = list(operation["responses"].get("200", {}).get("content", ()))
    if produced and produced != _PRODUCED:
        converted["produces"] = produced
    converted["responses"] = {
        status: _response(each) for status, each in operation["responses"].items()
    }
    return converted


def _parameter(parameter: Document) -> Document:
    """Before 3.0 the schema of such a parameter is written into the parameter itself."""
    converted = {key: parameter[key] for key in ("name", "in", "required")}
    converted.update(_schema(parameter["schema"]))
    converted.setdefault("type", "string")
    return converted


def _response(response: Document) -> Document:
    converted: Document = {"description": response["description"]}
    content = response.get("content", {}).get("application/json")
    if content:
        converted["schema"] = _schema(content["schema"])
    return converted


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/components/schemas/", "#/definitions/")}
    kinds = schema.get("anyOf")
    if kinds is not None:
        return _of_kinds(schema, kinds)
    converted = {key: value for key, value in schema.items() if key in _KEPT}
    for bound, key in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in schema:
            converted.update({key: schema[bound], bound: True})
    if "properties" in schema:
        converted["properties"] = {
            name: _schema(each) for name, each in schema["properties"].items()
        }
    if "items" in schema:
        converted["items"] = _schema(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        converted["additionalProperties"] = _schema(schema["additionalProperties"])
    if "enum" in converted:
        converted["enum"] = [each for each in converted["enum"] if each is not None]
        converted.setdefault("type", "string")
    return converted


def _of_kinds(schema: Document, kinds: list[Document]) -> Document:
    """Swagger 2.0 has neither choices nor null: the first kind stands for all, null is a note."""
    others = [each for each in kinds if each != {"type": "null"}]
    converted: Document = dict(_schema(others[0]))
    if "$ref" in converted:
        return converted
    converted.update({key: schema[key] for key in ("default", "description") if key in schema})
    if len(others) < len(kinds):
        converted["x-nullable"] = True
    if converted.get("default", "") is None:
        del converted["default"]
    return converted
