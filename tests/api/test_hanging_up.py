# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker that hangs up keeps no job, however and whenever it does."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from uuid import UUID

import msgspec
import pytest
import uvicorn
from cast import Cast, alchemy_pop, ask, ask_forms, delivery, image_pop
from starlette.types import Receive, Scope, Send
from text_cast import ask_text, text_pop

from openhorde.server.actions import users, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.waiting import Waiters
from openhorde.server.api.app import Application, create_app
from openhorde.server.api.patience import PatientProtocol
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import work as stored
from openhorde.server.store.users import Account

BEAT = b"GET /api/v2/status/heartbeat HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Kind:
    """A kind of work: where workers ask for it, what they say, and how one job is asked for."""

    path: str
    pop: Callable[..., Any]
    ask: Callable[[Horde, Account], Awaitable[UUID]]


KINDS = {
    "image": Kind("/api/v2/generate/pop", image_pop, ask),
    "text": Kind("/api/v2/generate/text/pop", text_pop, ask_text),
    "alchemy": Kind(
        "/api/v2/interrogate/pop",
        lambda **changes: alchemy_pop("caption", **changes),
        lambda horde, account: ask_forms(horde, account, "caption"),
    ),
}


def finish(connection: socket.socket) -> None:
    """Say nothing more, and listen on."""
    connection.shutdown(socket.SHUT_WR)


def close(connection: socket.socket) -> None:
    """Leave."""
    connection.close()


def reset(connection: socket.socket) -> None:
    """Leave at once, whatever is still on its way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@dataclass
class Gate:
    """A place where a call stops until it may go on."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_through(self) -> None:
        """Tell that somebody has come, and wait."""
        self.reached.set()
        await self.opened.wait()

    def shut(self) -> None:
        """The next one has to wait again."""
        self.reached.clear()
        self.opened.clear()


class Server:
    """A server in this event loop."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._begun = asyncio.Event()
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http=PatientProtocol,
            log_config=None,
            lifespan="off",
            ws="none",
        )
        self.uvicorn = uvicorn.Server(config)
        self.port = 0

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun.set()
        await self._app(scope, receive, send)

    def connect(self) -> socket.socket:
        """A new connection."""
        self._begun.clear()
        return socket.create_connection(("127.0.0.1", self.port))

    async def begun(self) -> None:
        """A call has been begun since the last connection was made."""
        await self._begun.wait()

    async def done(self) -> None:
        """All calls that were begun are over."""
        while tasks := list(self.uvicorn.server_state.tasks):
            await asyncio.wait(tasks)


@pytest.fixture
async def server(horde: Horde) -> AsyncIterator[Server]:
    """A server of this horde."""
    server = Server(create_app(horde))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        serving = asyncio.create_task(server.uvicorn._serve([listener]))
        yield server
        server.uvicorn.should_exit = True
        await serving


@pytest.fixture
async def alice(cast: Cast) -> Account:
    """Pays."""
    return await cast.alice()


@pytest.fixture
async def bob(cast: Cast) -> Account:
    """Works, and stays."""
    return await cast.bob()


@pytest.fixture
async def key(horde: Horde) -> str:
    """The key of an owner of workers."""
    added = await users.add_user(horde.statements, horde.salt, username="Worker", trusted=True)
    return added.api_key


def said(kind: Kind, key: str, **changes: Any) -> bytes:
    """A pop as it travels."""
    body = msgspec.json.encode(kind.pop(**changes))
    head = f"POST {kind.path} HTTP/1.1\r\nHost: x\r\napikey: {key}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


async def states(horde: Horde) -> list[str]:
    """Where the jobs are."""
    return [row["state"] for row in await horde.pool.fetch("select state from jobs")]


async def alive(connection: socket.socket) -> None:
    """A call on a connection is answered, and the connection stays."""
    connection.sendall(BEAT)
    heard = b""
    while not heard.endswith(b"}"):
        heard += await asyncio.get_running_loop().run_in_executor(None, connection.recv, 65536)


PARTS = ("alone", "after another call", "before another call")


async def say(connection: socket.socket, part: str, pop: bytes) -> None:
    """Send a pop, be it on a connection that has been used or with another call behind it."""
    if part == "after another call":
        await alive(connection)
    connection.sendall(pop + BEAT if part == "before another call" else pop)


async def ask_once(horde: Horde, alice: Account, kind: Kind) -> None:
    """One job waits."""
    await kind.ask(horde, alice)
    assert await states(horde) == ["waiting"]


async def is_taken_at_once(horde: Horde, bob: Account, kind: Kind) -> bool:
    """Does another worker get the job at its first pop?"""
    popped = await work.pop(horde, bob, kind.pop(name="another"), "127.0.0.1")
    return len(popped.jobs) == 1


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_who_hangs_up_right_after_asking_keeps_nothing(
    horde: Horde, alice: Account, bob: Account, server: Server, key: str, kind: Kind
) -> None:
    await ask_once(horde, alice, kind)
    whole = said(kind, key)
    for leave, part in product((finish, close), (whole, whole + BEAT, BEAT + whole, whole[:-9])):
        for _ in range(3):
            with server.connect() as connection:
                connection.sendall(part)
                leave(connection)
                await server.begun()
                await server.done()
            assert await states(horde) == ["waiting"]
    assert await is_taken_at_once(horde, bob, kind)


@pytest.mark.parametrize("stage", ["claimed", "written"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_who_hangs_up_before_the_answer_is_out_keeps_nothing(
    horde: Horde,
    alice: Account,
    bob: Account,
    server: Server,
    key: str,
    kind: Kind,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    await ask_once(horde, alice, kind)
    if stage == "claimed":
        for name in ("claim", "claim_apart"):
            claim = getattr(stored, name)

            async def claim_and_stop(*arguments: Any, claim: Any = claim) -> Any:
                found = await claim(*arguments)
                await gate.pass_through()
                return found

            monkeypatch.setattr(stored, name, claim_and_stop)
    else:
        send = Application._send

        async def stop_and_send(app: Application, scope: Scope, *others: Any) -> None:
            if scope["path"] == kind.path:
                await gate.pass_through()
            await send(app, scope, *others)

        monkeypatch.setattr(Application, "_send", stop_and_send)
    for leave, part in product((finish, close, reset), PARTS):
        gate.shut()
        with server.connect() as connection:
            await say(connection, part, said(kind, key))
            await gate.reached.wait()
            assert await states(horde) == ["running"]
            leave(connection)
            gate.opened.set()
            await server.done()
        assert await states(horde) == ["waiting"], (leave, part)
    assert await is_taken_at_once(horde, bob, kind)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_who_hangs_up_while_held_gets_nothing_more(
    horde: Horde,
    alice: Account,
    bob: Account,
    server: Server,
    key: str,
    kind: Kind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = asyncio.Event()
    answer_missed = Waiters._answer_missed

    def hold(waiters: Waiters, *arguments: Any) -> None:
        answer_missed(waiters, *arguments)
        held.set()

    monkeypatch.setattr(Waiters, "_answer_missed", hold)
    for leave, part in product((finish, close, reset), PARTS):
        held.clear()
        connection = server.connect()
        await say(connection, part, said(kind, key, wait=25))
        await held.wait()
        leave(connection)
        await ask_once(horde, alice, kind)
        assert await is_taken_at_once(horde, bob, kind), (leave, part)
        await horde.pool.execute("delete from jobs")
        horde.waiters.close()
        await server.done()
        horde.waiters._closed = False
        connection.close()


WAYS_TO_END = {
    "HTTP/1.0": (b"HTTP/1.0\r\n", b""),
    "Connection: close": (b"HTTP/1.1\r\n", b"Connection: close\r\n"),
    "Connection: keep-alive": (b"HTTP/1.1\r\n", b"Connection: keep-alive\r\n"),
}


@pytest.mark.parametrize("way", WAYS_TO_END.values(), ids=WAYS_TO_END)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_who_leaves_with_the_answer_keeps_what_it_got(
    horde: Horde,
    alice: Account,
    server: Server,
    key: str,
    kind: Kind,
    way: tuple[bytes, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = Gate()
    send = Application._send

    async def send_and_stop(app: Application, scope: Scope, *others: Any) -> None:
        await send(app, scope, *others)
        await written.pass_through()

    monkeypatch.setattr(Application, "_send", send_and_stop)
    version, header = way
    pop = said(kind, key).replace(b"HTTP/1.1\r\n", version + header, 1)
    await ask_once(horde, alice, kind)
    with server.connect() as connection:
        connection.sendall(pop)
        await written.reached.wait()
        assert await asyncio.get_running_loop().run_in_executor(None, connection.recv, 65536)
    written.opened.set()
    await server.done()
    assert await states(horde) == ["running"]


async def test_who_stays_keeps_what_it_gets(
    horde: Horde, alice: Account, server: Server, key: str
) -> None:
    kind = KINDS["image"]
    for part in PARTS:
        await ask_once(horde, alice, kind)
        with server.connect() as connection:
            await say(connection, part, said(kind, key))
            assert await asyncio.get_running_loop().run_in_executor(None, connection.recv, 65536)
            await server.done()
            assert await states(horde) == ["running"], part
        await horde.pool.execute("delete from jobs")


async def test_a_result_of_who_has_the_job_no_more_is_refused(
    horde: Horde, cast: Cast, alice: Account, bob: Account
) -> None:
    """A worker's job went back into the queue at another process, and another worker has it."""
    await ask_once(horde, alice, KINDS["image"])
    popped = await work.pop(horde, bob, image_pop(), "127.0.0.1")
    await stored.return_jobs(horde.statements, popped.jobs)
    dora = await cast.make("Dora", trusted=True)
    (again,) = (await work.pop(horde, dora, image_pop(name="another"), "127.0.0.1")).jobs
    entry = horde.check_ins.find(bob.id, "Bob's machine")
    assert entry is not None
    horde.assignments.keep(popped.jobs, entry.record, "")
    with pytest.raises(Refusal, match="AbortedGen"):
        await work.deliver(horde, bob, delivery(again.id))
    assert await work.deliver(horde, dora, delivery(again.id)) > 0
