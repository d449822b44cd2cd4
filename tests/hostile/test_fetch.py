# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures by URL: our server must not lend anybody its place in the network."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from hostile.attacks import Target, assert_refused
from hostile.pictures import png, png_of_zeros
from processes import RunningServer, data_folder

ALLOWED, FORBIDDEN = "127.0.0.1", "127.0.0.2"
LARGE = 5000 * 1024 + 1


class Pictures(BaseHTTPRequestHandler):
    """A web server of pictures and traps; it notes who was asked for what."""

    asked: list[str]

    def do_GET(self) -> None:
        """Serve what the path names."""
        host = str(self.headers["Host"])
        self.asked.append(f"{host.partition(':')[0]}{self.path}")
        port = host.partition(":")[2]
        bodies = {"/red.png": png(), "/large": b"x" * LARGE, "/text": b"text", "/nothing": b""}
        bodies["/bomb.png"] = png_of_zeros(20_000) if self.path == "/bomb.png" else b""
        targets = {
            "/to-allowed": "/red.png",
            "/to-forbidden": f"http://{FORBIDDEN}:{port}/red.png",
            "/to-metadata": "http://169.254.169.254/latest/meta-data",
            "/to-file": "file:///etc/passwd",
            "/for-ever": "/for-ever",
        }
        if self.path in targets:
            self.send_response(302)
            self.send_header("Location", targets[self.path])
            self.end_headers()
            return
        body = bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pictures() -> Iterator[ThreadingHTTPServer]:
    """The web server, on all of our own addresses."""
    Pictures.asked = []
    with ThreadingHTTPServer(("0.0.0.0", 0), Pictures) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def open_server() -> Iterator[RunningServer]:
    """A server that may fetch from one address of this machine."""
    with data_folder() as data, RunningServer(data, fetch_allow=f"{ALLOWED}/32") as running:
        yield running


@pytest.fixture
def fetching(open_server: RunningServer) -> Iterator[Target]:
    """That server under attack."""
    with httpx.Client(base_url=open_server.url, timeout=60) as http:
        target = Target(http, "0000000000", "0000000000", open_server.port)
        yield target
        asked = target.ask()
        assert asked.status_code == 202
        http.delete(f"/api/v2/generate/status/{asked.json()['id']}")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "0.0.0.0",
        "localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fd00::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "127.0.0.1.",
        "\u2460\u2461\u2466.0.0.1",
    ],
)
def test_private_addresses_are_not_asked(
    target: Target, pictures: ThreadingHTTPServer, host: str
) -> None:
    Pictures.asked.clear()
    url = f"http://{host}:{pictures.server_port}/red.png"
    for field in ("source_image", "source_mask"):
        changes = {"source_image": "x"} | {field: url}
        body = assert_refused(target.ask(**changes), 400)
        assert "source_" in body["message"]
    assert Pictures.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///red.png",
        "http://user:word@127.0.0.1/red.png",
        "http://127.0.0.1:22/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        "http://exa mple/",
        "http://[::1/",
        "https://\0/",
        "http://" + "a" * 300 + "/",
        "http://" + "a." * 2000,
        "http://x/" + "y" * 5000,
        "http://\u202e/",
        "https://xn--/",
        "http://%31%32%37.0.0.1/",
    ],
    ids=lambda url: url[:40],
)
def test_urls_that_are_none_are_refused(target: Target, url: str) -> None:
    assert_refused(target.ask(source_image=url), 400)


@pytest.mark.parametrize("path", ["/red.png", "/to-allowed"])
def test_an_allowed_address_is_asked(
    fetching: Target, pictures: ThreadingHTTPServer, path: str
) -> None:
    answer = fetching.ask(source_image=f"http://{ALLOWED}:{pictures.server_port}{path}")
    assert answer.status_code == 202, answer.text
    assert f"{ALLOWED}/red.png" in Pictures.asked
    fetching.http.delete(f"/api/v2/generate/status/{answer.json()['id']}")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/to-forbidden", "SourceImageUrlInvalid"),
        ("/to-metadata", "SourceImageUrlInvalid"),
        ("/to-file", "SourceImageUrlInvalid"),
        ("/for-ever", "ImageValidationFailed"),
        ("/gone.png", "ImageValidationFailed"),
        ("/nothing", "ImageValidationFailed"),
        ("/text", "ImageValidationFailed"),
        ("/large", "SourceImageSizeExceeded"),
        ("/bomb.png", "SourceImageResolutionExceeded"),
    ],
)
def test_what_an_allowed_address_may_not_lead_to(
    fetching: Target, pictures: ThreadingHTTPServer, path: str, code: str
) -> None:
    Pictures.asked.clear()
    answer = fetching.ask(source_image=f"http://{ALLOWED}:{pictures.server_port}{path}")
    body = assert_refused(answer, 400)
    assert body["rc"] == code
    assert "source_image" in body["message"]
    assert {entry.partition("/")[0] for entry in Pictures.asked} == {ALLOWED}


def test_only_the_allowed_address_is_asked(fetching: Target, pictures: ThreadingHTTPServer) -> None:
    Pictures.asked.clear()
    answer = fetching.ask(source_image=f"http://{FORBIDDEN}:{pictures.server_port}/red.png")
    assert assert_refused(answer, 400)["rc"] == "SourceImageUrlInvalid"
    assert Pictures.asked == []
