# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one caller sends to stop a horde does not stop it: others are answered meanwhile, and the
server's memory and files stay within bounds."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from hostile.attacks import GIVE_UP_SECONDS, Target, assert_field_named, assert_refused
from processes import RunningServer, data_folder, wait_until

from openhorde.server.kit.open_files import raise_open_files
from openhorde.server.store.users import ANONYMOUS_KEY

ASK = "/api/v2/generate/async"
POP = "/api/v2/generate/pop"
BEAT = "/api/v2/status/heartbeat"
MEBIBYTE = 1 << 20
OPEN_FILES = 1024
IDLERS = 1300
HALF_SENT = 40
HALF_BYTES = 12 * MEBIBYTE


class FewFiles(RunningServer):
    """A server that may open no more files than a shell usually lets it."""

    open_files_max = OPEN_FILES


@pytest.fixture(scope="module")
def flooded() -> Iterator[RunningServer]:
    """A server of its own, whose memory nobody else uses."""
    with data_folder() as data, FewFiles(data) as running:
        yield running


@pytest.fixture(scope="module")
def victim(flooded: RunningServer) -> Iterator[Target]:
    """The same as it is attacked."""
    key = flooded.add_user("Mallory", kudos=1_000_000)
    bystanders_key = flooded.add_user("Bystander", kudos=100_000)
    with httpx.Client(base_url=flooded.url, timeout=GIVE_UP_SECONDS) as http:
        yield Target(http, key, bystanders_key, flooded.port)


def peak_bytes(server: RunningServer) -> int:
    """The most memory that the server's process has held since `forget_peak`."""
    status = Path(f"/proc/{server.process_id}/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak(server: RunningServer) -> int:
    """Begin anew; what the process holds now."""
    Path(f"/proc/{server.process_id}/clear_refs").write_text("5", "utf-8")
    return peak_bytes(server)


@pytest.fixture
def grown(flooded: RunningServer, victim: Target) -> Iterator[None]:
    """After the attack a heartbeat is answered, and little memory was needed."""
    before = forget_peak(flooded)
    yield
    assert victim.http.get(BEAT).json()["message"] == "OK"
    assert peak_bytes(flooded) - before < 300 * MEBIBYTE


def filled(beginning: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    """A body of about so many bytes."""
    return beginning + piece * ((size - len(beginning) - len(end)) // len(piece)) + end


UNCLOSED = filled(b"{}" * 60 + b'"', rb"\"", b"", 300_000)
LISTS = filled(b'{"prompt": "x", "trusted_workers": [', b"[],", b"1]}", 24 * MEBIBYTE)
OBJECTS = filled(b'{"prompt": "x", "more": [', b"{},", b"1]}", 24 * MEBIBYTE)
TEXTS = filled(b'{"prompt": "x", "models": [', b'"",', b'""]}', 24 * MEBIBYTE)
WORD = filled(b'{"prompt": "', b"x", b'"}', 20 * MEBIBYTE)
MODELS = json.dumps({"prompt": "x", "models": [f"m{n:06}" for n in range(200_000)]}).encode()


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(
    "body", [UNCLOSED, LISTS, OBJECTS, TEXTS, WORD, MODELS], ids=lambda body: repr(body[:24])
)
@pytest.mark.parametrize("path", [ASK, POP])
def test_bodies_without_a_key_are_not_even_read(victim: Target, path: str, body: bytes) -> None:
    assert_field_named(victim.send(path, body, apikey=""), "apikey")
    assert assert_refused(victim.send(path, body, apikey="nobody's"), 401)["rc"] == "InvalidAPIKey"


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(
    ("body", "statuses", "words"),
    [
        (UNCLOSED, (400, 400), "JSON"),
        (LISTS, (413, 400), "20000"),
        (OBJECTS, (413, 400), "20000"),
        (TEXTS, (413, 400), "20000"),
        (WORD, (413, 400), "100000"),
        (MODELS, (400, 400), "20000"),
    ],
    ids=["unclosed", "lists", "objects", "texts", "word", "models"],
)
def test_bodies_of_known_callers_are_refused_by_their_bounds(
    victim: Target, body: bytes, statuses: tuple[int, int], words: str
) -> None:
    for key, status in zip((ANONYMOUS_KEY, victim.key), statuses, strict=True):
        answer = victim.send(ASK, body, apikey=key)
        refusal = assert_refused(answer, status)
        assert (words if status == 400 else "too large") in str(refusal)


@pytest.mark.usefixtures("grown")
def test_too_many_models_are_refused_by_name(victim: Target) -> None:
    body = json.dumps({"prompt": "x", "models": [f"m{n}" for n in range(10_000)]}).encode()
    answer = victim.send(ASK, body, apikey=ANONYMOUS_KEY)
    assert_field_named(answer, "models")
    assert "1000" in answer.text


@pytest.mark.usefixtures("grown")
def test_a_header_without_end_is_cut_off(victim: Target) -> None:
    piece, size = b"x" * 65_536, 94 * MEBIBYTE
    sent = 0
    with socket.create_connection(("127.0.0.1", victim.port), GIVE_UP_SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        with suppress(ConnectionError):
            while sent < size:
                connection.sendall(piece)
                sent += len(piece)
    # What the system holds on its way was sent, too, but read by nobody.
    assert sent < size // 2


def half_sent(stack: ExitStack, victim: Target, key: str, address: str) -> socket.socket:
    """A connection on which a body stops half-way."""
    connection = stack.enter_context(
        socket.create_connection(("127.0.0.1", victim.port), GIVE_UP_SECONDS)
    )
    head = (
        f"POST {ASK} HTTP/1.1\r\nHost: x\r\napikey: {key}\r\nX-Forwarded-For: {address}\r\n"
        f"Content-Length: {2 * HALF_BYTES}\r\n\r\n"
    )
    connection.sendall(head.encode() + b'{"prompt": "')
    piece = b"x" * MEBIBYTE
    for _ in range(HALF_BYTES // MEBIBYTE):
        connection.sendall(piece)
    return connection


@pytest.mark.usefixtures("grown")
def test_half_sent_bodies_leave_room_for_others(victim: Target) -> None:
    with ExitStack() as stack:
        lying = [half_sent(stack, victim, victim.key, "9.9.9.9") for _ in range(HALF_SENT)]
        refused = 0
        for connection in lying:
            connection.setblocking(False)
            with suppress(BlockingIOError):
                refused += connection.recv(65_536).startswith(b"HTTP/1.1 429 ")
        assert refused >= HALF_SENT // 2
        assert victim.http.get(BEAT).json()["message"] == "OK"
        # Whoever calls from elsewhere is served, even with a large body.
        body = filled(b'{"prompt": "x", "dry_run": true, "more": "', b"x", b'"}', 20 * MEBIBYTE)
        answer = victim.send(ASK, body, apikey=victim.bystanders_key)
        assert answer.status_code == 200, answer.text
    wait_until(
        lambda: victim.send(ASK, body, **{"X-Forwarded-For": "9.9.9.9"}).status_code == 200,
        "what has gone takes no room",
    )


@pytest.mark.usefixtures("grown")
def test_half_sent_bodies_without_a_key_take_no_room(victim: Target) -> None:
    with ExitStack() as stack:
        for _ in range(HALF_SENT):
            connection = half_sent(stack, victim, "", "9.9.9.9")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
        body = filled(b'{"prompt": "x", "dry_run": true, "more": "', b"x", b'"}', 20 * MEBIBYTE)
        answer = victim.send(ASK, body, **{"X-Forwarded-For": "9.9.9.9"})
        assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("grown")
def test_idle_connections_shut_nobody_out(flooded: RunningServer, victim: Target) -> None:
    raise_open_files()
    said = len(flooded.said())
    with ExitStack() as stack:
        for _ in range(IDLERS):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", victim.port), GIVE_UP_SECONDS)
            )
        for _ in range(5):
            assert httpx.get(f"{flooded.url}{BEAT}", timeout=GIVE_UP_SECONDS).status_code == 200
        victim.assert_well()
        files = len(list(Path(f"/proc/{flooded.process_id}/fd").iterdir()))
        assert files < OPEN_FILES
    assert "connections_full" in flooded.said()[said:]
