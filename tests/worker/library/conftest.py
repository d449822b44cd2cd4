# SPDX-License-Identifier: AGPL-3.0-or-later
"""A host of files on the loopback, and fetchers that may go there."""

import hashlib
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import uvicorn
from safetensors.numpy import save
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from openhorde.worker.library.fetching import Fetcher

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


class FileHost:
    """Serves what is put into `files`; what it is asked for is in `asked`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.port = 0
        self.app = Starlette(routes=[Route("/{path:path}", self._answer)])

    def url(self, path: str, host: str = "files.test") -> str:
        return f"http://{host}:{self.port}/{path}"

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"]
        self.asked.append(f"{request.url.hostname}/{path}")
        if path in self.redirects:
            return RedirectResponse(self.redirects[path])
        if path not in self.files:
            return Response(status_code=404)
        if path.startswith("packed"):
            return Response(self.files[path], headers={"Content-Encoding": "gzip"})
        if path.startswith("streamed"):
            return StreamingResponse(self._chunks(self.files[path]))
        return Response(self.files[path])

    async def _chunks(self, content: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]


@pytest.fixture
async def files(serve: Callable[[Any], Awaitable[int]]) -> FileHost:
    """A host of files, which answers to every name."""
    host = FileHost()
    host.port = await serve(host.app)
    return host


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Any], Awaitable[int]]]:
    """Serves an application on a free port of the loopback until the test ends."""
    import asyncio
    import socket

    servers: list[tuple[uvicorn.Server, Any]] = []

    async def start(app: Any) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        servers.append((server, task))
        return int(listening.getsockname()[1])

    yield start
    for server, task in servers:
        server.should_exit = True
        await task


@pytest.fixture
def fetcher() -> Callable[..., Fetcher]:
    """Makes fetchers for whom every name is on the loopback, where they may go."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    def make(*hosts: str, **changes: Any) -> Fetcher:
        options: dict[str, Any] = {
            "networks": LOOPBACK,
            "schemes": ("https", "http"),
            "resolve": resolve,
        }
        return Fetcher(hosts or ("files.test",), 10.0, **(options | changes))

    return make


@pytest.fixture(scope="session")
def weights() -> bytes:
    """A small safetensors file."""
    return save({"lora_A": np.arange(2000, dtype=np.float32)})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="session")
def told() -> Callable[..., bytes]:
    """Makes a catalogue's answer about one version."""

    def make(url: str, content: bytes, **changes: Any) -> bytes:
        file: dict[str, Any] = {
            "name": "style.safetensors",
            "downloadUrl": url,
            "sizeKB": len(content) / 1024,
            "primary": True,
            "hashes": {"SHA256": sha256(content).upper(), "CRC32": "0"},
        }
        version = {
            "id": 12345,
            "baseModel": "SD 1.5",
            "trainedWords": ["stylish"],
            "files": [{"name": "style.ckpt", "downloadUrl": url}, file | changes],
        }
        return json.dumps(version).encode()

    return make
