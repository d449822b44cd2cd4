# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for every call, seen with small operations of the test's own."""

from types import SimpleNamespace
from typing import Annotated, Any, cast

import asyncpg
import httpx
import pytest
from msgspec import Meta, Struct, field
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.operations import Answer, Call, Handler, Operation, Who, uuid_of
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.clock import SystemClock
from openhorde.server.settings import ServerSettings


class Part(Struct, kw_only=True):
    """A part of a body."""

    width: Annotated[int, Meta(ge=64, le=3072, multiple_of=64)] = 512
    name: Annotated[str, Meta(min_length=1, max_length=5)] | None = None


class Body(Struct, kw_only=True):
    """A body."""

    prompt: str
    part: Part = field(default_factory=Part)
    parts: list[Part] = field(default_factory=list)
    models: Annotated[list[str], Meta(max_length=2)] = field(default_factory=lambda: ["any"])
    scale: Annotated[float, Meta(ge=0, le=10)] = 1.0
    flag: bool = False


class Query(Struct, kw_only=True):
    """A query."""

    page: Annotated[int, Meta(ge=1)] = 1
    word: str | None = None


async def _echo(call: Call) -> object:
    return call.body if call.body is not None else call.query


async def _who(call: Call) -> object:
    return {"address": call.client_address, "agent": call.client_agent, "root": call.url_root}


async def _refuse(call: Call) -> object:
    raise Refusal("RequestNotFound", id="7")


async def _identify(call: Call) -> object:
    return str(uuid_of(call.path["id"], "RequestNotFound"))


async def _break(call: Call) -> object:
    raise RuntimeError("broken")


async def _overflow(call: Call) -> object:
    raise asyncpg.DataError("value out of range")


async def _stream(call: Call) -> object:
    return StreamingResponse(iter([b"one", b"two"]), media_type="text/event-stream")


async def _raw(call: Call) -> object:
    return Answer(call.body, 202, (("X-Own", "1"),), "application/octet-stream")


def _operation(path: str, handler: Handler, method: str = "GET", **more: Any) -> Operation:
    return Operation(
        name=f"{method}{path}",
        method=method,
        path=path,
        handler=handler,
        summary="",
        tag="",
        **more,
    )


OPERATIONS = (
    _operation("/api/echo", _echo, "POST", body=Body, body_bytes_max=2000),
    _operation("/api/costly", _echo, "POST", body=Body, refuses_null=True),
    _operation("/api/query", _echo, query=Query),
    _operation("/api/who", _who),
    _operation("/api/refuse", _refuse),
    _operation("/api/ids/{id}", _identify),
    _operation("/api/break", _break),
    _operation("/api/overflow", _overflow),
    _operation("/api/stream", _stream),
    _operation("/api/raw", _raw, "PUT", body=bytes),
    _operation("/api/key", _who, who=Who.USER),
)


@pytest.fixture
def http(calling: Any) -> httpx.AsyncClient:
    """A client of an application with only these operations and no database."""
    settings = ServerSettings(rate_limits=False, host="1.2.3.4", port=7001)
    horde = cast(Horde, SimpleNamespace(settings=settings, clock=SystemClock()))
    client: httpx.AsyncClient = calling(create_app(horde, operations=OPERATIONS))
    return client


async def test_every_answer_may_be_read_from_other_origins(http: httpx.AsyncClient) -> None:
    for method, path in (
        ("POST", "/api/echo"),
        ("OPTIONS", "/api/echo"),
        ("OPTIONS", "/nothing"),
        ("GET", "/nothing"),
        ("PATCH", "/api/echo"),
        ("GET", "/api/break"),
        ("GET", "/api/stream"),
        ("HEAD", "/api/who"),
    ):
        with capture_logs():
            answer = await http.request(method, path)
        headers = answer.headers
        assert headers["access-control-allow-origin"] == "*", (method, path)
        for name in ("apikey", "Client-Agent", "X-Fields", "Content-Type", "Openhorde-Extras"):
            assert name in headers["access-control-allow-headers"]
        for name in ("POST", "GET", "OPTIONS", "PUT", "DELETE", "PATCH"):
            assert name in headers["access-control-allow-methods"]
        # Neither the address nor the port that it listens on is told.
        assert headers["horde-node"].startswith("openhorde:0:")
        assert headers["x-content-type-options"] == "nosniff"
        assert path == "/api/stream" or headers["cache-control"] == "no-store"


async def test_preflight_succeeds(http: httpx.AsyncClient) -> None:
    answer = await http.options("/api/echo")
    assert (answer.status_code, answer.headers["allow"]) == (200, "OPTIONS, POST")


async def test_json_says_its_encoding(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/echo", json={"prompt": "ä"})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["prompt"] == "ä"


async def test_head_is_get_without_a_body(http: httpx.AsyncClient) -> None:
    head, get = await http.head("/api/who"), await http.get("/api/who")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_a_slash_at_the_end_changes_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/echo/", json={"prompt": "x"})
    assert answer.status_code == 200


async def test_slashes_too_many_change_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post("http://horde.test//api//echo", json={"prompt": "x"})
    assert answer.status_code == 200


async def test_what_is_not_there_is_json(http: httpx.AsyncClient) -> None:
    nowhere, wrong = await http.get("/api/nothing"), await http.delete("/api/echo")
    assert nowhere.status_code == 404
    assert "nothing" in nowhere.json()["message"]
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "OPTIONS, POST"
    assert "DELETE" in wrong.json()["message"]


async def test_refusals_have_message_and_code(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/refuse")
    assert answer.status_code == 404
    assert answer.json()["rc"] == "RequestNotFound"
    assert "7" in answer.json()["message"]


async def test_what_is_no_id_names_nothing(http: httpx.AsyncClient) -> None:
    for path in ("/api/ids/abc", "/api/ids/%00", "/api/ids/12345678-1234"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["rc"]) == (404, "RequestNotFound")


async def test_mistakes_of_ours_are_logged_and_not_shown(http: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await http.get("/api/break")
    assert answer.status_code == 500
    assert answer.json() == {"message": "Internal Server Error"}
    assert [(entry["event"], entry["path"]) for entry in logs] == [("call_failed", "/api/break")]
    assert isinstance(logs[0]["exc_info"], RuntimeError)


async def test_values_that_no_column_holds_are_refused(http: httpx.AsyncClient) -> None:
    with capture_logs():
        answer = await http.get("/api/overflow")
    assert (answer.status_code, answer.json()["rc"]) == (400, "BadRequest")


async def test_streams_and_raw_answers(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/stream")).content == b"onetwo"
    answer = await http.put("/api/raw", content=b"\x00\xff")
    assert (answer.status_code, answer.content) == (202, b"\x00\xff")
    assert answer.headers["x-own"] == "1"


async def test_a_missing_key_is_a_missing_field(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/key")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["apikey"]
    assert "rc" not in answer.json()


class TestBodies:
    """What is sent."""

    async def _errors(self, http: httpx.AsyncClient, body: Any) -> dict[str, str]:
        if isinstance(body, bytes):
            answer = await http.post("/api/echo", content=body)
        else:
            answer = await http.post("/api/echo", json=body)
        assert answer.status_code == 400, answer.text
        shown = answer.json()
        assert shown["message"] == "Input payload validation failed"
        assert "rc" not in shown
        errors: dict[str, str] = shown["errors"]
        return errors

    @pytest.mark.parametrize(
        ("body", "field", "words"),
        [
            ({}, "prompt", ["missing", "text"]),
            ({"prompt": 5}, "prompt", ["text", "not 5"]),
            ({"prompt": "x", "part": {"width": 63}}, "part.width", ["64", "3072", "not 63"]),
            ({"prompt": "x", "part": {"width": 65}}, "part.width", ["multiple of 64"]),
            ({"prompt": "x", "part": {"width": "64"}}, "part.width", ["whole number"]),
            ({"prompt": "x", "part": {"name": ""}}, "part.name", ["1 to 5 characters"]),
            ({"prompt": "x", "part": []}, "part", ["object"]),
            ({"prompt": "x", "parts": [{}, {"width": 1}]}, "parts.1.width", ["64"]),
            (
                {"prompt": "x", "models": ["a", "b", "c"]},
                "models",
                ["2 entries", "not a list of 3"],
            ),
            ({"prompt": "x", "scale": 11}, "scale", ["0 to 10", "not 11"]),
            ({"prompt": "x", "flag": "yes"}, "flag", ["true or false"]),
            ([], "body", ["object"]),
        ],
    )
    async def test_errors_name_field_and_bound(
        self, http: httpx.AsyncClient, body: Any, field: str, words: list[str]
    ) -> None:
        errors = await self._errors(http, body)
        assert list(errors) == [field]
        for word in words:
            assert word in errors[field]

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b'{"prompt": NaN}',
            b'{"prompt": "\xff"}',
            b'{"prompt": "x", "more": ' + b"[" * 900 + b"1" + b"]" * 900 + b", }",
            b'{"prompt": "x", "scale": 1e999}',
            b'{"prompt": "x", "part": {"width": ' + b"9" * 1000 + b"}}",
            b'{"prompt": "x", "unknown": ' + b"9" * 1000 + b", }",
        ],
    )
    async def test_what_cannot_be_read_is_refused(
        self, http: httpx.AsyncClient, body: bytes
    ) -> None:
        assert await self._errors(http, body)

    async def test_deep_nesting_is_refused(self, http: httpx.AsyncClient) -> None:
        for inner in (b"[" * 900, b'{"a":' * 380):
            assert await self._errors(http, b'{"prompt": ' + inner)

    async def test_null_counts_as_absent(self, http: httpx.AsyncClient) -> None:
        body = {"prompt": "x", "part": {"width": None, "name": None}, "models": None, "flag": None}
        answer = await http.post("/api/echo", json=body)
        assert answer.status_code == 200
        assert answer.json()["models"] == ["any"]
        assert answer.json()["part"] == {"width": 512, "name": None}

    async def test_null_is_refused_where_it_may_cost_something(
        self, http: httpx.AsyncClient
    ) -> None:
        answer = await http.post("/api/costly", json={"prompt": "x", "flag": None, "scale": None})
        assert answer.status_code == 400
        assert sorted(answer.json()["errors"]) == ["flag", "scale"]
        for body in ({"prompt": "null"}, {"prompt": "x", "unknown": None}):
            assert (await http.post("/api/costly", json=body)).status_code == 200

    async def test_null_does_not_fill_what_is_required(self, http: httpx.AsyncClient) -> None:
        assert "missing" in (await self._errors(http, {"prompt": None}))["prompt"]

    async def test_a_repeated_key_is_read_once(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/api/echo", content=b'{"prompt": "a", "prompt": "b"}')
        assert answer.json()["prompt"] == "b"

    async def test_unknown_fields_are_ignored(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/api/echo?x=1", json={"prompt": "x", "use_gfpgan": True})
        assert answer.status_code == 200

    async def test_field_masks_are_tolerated(self, http: httpx.AsyncClient) -> None:
        headers = {"X-Fields": "{prompt}"}
        answer = await http.post("/api/echo", json={"prompt": "x"}, headers=headers)
        assert answer.json()["prompt"] == "x"

    @pytest.mark.parametrize(
        "body",
        [{"prompt": "a\0b"}, {"prompt": "x", "part": {"name": "\0"}}, {"prompt": "x", "\0": 1}],
    )
    async def test_nul_is_refused(self, http: httpx.AsyncClient, body: dict[str, Any]) -> None:
        answer = await http.post("/api/echo", json=body)
        assert (answer.status_code, answer.json()["rc"]) == (400, "NulByteInPayload")

    async def test_a_backslash_before_u0000_is_no_nul(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/api/echo", content=b'{"prompt": "\\\\u0000"}')
        assert answer.json()["prompt"] == "\\u0000"

    async def test_too_much_is_refused(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/api/echo", json={"prompt": "x" * 2000})
        assert answer.status_code == 413
        assert "2000 bytes" in answer.json()["message"]

    async def test_too_much_in_pieces_is_refused(self, http: httpx.AsyncClient) -> None:
        async def pieces() -> Any:
            for _ in range(30):
                yield b" " * 100

        answer = await http.post("/api/echo", content=pieces())
        assert answer.status_code == 413

    async def test_absurd_lengths_are_refused(self, http: httpx.AsyncClient) -> None:
        headers = {"Content-Length": "9" * 5000}
        answer = await http.post("/api/echo", content=b"{}", headers=headers)
        assert answer.status_code == 413


class TestQueries:
    """What stands behind the question mark."""

    async def test_read(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/api/query?page=2&word=a%20b&other=1")
        assert answer.json() == {"page": 2, "word": "a b"}

    async def test_empty_counts_as_absent(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/api/query?page=&word=")).json() == {"page": 1, "word": None}

    @pytest.mark.parametrize("page", ["0", "x", "1.5", "-1", "true"])
    async def test_errors_name_the_field(self, http: httpx.AsyncClient, page: str) -> None:
        answer = await http.get(f"/api/query?page={page}")
        assert answer.status_code == 400
        assert "whole number of at least 1" in answer.json()["errors"]["page"]

    @pytest.mark.parametrize("query", ["word=%00", "word=%ff", "&".join("a=1" for _ in range(200))])
    async def test_nonsense_is_refused(self, http: httpx.AsyncClient, query: str) -> None:
        assert (await http.get(f"/api/query?{query}")).status_code == 400


async def test_a_public_url_is_told_and_may_be_kept(calling: Any) -> None:
    settings = ServerSettings(rate_limits=False, public_url="https://horde.example/")
    horde = cast(Horde, SimpleNamespace(settings=settings, clock=SystemClock()))
    app = create_app(horde, operations=OPERATIONS)
    async with calling(app, "9.9.9.9") as stranger:
        answer = await stranger.get("/api/who", headers={"X-Forwarded-For": "1.1.1.1"})
    assert answer.json() == {
        "address": "9.9.9.9",
        "root": "https://horde.example",
        "agent": "unknown:0:unknown",
    }
    assert "cache-control" not in answer.headers
    assert answer.headers["horde-node"].startswith("horde.example:443:")


async def test_people_get_a_page_where_nothing_is(http: httpx.AsyncClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = await http.get("/no<such>page", headers=browser)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "/no&lt;such&gt;page" in answer.text
    for path, headers in (("/api/v2/nosuch", browser), ("/nosuch", {"Accept": "*/*"})):
        answer = await http.get(path, headers=headers)
        assert (answer.status_code, list(answer.json())) == (404, ["message"])
