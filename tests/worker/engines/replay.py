# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server that plays a recorded session: it wants exactly the requests of the recording.

A recording is JSON: `about` says what it is and where it comes from, `exchanges` what is asked and
answered, in order; `{"as": name}` stands for all exchanges of another one. A text in angle
brackets, such as `<client>`, stands for one value that the client is free to choose, the same
wherever it stands. `told` are messages on the web socket that follow an answer.
"""

import asyncio
import email.parser
import email.policy
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

RECORDINGS = Path(__file__).parents[1] / "recordings"
PATIENCE_SECONDS = 60
FREE = re.compile(r"<\w+>")
WRONG = 418


class Replay:
    """A recording that is being played."""

    def __init__(self, name: str) -> None:
        self.about, self._left = _read(name)
        self._chosen: dict[str, Any] = {}
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self.url = ""
        self.wrong: list[str] = []

    @property
    def left(self) -> list[Any]:
        """What was not asked yet."""
        return [exchange["asked"] for exchange in self._left]

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server, as ASGI."""
        if scope["type"] == "websocket":
            await self._talk(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        exchange = self._next(await _asked(request))
        if exchange is None:
            answer: Response = JSONResponse({"error": self.wrong[-1]}, WRONG)
        else:
            answer = self._answer(exchange["answered"])
            for message in exchange.get("told", ()):
                self._messages.put_nowait(message)
        await answer(scope, receive, send)

    async def _talk(self, connection: WebSocket) -> None:
        asked = {"method": "GET", "path": connection.url.path} | _query(connection.query_params)
        exchange = self._next(asked)
        if exchange is None:
            await connection.close()
            return
        messages = self._messages = asyncio.Queue()
        await connection.accept()
        for message in exchange["answered"]["messages"]:
            messages.put_nowait(message)
        while True:
            message = await messages.get()
            try:
                if message == "break off":
                    await connection.close(1011)
                    return
                if message == "preview":
                    await connection.send_bytes(b"\0\0\0\1\0\0\0\1not looked at")
                else:
                    text = message if isinstance(message, str) else json.dumps(message)
                    await connection.send_text(self._filled(text))
            except WebSocketDisconnect:
                return

    def _next(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The exchange that comes next, when it is this that it wants."""
        if not self._left:
            self.wrong.append(f"nothing more was to be asked, but was: {asked}")
            return None
        wanted = self._left[0]["asked"]
        if not self._matches(wanted, asked):
            self.wrong.append(f"wanted {wanted}, asked was {asked}")
            return None
        return self._left.pop(0)

    def _matches(self, wanted: Any, asked: Any) -> bool:
        if isinstance(wanted, str) and FREE.fullmatch(wanted):
            return bool(self._chosen.setdefault(wanted, asked) == asked)
        if isinstance(wanted, dict) and isinstance(asked, dict):
            return wanted.keys() == asked.keys() and all(
                self._matches(value, asked[name]) for name, value in wanted.items()
            )
        if isinstance(wanted, list) and isinstance(asked, list):
            return len(wanted) == len(asked) and all(map(self._matches, wanted, asked))
        return bool(wanted == asked)

    def _filled(self, text: str) -> str:
        return FREE.sub(lambda found: str(self._chosen.get(found[0], found[0])), text)

    def _answer(self, answered: dict[str, Any]) -> Response:
        status = answered.get("status", 200)
        if "json" in answered:
            return JSONResponse(json.loads(self._filled(json.dumps(answered["json"]))), status)
        if "picture" in answered:
            width, height, colour = answered["picture"]
            buffer = BytesIO()
            Image.new("RGB", (width, height), colour).save(buffer, "PNG")
            return Response(buffer.getvalue(), media_type="image/png")
        if "lines" in answered:
            return StreamingResponse(self._lines(answered), status, media_type="text/event-stream")
        return Response(answered.get("text", ""), status)

    async def _lines(self, answered: dict[str, Any]) -> AsyncIterator[str]:
        for line in answered["lines"]:
            yield f"{line}\n"
        if answered.get("end") == "hangs":
            await asyncio.Event().wait()
        if answered.get("end") == "breaks off":
            raise ConnectionAbortedError


def _read(name: str) -> tuple[str, list[dict[str, Any]]]:
    """What a recording is, and its exchanges."""
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    exchanges: list[dict[str, Any]] = []
    for exchange in recording["exchanges"]:
        exchanges += _read(exchange["as"])[1] if "as" in exchange else [exchange]
    return recording["about"], exchanges


async def _asked(request: Request) -> dict[str, Any]:
    """A request as a recording has it."""
    asked: dict[str, Any] = {"method": request.method, "path": request.url.path}
    asked |= _query(request.query_params)
    content = await request.body()
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        asked["json"] = json.loads(content)
    elif kind.startswith("multipart/form-data"):
        asked["form"] = _form(kind, content)
    if "authorization" in request.headers:
        asked["authorization"] = request.headers["authorization"]
    return asked


def _query(parameters: Any) -> dict[str, Any]:
    return {"query": dict(parameters)} if parameters else {}


def _form(kind: str, content: bytes) -> dict[str, Any]:
    """The fields of a form; a picture as its type, size and middle colour."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    whole = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content)
    form: dict[str, Any] = {}
    for part in whole.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        value: Any = part.get_payload(decode=True)
        if part.get_filename() is None:
            form[name] = value.decode()
            continue
        with Image.open(BytesIO(value)) as picture:
            middle: Any = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
            form[name] = [part.get_content_type(), list(picture.size), list(middle)]
    return form


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the tests."""
        yield


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an ASGI application from a thread of its own, on any port or this; its address."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app, interface="asgi3", lifespan="off", ws="websockets-sansio", log_level="critical"
    )
    server = _QuietServer(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name="engine"
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_SECONDS)
        listener.close()
    assert not thread.is_alive()


@contextmanager
def replaying(name: str) -> Iterator[Replay]:
    """Play a recording; at the end, all of it must have been asked, and nothing else."""
    replay = Replay(name)
    assert re.search("captured|documentation", replay.about), "it must say where it comes from"
    with serving(replay.app) as url:
        replay.url = url
        yield replay
    assert replay.wrong == []
    assert replay.left == []
