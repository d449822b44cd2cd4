# SPDX-License-Identifier: AGPL-3.0-or-later
"""A stream of Server-Sent Events as an answer.

By hand, because a horde holds thousands of them: a task group, a timer and a queue for each, as the
ready-made responses bring along, are most of what such a stream costs.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

COMMENT = b": still here\n\n"
RETRY_MILLISECONDS = 2000
MEDIA_TYPE = "text/event-stream"

_encode = msgspec.json.Encoder().encode


def event(name: str, data: object, event_id: str | None = None) -> bytes:
    """One event. Without an id the client goes on to remember the last one."""
    # JSON has no bare line ends, which would end the data.
    head = f"event: {name}\n" if event_id is None else f"event: {name}\nid: {event_id}\n"
    return head.encode() + b"data: " + _encode(data) + b"\n\n"


class EventStream(Response):
    """Sends what `parts` yields as it comes, as fast as the caller reads and no faster.

    `on_hang_up` is called when the caller has gone, `on_end` in any case.
    """

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        *,
        on_hang_up: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._on_hang_up = on_hang_up
        self._on_end = on_end
        self.background = None
        self.status_code = 200
        self.raw_headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            # Proxies of the nginx kind would collect the events otherwise.
            (b"x-accel-buffering", b"no"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI asks."""
        listening = asyncio.create_task(self._listen(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": list(self.raw_headers),
                }
            )
            if scope["method"] != "HEAD":
                await self._send(f"retry: {RETRY_MILLISECONDS}\n\n".encode(), send)
                async for part in self._parts:
                    await self._send(part, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            listening.cancel()
            await self._parts.aclose()
            self._on_end()

    async def _send(self, part: bytes, send: Send) -> None:
        await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._on_hang_up()
