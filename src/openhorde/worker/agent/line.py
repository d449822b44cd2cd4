# SPDX-License-Identifier: AGPL-3.0-or-later
"""The line on which a worker waits for work, and that it can hang up without losing any."""

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

import httpx

from openhorde.incoming.answers import bounded_client


class Line:
    """One connection, for one call at a time.

    To hang up ends only the sending half: a horde that still holds the call sees that nobody waits
    and gives nothing out, while an answer that is on its way already is still heard.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._client = self._open()
        self._stream: Any = None
        self.hung_up = False
        """Whether no answer is wanted any more."""

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def post(self, url: str, content: bytes, seconds_max: float) -> httpx.Response:
        """Send JSON and wait for the answer. Raises httpx.HTTPError, after a hang-up too."""
        if self.hung_up:
            await self._client.aclose()
            self._client, self.hung_up = self._open(), False
        return await self._client.post(
            url,
            content=content,
            headers={"Content-Type": "application/json"},
            timeout=seconds_max,
            extensions={"trace": self._trace},
        )

    def hang_up(self) -> None:
        """Let the other side know that no answer is wanted any more."""
        self.hung_up = True
        connected = self._stream.get_extra_info("socket") if self._stream is not None else None
        if connected is None:
            return
        # Event loops hand out sockets of their own kinds; not all of these can be shut down.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(connected.fileno(), connected.family, connected.type) as plain,
        ):
            plain.shutdown(socket.SHUT_WR)

    def _open(self) -> httpx.AsyncClient:
        return bounded_client(headers=self._headers, limits=httpx.Limits(max_connections=1))

    async def _trace(self, name: str, facts: dict[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            self._stream = facts["return_value"]
