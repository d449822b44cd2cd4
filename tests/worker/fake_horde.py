# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small horde on loopback, with real HTTP."""

import asyncio
import base64
import contextlib
import socket
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATIENCE_SECONDS = 60
OWNER_KEY = "a-key-of-the-owner"


def picture(colour: str = "red", side_pixels: int = 8) -> bytes:
    """An encoded picture."""
    buffer = BytesIO()
    Image.new("RGB", (side_pixels, side_pixels), colour).save(buffer, "PNG")
    return buffer.getvalue()


class Noticeboard:
    """Things happen and are told; whoever waits looks again."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def tell(self) -> None:
        self._told.set()

    async def until(self, happened: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened():
                self._told.clear()
                await self._told.wait()


class FakeHorde(Noticeboard):
    """Plays the horde and its storage. Unusual answers are queued; then it is all well again.

    While `holding`, a pop with `wait` is held until there is a job; else it is an old horde.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.jobs: deque[dict[str, Any]] = deque()
        self.forms: deque[dict[str, Any]] = deque()
        self.texts: deque[dict[str, Any]] = deque()
        self.pops_of: dict[str, list[dict[str, Any]]] = {"alchemy": [], "text": []}
        self.answers_of: dict[str, deque[Response]] = {"alchemy": deque(), "text": deque()}
        self.story: list[tuple[str, str]] = []
        self.workers: dict[str, dict[str, Any]] = {}
        self.forgotten: list[str] = []
        self.queued: dict[str, float] = {}
        self.software: str | None = "openhorde"
        self.pop_answers: deque[Response] = deque()
        self.submit_answers: deque[Response] = deque()
        self.upload_statuses: deque[int] = deque()
        self.pops: list[dict[str, Any]] = []
        self.submits: list[dict[str, Any]] = []
        self.submit_headers: list[dict[str, str]] = []
        self.uploads: dict[str, bytes] = {}
        self.upload_headers: list[dict[str, str]] = []
        self.uploads_begun = 0
        self.sources: dict[str, bytes] = {}
        self.source_gets = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.uploads_gate = asyncio.Event()
        self.uploads_gate.set()
        self.submits_gate = asyncio.Event()
        self.submits_gate.set()
        self.holding = False
        self.held = 0
        self.hang_ups = 0
        self.before_answer: Callable[[], None] = lambda: None
        self.reports: list[dict[str, Any]] = []
        self.report_answers: deque[Response] = deque()

    def offer(self, pictures: int = 1, **changes: Any) -> list[str]:
        """Queue a job; `changes` go into the payload, or beside it when they belong there."""
        ids = [str(uuid.uuid4()) for _ in range(pictures)]
        # Signed addresses hold escapes that must survive.
        uploads = [f"{self.url}/storage/a%2Fb/{one}.webp?sign=x%2Fy+z=&e=1" for one in ids]
        sources = ("source_image", "source_mask", "source_processing")
        beside = ("model", "ttl", "r2_upload", "r2_uploads", *sources)
        payload = {
            "prompt": "a red circle ### blue",
            "width": 64,
            "height": 64,
            "ddim_steps": 2,
            "n_iter": pictures,
            "sampler_name": "k_euler",
            "cfg_scale": 5.0,
            "seed": "7",
            "karras": False,
            "tiling": False,
            "denoising_strength": None,
            "loras": None,
        } | {name: value for name, value in changes.items() if name not in beside}
        job = {
            "id": ids[0],
            "ids": ids,
            "model": "stable_diffusion",
            "payload": payload,
            "skipped": {},
            "r2_upload": uploads[0],
            "r2_uploads": uploads,
            "ttl": 150,
            "source_image": None,
            "source_processing": "img2img",
            "something_new": 1,
        } | {name: value for name, value in changes.items() if name in beside}
        self.jobs.append(job)
        self.tell()
        return ids

    def offer_form(self, form: str, source: str | None = None, **changes: Any) -> str:
        """Queue a form; without a source it is asked of a small red picture."""
        job_id = str(uuid.uuid4())
        one = {
            "id": job_id,
            "form": form,
            "payload": None,
            "source_image": source or base64.b64encode(picture()).decode(),
            "r2_upload": f"{self.url}/storage/{job_id}.webp?sign=x%2Fy",
            "something_new": 1,
        }
        self.forms.append(one | changes)
        self.tell()
        return job_id

    def offer_text(self, texts: int = 1, **changes: Any) -> list[str]:
        """Queue a prompt; `changes` go into the payload, or beside it when they belong there."""
        ids = [str(uuid.uuid4()) for _ in range(texts)]
        beside = ("model", "ttl", "softprompt", "extra_source_images")
        payload = {"prompt": "Once", "n": texts, "max_length": 16, "rep_pen": None, "top_k": 40}
        job = {
            "id": ids[0],
            "ids": ids,
            "model": "fake-writer",
            "payload": payload | {name: one for name, one in changes.items() if name not in beside},
            "softprompt": None,
            "skipped": {},
            "ttl": 150,
        } | {name: one for name, one in changes.items() if name in beside}
        self.texts.append(job)
        self.tell()
        return ids

    def submitted(self, job_id: str) -> list[dict[str, Any]]:
        return [one for one in self.submits if one["id"] == job_id]

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v2/generate/pop", self._pop, methods=["POST"]),
                Route("/api/v2/interrogate/pop", self._pop_forms, methods=["POST"]),
                Route("/api/v2/generate/text/pop", self._pop_texts, methods=["POST"]),
                Route("/api/v2/generate/progress", self._progress, methods=["POST"]),
                *(
                    Route(f"/api/v2/{path}/submit", self._submit, methods=["POST"])
                    for path in ("generate", "interrogate", "generate/text")
                ),
                Route("/api/v2/status/heartbeat", self._heartbeat),
                Route("/.well-known/serviceinfo", self._service_info),
                Route("/api/v2/find_user", self._find_user),
                Route("/api/v2/status/models", self._status_of_models),
                Route("/api/v2/workers/name/{name}", self._find_worker),
                Route("/api/v2/workers/{id}", self._forget_worker, methods=["DELETE"]),
                Route("/storage/{path:path}", self._upload, methods=["PUT"]),
                Route("/source/{name}", self._source, methods=["GET"]),
            ]
        )

    async def _pop(self, request: Request) -> Response:
        try:
            self.pops.append(await request.json())
        except ClientDisconnect:
            return Response(status_code=400)
        self.tell()
        if (
            self.holding
            and self.pops[-1]["wait"]
            and not self.jobs
            and not await self._hold(request)
        ):
            return Response(status_code=400)
        self.before_answer()
        if self.pop_answers:
            return self.pop_answers.popleft()
        if self.jobs:
            self.story.append(("popped", self.jobs[0]["id"]))
            return JSONResponse(self.jobs.popleft())
        skipped = {"models": 3, "nsfw": 0}
        return JSONResponse({"id": None, "ids": [], "payload": {}, "skipped": skipped})

    async def _pop_forms(self, request: Request) -> Response:
        body = await request.json()
        self.pops_of["alchemy"].append(body)
        self.tell()
        if self.answers_of["alchemy"]:
            return self.answers_of["alchemy"].popleft()
        taken = [self.forms.popleft() for _ in range(min(body["amount"], len(self.forms)))]
        self.story += [("popped", one["id"]) for one in taken]
        return JSONResponse({"forms": taken or None, "skipped": {"untrusted": 2, "kudos": 0}})

    async def _pop_texts(self, request: Request) -> Response:
        self.pops_of["text"].append(await request.json())
        self.tell()
        if self.answers_of["text"]:
            return self.answers_of["text"].popleft()
        if self.texts:
            self.story += [("popped", one) for one in self.texts[0]["ids"]]
            return JSONResponse(self.texts.popleft())
        return JSONResponse({"id": None, "ids": [], "payload": {}, "skipped": {}})

    async def _hold(self, request: Request) -> bool:
        """Keep the worker on the line until there is a job; False when it hung up."""
        gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
        offered: asyncio.Future[Any] = asyncio.ensure_future(self.until(lambda: self.jobs))
        self.held += 1
        await asyncio.wait((gone, offered), return_when=asyncio.FIRST_COMPLETED)
        self.held -= 1
        hung_up = gone.done()
        self.hang_ups += hung_up
        for waiting in (gone, offered):
            waiting.cancel()
        self.tell()
        return not hung_up

    async def _heartbeat(self, request: Request) -> Response:
        return JSONResponse({"message": "OK"})

    async def _service_info(self, request: Request) -> Response:
        if self.software is None:
            return Response(status_code=404)
        return JSONResponse({"version": "0.2", "software": {"name": self.software}})

    async def _find_user(self, request: Request) -> Response:
        if request.headers["apikey"] != OWNER_KEY:
            message = "No user matching sent API Key. Have you remembered to register?"
            return JSONResponse({"message": message, "rc": "UserNotFound"}, 404)
        return JSONResponse({"username": "Bob#2", "kudos": 5})

    async def _status_of_models(self, request: Request) -> Response:
        return JSONResponse([{"name": name, "queued": one} for name, one in self.queued.items()])

    async def _find_worker(self, request: Request) -> Response:
        name = request.path_params["name"]
        asked = [*self.pops, *self.pops_of["alchemy"], *self.pops_of["text"]]
        made = {one["name"]: {"id": f"id of {name}"} for one in asked} | self.workers
        if (known := made.get(name)) is None:
            return JSONResponse({"message": "no such worker", "rc": "WorkerNotFound"}, 404)
        return JSONResponse(known)

    async def _forget_worker(self, request: Request) -> Response:
        self.forgotten.append(request.path_params["id"])
        return JSONResponse({"deleted_id": self.forgotten[-1]})

    async def _progress(self, request: Request) -> Response:
        self.reports.append(await request.json())
        self.tell()
        await self.gate.wait()
        if self.report_answers:
            return self.report_answers.popleft()
        return JSONResponse({"cancelled": False})

    async def _submit(self, request: Request) -> Response:
        self.submits.append(await request.json())
        self.story.append(("submitted", self.submits[-1]["id"]))
        self.submit_headers.append(dict(request.headers))
        self.tell()
        await self.submits_gate.wait()
        if self.submit_answers:
            return self.submit_answers.popleft()
        return JSONResponse({"reward": 12.5})

    async def _upload(self, request: Request) -> Response:
        content = await request.body()
        self.uploads_begun += 1
        self.tell()
        await self.uploads_gate.wait()
        self.upload_headers.append(dict(request.headers))
        status = self.upload_statuses.popleft() if self.upload_statuses else 200
        if status == 200:
            target = request.scope["raw_path"] + b"?" + request.scope["query_string"]
            self.uploads[target.decode()] = content
        self.tell()
        return Response(status_code=status)

    async def _source(self, request: Request) -> Response:
        self.source_gets += 1
        self.tell()
        await self.gate.wait()
        content = self.sources.get(request.path_params["name"])
        return Response(content) if content is not None else Response(status_code=404)


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the tests."""
        yield


@contextlib.asynccontextmanager
async def serving(horde: FakeHorde, port: int = 0) -> AsyncIterator[None]:
    listener = socket.create_server(("127.0.0.1", port))
    horde.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(horde.app(), lifespan="off", ws="none", log_level="warning")
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        for gate in (horde.gate, horde.uploads_gate, horde.submits_gate):
            gate.set()
        server.should_exit = server.force_exit = True
        await task
        listener.close()
