# SPDX-License-Identifier: AGPL-3.0-or-later
"""Downloads from a hub of our own over HTTP: only what is safe, within bounds, and whole."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from openhorde.worker.library.folders import find_model
from openhorde.worker.library.hub import SAFE_FILES
from openhorde.worker.settings import WorkerSettings, load_settings

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
NAME = "owner/name"


class FakeHub:
    """Serves one model's files; large ones are promised by their SHA-256, like the real hub's."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"config.json": b"{}", "model.safetensors": b"weights" * 9}
        self.damaged = False
        self.fetched: list[str] = []
        self.url = ""

    def listing(self) -> list[dict[str, Any]]:
        entries = []
        for name, content in self.files.items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content)}
            entry["oid"] = hashlib.sha1(content).hexdigest()
            if not name.endswith(".json"):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return entries

    def headers(self, name: str) -> dict[str, str]:
        content = self.files[name]
        small = name.endswith(".json")
        digest = hashlib.sha1(content) if small else hashlib.sha256(content)
        return {
            "ETag": f'"{digest.hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Content-Length": str(len(content)),
        }


def handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def _answer(self, with_content: bool) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/models/{NAME}/tree/"):
                self._send({}, json.dumps(hub.listing()).encode())
            elif path.startswith(f"/api/models/{NAME}"):
                self._send({}, json.dumps({"id": NAME, "sha": COMMIT, "siblings": []}).encode())
            elif path.startswith(f"/{NAME}/resolve/"):
                name = path.rpartition("/")[2]
                content = hub.files[name]
                if with_content:
                    hub.fetched.append(name)
                    content = b"?" * len(content) if hub.damaged else content
                self._send(hub.headers(name), content if with_content else b"")
            else:
                self.send_error(404)

        def _send(self, headers: dict[str, str], content: bytes) -> None:
            self.send_response(200)
            for key, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


def settings(hub: FakeHub, models_folder: Path, **changes: Any) -> WorkerSettings:
    given = {"models_folder": models_folder, "hub_url": hub.url, "hub_downloads": True}
    return load_settings(None, None, given | changes)


def find(chosen: WorkerSettings) -> Path:
    return find_model("text_models", NAME, "text", chosen, fetch=True)


def test_only_what_is_safe_is_downloaded_and_only_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.files |= {"pytorch_model.bin": b"pickle", "modeling.py": b"import os", "merges.txt": b"a"}
    folder = find(settings(hub, tmp_path))
    assert tmp_path in folder.parents
    there = {path.name for path in folder.iterdir()}
    assert there == set(hub.fetched) == {"config.json", "model.safetensors", "merges.txt"}
    assert find(settings(hub, tmp_path, hub_downloads=False)) == folder
    assert len(hub.fetched) == 3
    assert not any(pattern.endswith((".bin", ".pt", ".ckpt", ".py")) for pattern in SAFE_FILES)


def test_nothing_is_downloaded_unasked(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="hub_downloads is off"):
        find(settings(hub, tmp_path, hub_downloads=False))
    assert hub.fetched == []


def test_a_model_that_is_too_large_is_not_begun(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="has 65 bytes, more than hub_download_bytes_max"):
        find(settings(hub, tmp_path, hub_download_bytes_max=64))
    assert hub.fetched == []


def test_a_model_of_pickles_is_not_downloaded(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = b"pickle"
    with pytest.raises(RuntimeError, match=r"no \.safetensors weights on the hub"):
        find(settings(hub, tmp_path))
    assert hub.fetched == []


def test_weights_that_came_damaged_are_removed(hub: FakeHub, tmp_path: Path) -> None:
    hub.damaged = True
    with pytest.raises(RuntimeError, match="came damaged"):
        find(settings(hub, tmp_path))
    hub.damaged = False
    folder = find(settings(hub, tmp_path))
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_hub_that_is_not_there_is_told(tmp_path: Path) -> None:
    nobody = FakeHub()
    nobody.url = "http://127.0.0.1:9"
    with pytest.raises(RuntimeError, match="text_models: owner/name cannot be downloaded"):
        find(settings(nobody, tmp_path))
