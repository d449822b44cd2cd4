# SPDX-License-Identifier: AGPL-3.0-or-later
"""A text server that answers what a test tells it, and remembers what it was asked."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

Route = tuple[str, str]


def completion(*pieces: str, reason: str = "stop") -> list[str]:
    """The lines of a streamed completion."""
    events = [{"choices": [{"text": piece, "finish_reason": None}]} for piece in pieces]
    events.append({"choices": [{"text": "", "finish_reason": reason}]})
    lines = [line for event in events for line in (f"data: {json.dumps(event)}", "")]
    return [*lines, "data: [DONE]", ""]


class Scripted:
    """`answers` by method and path: JSON, lines to stream, a Response, or what makes one of a body.

    After the lines of a stream it ends, or `hangs`, or `breaks_off`; `hung_up` is set when the
    client goes first.
    """

    def __init__(self, answers: dict[Route, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.key = ""
        self.hangs = False
        self.breaks_off = False
        self.hung_up = threading.Event()

    def bodies(self, path: str) -> list[Any]:
        """What was asked at a path."""
        return [body for at, body in self.asked if at == path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        content = await request.body()
        body = json.loads(content) if content else None
        self.asked.append((request.url.path, body))
        self.headers.append(dict(request.headers))
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            answer: Any = JSONResponse({"error": {"message": "Invalid API Key"}}, 401)
        else:
            nothing = JSONResponse({"detail": "Not Found"}, 404)
            answer = self.answers.get((request.method, request.url.path), nothing)
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer if isinstance(answer, Response) else answer(body)
        await self._response(answer)(scope, receive, send)

    def _response(self, answer: Any) -> Response:
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, list) and all(isinstance(line, str) for line in answer):
            return StreamingResponse(self._lines(answer), media_type="text/event-stream")
        return JSONResponse(answer)

    async def _lines(self, lines: list[str]) -> AsyncIterator[str]:
        for line in lines:
            yield f"{line}\n"
        if self.breaks_off:
            raise ConnectionAbortedError
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.hung_up.set()


def models(*names: str, owner: str = "someone", **more: Any) -> dict[str, Any]:
    """The answer of /v1/models."""
    entries = [{"id": name, "object": "model", "owned_by": owner, **more} for name in names]
    return {"object": "list", "data": entries}
