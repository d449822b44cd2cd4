# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is thrown at the server, and what every answer must be."""

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
from hostile.pictures import png

AGENT = "AI Horde Worker reGen:13.0.0:https://example.org"
GIVE_UP_SECONDS = 60


def image_body(**changes: Any) -> dict[str, Any]:
    """A small image request."""
    params = {"width": 64, "height": 64, "steps": 1, **changes.pop("params", {})}
    return {"prompt": "a red circle", "params": params, **changes}


def pop_body(**changes: Any) -> dict[str, Any]:
    """A pop of an able worker."""
    fields = {"name": "Mallory's machine", "models": ["stable_diffusion"], "bridge_agent": AGENT}
    return {**fields, "max_pixels": 262_144, **changes}


@dataclass(frozen=True)
class Target:
    """The server as an attacker sees it."""

    http: httpx.Client
    key: str
    bystanders_key: str
    port: int

    @property
    def headers(self) -> dict[str, str]:
        """With a key."""
        return {"apikey": self.key}

    def ask(self, **changes: Any) -> httpx.Response:
        """Ask for a picture."""
        body = image_body(**changes)
        return self.http.post("/api/v2/generate/async", headers=self.headers, json=body)

    def send(self, path: str, body: bytes, method: str = "POST", **headers: str) -> httpx.Response:
        """Send these very bytes as JSON."""
        said = {**self.headers, "Content-Type": "application/json", **headers}
        return self.http.request(method, path, headers=said, content=body)

    def shout(self, *parts: bytes) -> bytes:
        """Send bytes over a connection of their own; what comes back until the end.

        The rest is not sent once nobody listens any more.
        """
        with socket.create_connection(("127.0.0.1", self.port), GIVE_UP_SECONDS) as connection:
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
            return b"".join(received(connection))

    def assert_well(self) -> None:
        """Somebody else's request is accepted, given to their worker, handed in and read."""
        headers, model = {"apikey": self.bystanders_key}, "a model of health"
        asking = image_body(models=[model])
        asked = self.http.post("/api/v2/generate/async", headers=headers, json=asking)
        assert asked.status_code == 202, asked.text
        pop = pop_body(name="bystander's machine", models=[model])
        job = self.http.post("/api/v2/generate/pop", headers=headers, json=pop).json()
        assert job["model"] == model, job
        assert self.http.put(job["r2_upload"], content=png()).status_code == 200
        result = {"id": job["id"], "generation": "R2", "seed": 1}
        paid = self.http.post("/api/v2/generate/submit", headers=headers, json=result)
        assert paid.json()["reward"] > 0
        check = self.http.get(f"/api/v2/generate/check/{asked.json()['id']}").json()
        assert check["done"]


def received(connection: socket.socket) -> Iterable[bytes]:
    """What comes in until the other side is done, or breaks off."""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionError:
            return
        if not part:
            return
        yield part


def assert_refused(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """A refusal that a program can read; its body."""
    assert answer.status_code in (statuses or range(400, 500)), answer.text[:500]
    assert answer.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = answer.json()
    assert body["message"]
    return body


def assert_field_named(answer: httpx.Response, field: str) -> None:
    """A refusal that says which field is wrong."""
    body = assert_refused(answer, 400)
    named = [*body.get("errors", {}), body["message"]]
    assert any(field in name for name in named), body
