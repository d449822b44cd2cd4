# SPDX-License-Identifier: AGPL-3.0-or-later
"""Wherever a server stands: on both families of addresses, behind a proxy, below a path."""

import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from cast import AGENT, picture_bytes
from processes import RunningServer, data_folder, run_horde

from openhorde.client.blocking import Horde

LINK = re.compile(r'(?:href|action)="([^"#]+)"')
POP = {
    "name": "Bob's machine",
    "models": ["any"],
    "bridge_agent": AGENT,
    "max_pixels": 4194304,
}
ASK = {"prompt": "x", "models": ["any"], "params": {"width": 64, "height": 64, "steps": 1}}
PREFIX = "/horde"


class _Handler(BaseHTTPRequestHandler):
    """Passes calls below PREFIX on to a server, with that part of the path or without it."""

    server: "Proxy"
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        if not self.path.startswith(PREFIX):
            self.send_error(404)
            return
        path = self.path.removeprefix(PREFIX) if self.server.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = dict(self.headers.items()) | {"X-Forwarded-For": "203.0.113.7"}
        headers["Host"] = "the-proxy-says-nothing.example"
        if self.server.tells:
            headers["X-Forwarded-Host"] = self.headers["Host"]
            headers["X-Forwarded-Prefix"] = PREFIX
        answer = httpx.request(
            self.command, self.server.target + path, headers=headers, content=body, timeout=60
        )
        self.send_response(answer.status_code)
        for name in ("Content-Type", "Content-Security-Policy"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def __getattr__(self, name: str) -> Any:
        """All methods are passed on alike."""
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Proxy(ThreadingHTTPServer):
    """A reverse proxy; `url` is what the outside calls, `target` where the calls go."""

    def __init__(self, *, strips: bool, tells: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.strips, self.tells = strips, tells
        self.url = f"http://127.0.0.1:{self.server_port}{PREFIX}"
        self.target = ""


@contextmanager
def standing_behind(*, strips: bool, tells: bool) -> Iterator[tuple[Proxy, RunningServer]]:
    """A server behind a proxy. Either it or the operator says how the outside calls."""
    with data_folder() as data, Proxy(strips=strips, tells=tells) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        settings = {} if tells else {"public_url": proxy.url}
        try:
            with RunningServer(data, **settings) as server:
                proxy.target = server.url
                yield proxy, server
        finally:
            proxy.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """Two processes that listen on all addresses of this machine."""
    with data_folder() as data, RunningServer(data, host="::", processes="2") as running:
        yield running


def roots(url: str, key: str) -> set[str]:
    """Where the links of a job lead, for a worker that calls this address."""
    with httpx.Client(base_url=url, headers={"apikey": key}, timeout=60) as http:
        asked = http.post("/api/v2/generate/async", json=ASK)
        assert asked.status_code == 202, asked.text
        job = http.post("/api/v2/generate/pop", json=POP).json()
        assert job["id"], job
        uploaded = http.put(job["r2_upload"], content=picture_bytes())
        assert uploaded.status_code == 200, uploaded.text
        done = {"id": job["id"], "generation": "R2", "seed": 1}
        http.post("/api/v2/generate/submit", json=done).raise_for_status()
        shown = http.get(f"/api/v2/generate/status/{asked.json()['id']}").json()
        picture = shown["generations"][0]["img"]
        assert http.get(picture).status_code == 200
        return {link.partition("/blobs/")[0] for link in (job["r2_upload"], picture)}


def test_both_families_are_served_and_links_lead_to_where_each_came(server: RunningServer) -> None:
    key = server.add_user("Bob", kudos=1000)
    for host in ("127.0.0.1", "[::1]", "localhost", "127.0.0.2"):
        url = f"http://{host}:{server.port}"
        assert roots(url, key) == {url}
    # A name that anybody may write leads nowhere but back to the address that was called.
    answer = httpx.get(server.url, headers={"Host": "evil.example"}, timeout=60)
    assert "evil.example" not in answer.text
    assert f"{server.url}/api/v2" in answer.text
    assert answer.headers["cache-control"] == "no-store"


def walk(url: str) -> set[str]:
    """All that the pages link to, from page to page; each must be there, below the same path."""
    seen, ahead = set(), [f"{url}/", f"{url}/nothing/here"]
    while ahead:
        here = ahead.pop()
        seen.add(here)
        answer = httpx.get(here, headers={"Accept": "text/html"}, timeout=60)
        assert (answer.status_code == 200) is not here.endswith("/nothing/here"), here
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for link in LINK.findall(answer.text):
            if link.startswith("data:"):
                continue
            there = urljoin(here, link)
            assert there.startswith(f"{url}/"), f"{here} leads to {link}"
            if there not in seen and there not in ahead:
                ahead.append(there)
    return {page.removeprefix(url) for page in seen}


@pytest.mark.parametrize(("strips", "tells"), [(True, True), (True, False), (False, False)])
def test_every_link_below_a_path_leads_to_a_page(strips: bool, tells: bool) -> None:
    with standing_behind(strips=strips, tells=tells) as (proxy, server):
        url = proxy.url
        pages = walk(url)
        assert pages >= {"/", "/register", "/api", "/terms", "/privacy", "/source"}
        assert pages >= {"/api/openapi.json", "/api/swagger.json"}
        registered = httpx.post(f"{url}/register", data={"username": "Ann"}, timeout=60)
        assert f'href="{PREFIX}/api"' in registered.text
        openapi = httpx.get(f"{url}/api/openapi.json", timeout=60).json()
        assert openapi["servers"] == [{"url": PREFIX}]
        swagger = httpx.get(f"{url}/api/swagger.json", timeout=60).json()
        assert swagger["basePath"] == f"{PREFIX}/api"
        info = httpx.get(f"{url}/.well-known/serviceinfo", timeout=60).json()
        assert info["api"]["aihorde"]["base_url"] == f"{url}/api/v2"
        assert info["api"]["aihorde"]["rel_url"] == f"{PREFIX}/api/v2"
        key = server.add_user("Bob", kudos=1000)
        assert roots(url, key) == {url}
        with Horde(url, key) as horde:
            assert horde.heartbeat().message == "OK"


def test_nobody_else_looks_into_the_data() -> None:
    with data_folder() as outer:
        outer.chmod(0o755)
        data = outer / "data"
        run_horde("user", "add", "Ann", "--data", str(data))
        # As root the database's own user passes through, without seeing what else there is.
        assert stat.S_IMODE(data.stat().st_mode) in (0o700, 0o701)
        # Who has opened a folder to others knows why.
        data.chmod(0o755)
        with RunningServer(data):
            pictures = data / "pictures"
            assert stat.S_IMODE(pictures.stat().st_mode) == 0o700
            assert stat.S_IMODE(data.stat().st_mode) == 0o755
