# SPDX-License-Identifier: AGPL-3.0-or-later
"""The documents of the API, made from its table, and the page to read and try it."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from openhorde.server.api.openapi import openapi_document
from openhorde.server.api.operations import Answer, Call, Handler, Operation
from openhorde.server.api.pages.layout import page
from openhorde.server.api.swagger import swagger_document

PREFIXES_MAX = 8
"""The documents say under which path the API is: so many of them are kept."""


def document_operations(declared: Iterable[Operation]) -> tuple[Operation, ...]:
    """The operations that serve the documents of the declared ones."""
    described = tuple(declared)

    @lru_cache(maxsize=PREFIXES_MAX)
    def openapi(prefix: str) -> bytes:
        return msgspec.json.encode(openapi_document(described, prefix))

    @lru_cache(maxsize=PREFIXES_MAX)
    def swagger(prefix: str) -> bytes:
        return msgspec.json.encode(swagger_document(openapi_document(described, prefix)))

    return (
        Operation(
            name="api_page",
            method="GET",
            path="/api",
            handler=_get_page,
            summary="The API, to read and to try",
            tag="",
        ),
        Operation(
            name="openapi",
            method="GET",
            path="/api/openapi.json",
            handler=_document(openapi),
            summary="The API as OpenAPI 3.1",
            tag="",
        ),
        Operation(
            name="swagger",
            method="GET",
            path="/api/swagger.json",
            handler=_document(swagger),
            summary="The API as Swagger 2.0",
            tag="",
        ),
    )


async def _get_page(call: Call) -> Answer:
    return page("api", "The API", prefix=call.prefix)


def _document(encoded: Callable[[str], bytes]) -> Handler:
    async def get_document(call: Call) -> Answer:
        return Answer(encoded(call.prefix))

    return get_document
