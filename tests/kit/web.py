# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server on 127.0.0.1 plays the public internet; 127.0.0.2 plays our own network."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network

OUTSIDE = [ip_network("127.0.0.1/32")]
BODY = b"picture" * 1000

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Web:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Answer] = {}
        self.requests: list[bytes] = []
        self.visits: list[asyncio.Task[None]] = []
        self.port = 0
        self.body_bytes = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.visits.append(task)
        # SSLError: who does not trust the certificate leaves in the middle of the greeting.
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                request += await reader.readexactly(self.body_bytes)
                self.requests.append(request)
                answer = self.answers[request.split(b" ")[1].decode()]
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
            finally:
                writer.close()
                await writer.wait_closed()

    @asynccontextmanager
    async def open(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        async with await asyncio.start_server(self.handle, "127.0.0.1", 0, ssl=tls) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield
        await asyncio.wait_for(asyncio.gather(*self.visits), 10)


class Names:
    """A resolver with a book of its own, which counts what it is asked."""

    def __init__(self, **book: list[str]) -> None:
        self.book = book
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.book:
            raise OSError("unknown")
        return self.book[host]


def response(body: bytes = BODY, status: str = "200 OK", **headers: str) -> bytes:
    facts = {"content_length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in facts.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def redirect(location: str) -> bytes:
    return response(b"", "302 Found", location=location)
