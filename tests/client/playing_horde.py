# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small HTTP server on the loopback that plays a horde by script."""

import asyncio
import base64
import json
import os
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import uvicorn
from client.playing_alchemy import PlayingAlchemy
from client.playing_text import PlayingTexts
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

HOST = "127.0.0.1"
REQUEST_ID = "00000000-0000-4000-8000-000000000001"
WORKER_ID = "00000000-0000-4000-8000-000000000002"
GOOD_KEY = "a-key-of-22-characters"
KUDOS = 7.5


def webp(size: tuple[int, int] = (64, 64), colour: str = "red", mode: str = "RGB") -> bytes:
    """A lossy picture such as workers send."""
    written = BytesIO()
    Image.new(mode, size, colour).save(written, "WEBP", quality=95)
    return written.getvalue()


def check(**changes: Any) -> dict[str, Any]:
    """An answer of `generate/check`: waiting in the second place unless changed."""
    return {
        "finished": 0,
        "processing": 0,
        "restarted": 0,
        "waiting": 1,
        "done": False,
        "faulted": False,
        "wait_time": 9,
        "queue_position": 2,
        "kudos": 0.0,
        "is_possible": True,
        **changes,
    }


WAITING = check()
DRAWING = check(waiting=0, processing=1, queue_position=0, wait_time=4)
DONE = check(waiting=0, finished=1, done=True, queue_position=0, wait_time=0, kudos=KUDOS)


class Cut(Exception):
    """In a stream's script: the line breaks here, in the middle of an answer."""


class Hold:
    """In a stream's script: nothing more is said, but the line stays open."""


def event(name: str, data: Any, event_id: int | str = "") -> bytes:
    """One event of a stream."""
    text = f"event: {name}\ndata: {json.dumps(data)}\n"
    return (text + (f"id: {event_id}\n" if event_id else "") + "\n").encode()


@dataclass
class Heard:
    """One request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    query: dict[str, str]
    body: Any


@dataclass
class PlayingHorde:
    """What to answer, and what was heard. The last entry of `checks` is said for ever.

    `streams` are scripts, one for each connection and then the last one again; None is an old
    horde that has no streams. With `states` checks tell their state, for the next to be held.
    `outlook` joins the answer to every request that is submitted, of whatever kind.
    """

    checks: list[dict[str, Any]] = field(default_factory=lambda: [WAITING, DRAWING, DONE])
    pictures: list[bytes] = field(default_factory=lambda: [webp()])
    state: dict[str, Any] = field(default_factory=dict)
    streams: list[list[bytes | type[Cut] | type[Hold]]] | None = None
    states: list[str] | None = None
    left: threading.Event = field(default_factory=threading.Event)
    inline: bool = False
    warnings: list[dict[str, str]] | None = None
    outlook: dict[str, Any] = field(default_factory=dict)
    alchemy: PlayingAlchemy = field(default_factory=PlayingAlchemy)
    texts: PlayingTexts = field(default_factory=PlayingTexts)
    user: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    refusals: dict[str, list[Response]] = field(default_factory=lambda: defaultdict(list))
    port: int = 0

    @property
    def url(self) -> str:
        """Where it plays."""
        return f"http://{HOST}:{self.port}"

    def refuse(self, path: str, status: int, body: Any, times: int = 1, **headers: str) -> None:
        """Answer the next `times` calls of `path` like this."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.refusals[path] += [JSONResponse(body, status, named) for _ in range(times)]

    def calls(self, path: str) -> list[Heard]:
        """What was heard on a path."""
        return [one for one in self.heard if one.path == path]

    @contextmanager
    def running(self) -> Iterator["PlayingHorde"]:
        """Play, on the same port as the last time if there was one."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self.port))
            self.port = listener.getsockname()[1]
            self.alchemy.url = self.url
            # Connections are taken from here on, so nobody has to wait for the thread.
            listener.listen()
            config = uvicorn.Config(self.app(), log_level="warning", lifespan="off")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                yield self
            finally:
                server.should_exit = True
                thread.join()

    def app(self) -> Starlette:
        """The routes that the client knows."""
        api = {
            "generate/async": (self._submit, "POST"),
            "generate/events/{id}": (self._events, "GET"),
            "generate/check/{id}": (self._check, "GET"),
            "generate/status/{id}": (self._status, "GET,DELETE"),
            "generate/pop": (self._pop_of("image"), "POST"),
            "generate/text/pop": (self._pop_of("text"), "POST"),
            "interrogate/pop": (self._pop_of("interrogation"), "POST"),
            "generate/text/async": (self._submit_of(self.texts), "POST"),
            "generate/text/status/{id}": (self._status_of(self.texts), "GET,DELETE"),
            "interrogate/async": (self._submit_of(self.alchemy), "POST"),
            "interrogate/status/{id}": (self._status_of(self.alchemy), "GET,DELETE"),
            "find_user": (self._find_user, "GET"),
            "kudos/history": (self._history, "GET"),
            "kudos/transfer": (self._transfer, "POST"),
            "status/heartbeat": (self._heartbeat, "GET"),
            "status/performance": (self._performance, "GET"),
            "status/models": (self._models, "GET"),
            "workers": (self._workers, "GET"),
        }
        routes = [
            Route(f"/api/v2/{path}", self._hearing(path, answer), methods=methods.split(","))
            for path, (answer, methods) in api.items()
        ]
        pictures = Route("/pictures/{number:int}", self._hearing("pictures", self._picture))
        return Starlette(routes=[*routes, pictures])

    def _hearing(self, path: str, answer: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            self.heard.append(
                Heard(
                    request.method,
                    path,
                    dict(request.headers),
                    dict(request.query_params),
                    await request.json() if raw else None,
                )
            )
            if self.refusals[path]:
                return self.refusals[path].pop(0)
            answered: Response = answer(request)
            return answered

        return endpoint

    def _submit(self, request: Request) -> Response:
        if self.heard[-1].body.get("dry_run"):
            lines = [{"label": "64x64, 20 steps", "kudos": 6.5}, {"label": "tax", "kudos": 1.0}]
            prospects = {
                "is_possible": True,
                "workers_fitting": 3,
                "eta": {"p50": 7.4, "p90": 21.6},
            }
            return JSONResponse({"kudos": KUDOS, "lines": lines, **prospects}, 200)
        queued: dict[str, Any] = {"id": REQUEST_ID, "kudos": KUDOS, **self.outlook}
        if self.warnings:
            queued["warnings"] = self.warnings
        return JSONResponse(queued, 202)

    def _submit_of(self, part: PlayingAlchemy | PlayingTexts) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            told, status = part.submit(self.heard[-1].body)
            return JSONResponse({**told, **self.outlook} if "id" in told else told, status)

        return answer

    def _status_of(self, part: PlayingAlchemy | PlayingTexts) -> Callable[[Request], Response]:
        return lambda request: JSONResponse(
            part.status(request.path_params["id"], request.method == "DELETE")
        )

    def _events(self, request: Request) -> Response:
        if self.streams is None:
            return JSONResponse({"message": "The requested URL was not found."}, 404)
        script = self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]
        return StreamingResponse(self._told(script), media_type="text/event-stream")

    async def _told(self, script: list[bytes | type[Cut] | type[Hold]]) -> AsyncIterator[bytes]:
        try:
            for part in script:
                if isinstance(part, bytes):
                    yield part
                elif part is Cut:
                    raise Cut
                else:
                    await asyncio.Event().wait()
        finally:
            self.left.set()

    def _check(self, request: Request) -> Response:
        answer = self.checks.pop(0) if len(self.checks) > 1 else self.checks[0]
        if self.states is None:
            return JSONResponse(answer)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return JSONResponse(answer, headers={"Event-Id": state})

    def _status(self, request: Request) -> Response:
        return JSONResponse(self.status())

    def status(self) -> dict[str, Any]:
        """The full status, with all pictures."""
        generations = [
            {
                "id": f"00000000-0000-4000-8000-0000000001{number:02}",
                "img": self._img(number),
                "seed": str(1000 + number),
                "model": "openhorde_shapes",
                "worker_id": WORKER_ID,
                "worker_name": "Bob's machine",
                "state": "ok",
                "censored": False,
                "gen_metadata": [],
                **self.state,
            }
            for number in range(len(self.pictures))
        ]
        return {**self.checks[-1], "generations": generations, "shared": False}

    def _img(self, number: int) -> str:
        if self.inline:
            return base64.b64encode(self.pictures[number]).decode()
        return f"{self.url}/pictures/{number}"

    def _picture(self, request: Request) -> Response:
        return Response(self.pictures[request.path_params["number"]], media_type="image/webp")

    def _find_user(self, request: Request) -> Response:
        if request.headers.get("apikey") != GOOD_KEY:
            refusal = {"message": "No user matching sent API Key.", "rc": "InvalidAPIKey"}
            return JSONResponse(refusal, 401)
        return JSONResponse({**USER, **self.user})

    def _history(self, request: Request) -> Response:
        return JSONResponse({"entries": self.history or HISTORY, "next": "3-1"})

    def _transfer(self, request: Request) -> Response:
        return JSONResponse({"transferred": self.heard[-1].body["amount"]})

    def _heartbeat(self, request: Request) -> Response:
        return JSONResponse(
            {
                "message": "OK",
                "version": "0.1.0",
                "queue": 0,
                "threads": 1,
                "active_count": 0,
                "db_connection": "OK",
            }
        )

    def _performance(self, request: Request) -> Response:
        return JSONResponse(PERFORMANCE)

    def _models(self, request: Request) -> Response:
        kind = request.query_params["type"]
        return JSONResponse([one for one in self.models if one["type"] == kind])

    def _workers(self, request: Request) -> Response:
        return JSONResponse(self.workers)

    def _pop_of(self, kind: str) -> Callable[[Request], Response]:
        def pop(request: Request) -> Response:
            self.workers.append(worker(name=self.heard[-1].body["name"], type=kind))
            return JSONResponse({"id": None, "ids": []})

        return pop


def worker(**changes: Any) -> dict[str, Any]:
    """A row of `workers`."""
    return {
        "type": "image",
        "name": "Bob's machine",
        "id": WORKER_ID,
        "online": True,
        "requests_fulfilled": 4,
        "kudos_rewards": 40.0,
        "performance": "1.5 megapixelsteps per second",
        "threads": 1,
        "uptime": 600,
        "maintenance_mode": False,
        "nsfw": False,
        "trusted": True,
        "flagged": False,
        "uncompleted_jobs": 0,
        "bridge_agent": "openhorde worker:0.1.0:unknown",
        "models": ["openhorde_shapes"],
        **changes,
    }


PERFORMANCE = {
    "queued_requests": 3,
    "queued_megapixelsteps": 1.5,
    "worker_count": 1,
    "thread_count": 1,
    "queued_text_requests": 2,
    "queued_tokens": 160.0,
    "past_minute_tokens": 40.0,
    "text_worker_count": 1,
    "text_thread_count": 2,
    "queued_forms": 7.0,
    "interrogator_count": 2,
    "interrogator_thread_count": 4,
}

USER = {
    "username": "Alice#3",
    "id": 3,
    "kudos": 1234.5,
    "concurrency": 30,
    "worker_invited": 0,
    "moderator": False,
    "trusted": True,
    "flagged": False,
    "pseudonymous": False,
    "worker_count": 0,
    "account_age": 86400,
    "kudos_details": {"accumulated": -100.0, "received": 1334.5},
}

HISTORY = [
    {
        "time": "2026-07-01T12:00:00.000001Z",
        "amount": -7.5,
        "effect": "balance",
        "purpose": "price",
        "why": "Price of a delivered job of a request.",
        "lines": [{"label": "20 steps", "kudos": 7.5}],
    },
    {
        "time": "2026-07-01T11:00:00Z",
        "amount": 1334.5,
        "effect": "balance",
        "purpose": "transfer",
        "why": "Received from another user.",
        "counterparty": "Bob#4",
    },
]


def main() -> None:
    """Play the server of a private horde, on OPENHORDE_PORT. It remembers workers of the kinds in
    PLAYING_WORKERS."""
    playing = PlayingHorde(port=int(os.environ["OPENHORDE_PORT"]))
    kinds = os.environ.get("PLAYING_WORKERS", "").split(",")
    playing.workers = [worker(name="this-machine", type=kind) for kind in kinds if kind]
    uvicorn.run(playing.app(), host=HOST, port=playing.port, log_level="info", lifespan="off")
