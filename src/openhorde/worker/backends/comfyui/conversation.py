# SPDX-License-Identifier: AGPL-3.0-or-later
"""The calls of ComfyUI: what it has, queueing a workflow, hearing how it goes, what came of it."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from openhorde.worker.backends.base import Cancelled
from openhorde.worker.backends.servers import (
    CONNECT_SECONDS_MAX,
    PULSE_SECONDS,
    EngineError,
    Server,
    Unreachable,
    said,
)

NAME = "ComfyUI"
MESSAGE_BYTES_MAX = 64 << 20
FOLDER = "openhorde"


class Comfy:
    """One ComfyUI."""

    def __init__(self, url: str) -> None:
        self.server = Server(NAME, url)
        self._nodes: dict[str, Any] = {}

    def choices(self, node_type: str, word: str) -> list[str]:
        """What a node of that type takes for an input; empty when it knows no such thing."""
        node = self.node(node_type)
        inputs = node.get("input") if isinstance(node, dict) else None
        for kind in ("required", "optional"):
            told = (inputs or {}).get(kind, {}).get(word)
            if not isinstance(told, list) or not told:
                continue
            options = told[0]
            if options == "COMBO" and len(told) > 1:  # so from version 0.3.40 on
                options = told[1].get("options")
            if isinstance(options, list):
                return [one for one in options if isinstance(one, str)]
        return []

    def node(self, node_type: str) -> Any:
        """What is told of a type of nodes; None when it is not known."""
        if node_type not in self._nodes:
            answer = self.server.get(f"/object_info/{node_type}")
            self._nodes[node_type] = answer.get(node_type) if isinstance(answer, dict) else None
        return self._nodes[node_type]

    def embeddings(self) -> list[str]:
        """The names of the textual inversions."""
        answer = self.server.get("/embeddings")
        return [one for one in answer if isinstance(one, str)] if isinstance(answer, list) else []

    def upload(self, picture: bytes) -> str:
        """Leave a PNG in the server's temporary folder; how a workflow names it."""
        content = self.server.ask(
            "POST",
            "/upload/image",
            files={"image": (f"{uuid.uuid4().hex}.png", picture, "image/png")},
            data={"type": "temp", "subfolder": FOLDER, "overwrite": "true"},
        )
        with contextlib.suppress(ValueError, KeyError, TypeError):
            kept = json.loads(content)
            path = f"{kept['subfolder']}/{kept['name']}" if kept["subfolder"] else kept["name"]
            return f"{path} [{kept['type']}]"
        raise EngineError(f"{NAME} did not say where it put a picture: {said(content)}")

    @contextlib.contextmanager
    def listening(self) -> Iterator["Listener"]:
        """Inside, what the server tells of this client's workflows can be heard."""
        client_id = uuid.uuid4().hex
        scheme, _, rest = self.server.url.partition("://")
        address = f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws?clientId={client_id}"
        try:
            connection = connect(
                address,
                open_timeout=CONNECT_SECONDS_MAX,
                close_timeout=1,
                max_size=MESSAGE_BYTES_MAX,
                proxy=None,
                compression=None,
            )
        except OSError as error:
            raise Unreachable(f"{NAME} cannot be reached at {self.server.url}: {error}") from error
        except WebSocketException as error:
            raise EngineError(f"{NAME} does not tell how it goes at /ws: {error}") from error
        with connection:
            yield Listener(self, connection, client_id)

    def queue(self, workflow: dict[str, Any], client_id: str) -> str:
        """Queue a workflow; the id it is given."""
        answer = self.server.post("/prompt", {"prompt": workflow, "client_id": client_id})
        prompt_id = answer.get("prompt_id") if isinstance(answer, dict) else None
        if not isinstance(prompt_id, str):
            raise EngineError(f"{NAME} did not queue the workflow: {said(answer)}")
        return prompt_id

    def outputs(self, prompt_id: str) -> list[bytes]:
        """The files of the pictures that a workflow has made, those meant to be kept first."""
        answer = self.server.get(f"/history/{prompt_id}")
        entry = answer.get(prompt_id) if isinstance(answer, dict) else None
        outputs = entry.get("outputs") if isinstance(entry, dict) else None
        if not isinstance(outputs, dict):
            raise EngineError(f"{NAME} does not know what came of the workflow")
        images = [
            image
            for node in outputs.values()
            if isinstance(node, dict)
            for image in node.get("images") or ()
            if isinstance(image, dict) and isinstance(image.get("filename"), str)
        ]
        images.sort(key=lambda image: image.get("type") != "output")
        return [
            self.server.file(
                "/view",
                filename=image["filename"],
                subfolder=str(image.get("subfolder", "")),
                type=str(image.get("type", "output")),
            )
            for image in images[:1]
        ]

    def forget(self, prompt_id: str) -> None:
        """What was asked is nobody's business any more."""
        with contextlib.suppress(EngineError):
            self.server.ask("POST", "/history", json={"delete": [prompt_id]})

    def give_up(self, prompt_id: str) -> None:
        """Take a workflow out of the queue, and stop it if it is the one that runs."""
        with contextlib.suppress(EngineError):
            self.server.ask("POST", "/queue", json={"delete": [prompt_id]})
            queue = self.server.get("/queue")
            running = queue.get("queue_running") if isinstance(queue, dict) else None
            if any(prompt_id in entry for entry in running or () if isinstance(entry, list)):
                self.server.ask("POST", "/interrupt", json={"prompt_id": prompt_id})


class Listener:
    """Hears of this client's workflows."""

    def __init__(self, comfy: Comfy, connection: ClientConnection, client_id: str) -> None:
        self._comfy = comfy
        self._connection = connection
        self._client_id = client_id

    def draw(
        self,
        workflow: dict[str, Any],
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> bytes:
        """Have a workflow done; the file of the picture it made. `progress` takes the share that
        is done, 0 to 1. Raises EngineError, or Cancelled."""
        prompt_id = self._comfy.queue(workflow, self._client_id)
        try:
            self._wait(prompt_id, progress, cancelled)
            files = self._comfy.outputs(prompt_id)
        except (Cancelled, EngineError):
            self._comfy.give_up(prompt_id)
            raise
        finally:
            self._comfy.forget(prompt_id)
        if not files:
            raise EngineError(f"{NAME} made no picture")
        return files[0]

    def _wait(
        self, prompt_id: str, progress: Callable[[float], None], cancelled: Callable[[], bool]
    ) -> None:
        while True:
            if cancelled():
                raise Cancelled
            try:
                message = self._connection.recv(timeout=PULSE_SECONDS)
            except TimeoutError:
                continue
            except ConnectionClosed as error:
                raise EngineError(f"{NAME} broke off while it drew: {error}") from error
            if isinstance(message, str) and self._over(message, prompt_id, progress):
                return

    def _over(self, message: str, prompt_id: str, progress: Callable[[float], None]) -> bool:
        """Whether the message says that the workflow is done. Other messages are previews and
        what other workflows do."""
        try:
            told = json.loads(message)
            kind, data = told["type"], told["data"]
            about_this = data.get("prompt_id") == prompt_id
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(f"{NAME} told something unreadable: {said(message)}") from error
        if not about_this:
            return False
        if kind == "execution_error":
            node = data.get("node_type") or "a node"
            why = data.get("exception_message") or data.get("exception_type")
            raise EngineError(f"{NAME} failed in {node}: {said(str(why))}")
        if kind == "execution_interrupted":
            raise EngineError(f"{NAME} was told by somebody else to stop")
        if kind == "progress":
            done, steps = data.get("value"), data.get("max")
            if isinstance(done, int) and isinstance(steps, int) and steps > 0:
                progress(min(1.0, done / steps))
        return kind == "executing" and data.get("node") is None
