# SPDX-License-Identifier: AGPL-3.0-or-later
"""The documents describe what is served."""

from collections.abc import Iterator
from typing import Any

import httpx
from openapi_spec_validator import OpenAPIV31SpecValidator

from openhorde.server.api.openapi import openapi_document
from openhorde.server.api.operations import Operation
from openhorde.server.api.swagger import swagger_document
from openhorde.server.api.table import OPERATIONS

DOCUMENT = openapi_document(OPERATIONS)
SWAGGER = swagger_document(DOCUMENT)
SHOWN = [operation for operation in OPERATIONS if operation.tag]


def _described(operation: Operation) -> Any:
    return DOCUMENT["paths"][operation.path.replace(":path}", "}")][operation.method.lower()]


def _everything(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _everything(each)
    elif isinstance(value, list):
        for each in value:
            yield from _everything(each)


def test_openapi_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_operation_is_described() -> None:
    for operation in SHOWN:
        described = _described(operation)
        assert described["operationId"] == operation.name
        assert str(operation.status) in described["responses"]
        assert ("requestBody" in described) is (operation.body is not None)
        codes = {code for each in described["responses"].values() for code in each.get("x-rc", ())}
        assert codes >= set(operation.refusals)
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_pages_are_not_described() -> None:
    assert not {"/", "/register", "/api", "/blobs/{key}"} & set(DOCUMENT["paths"])


def test_bounds_and_nulls_of_bodies() -> None:
    params = DOCUMENT["components"]["schemas"]["ImageParams"]["properties"]
    number, nothing = params["width"]["anyOf"]
    assert nothing == {"type": "null"}
    assert (number["minimum"], number["maximum"], number["multipleOf"]) == (64, 3072, 64)
    assert params["width"]["default"] == 512
    assert DOCUMENT["components"]["schemas"]["ImageRequest"]["required"] == ["prompt"]


def test_queries_are_described() -> None:
    models = _described(next(each for each in SHOWN if each.name == "get_models"))
    shown = {each["name"]: each for each in models["parameters"]}
    assert shown["type"]["schema"]["enum"] == ["image", "text"]
    assert shown["min_count"]["schema"]["type"] == "integer"
    assert all(each["in"] == "query" and not each["required"] for each in shown.values())


def test_swagger_has_the_shape_of_2_0() -> None:
    assert (SWAGGER["swagger"], SWAGGER["basePath"]) == ("2.0", "/api")
    assert "/v2/generate/async" in SWAGGER["paths"]
    assert all(path.startswith("/") and "//" not in path for path in SWAGGER["paths"])
    for each in _everything(SWAGGER):
        assert not {"anyOf", "oneOf", "const", "content"} & set(each)
        reference = each.get("$ref")
        if reference is not None:
            assert reference.rpartition("/")[0] == "#/definitions"
            assert reference.rpartition("/")[2] in SWAGGER["definitions"]
    for methods in SWAGGER["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                assert ("schema" in parameter) is (parameter["in"] == "body")
                assert ("type" in parameter) is (parameter["in"] != "body")


def test_swagger_keeps_bounds() -> None:
    width = SWAGGER["definitions"]["ImageParams"]["properties"]["width"]
    assert width["type"] == "integer"
    assert (width["minimum"], width["maximum"], width["default"]) == (64, 3072, 512)
    assert width["x-nullable"] is True


async def test_documents_are_served(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/openapi.json")).json() == DOCUMENT
    assert (await http.get("/api/swagger.json")).json() == SWAGGER


def test_a_null_is_told_only_where_one_is_taken() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert "null" in str(schemas["ImageRequest"]["properties"]["webhook"])
    for operation in OPERATIONS:
        if operation.refuses_null:
            for name, schema in schemas[operation.body.__name__]["properties"].items():
                assert "null" not in str(schema), (operation.name, name)
