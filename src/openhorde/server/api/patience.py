# SPDX-License-Identifier: AGPL-3.0-or-later
"""uvicorn's side of a connection, with an end to its patience."""

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from openhorde.server.kit.peers import is_established
from openhorde.server.kit.places import Places

HEAD_BYTES_MAX = 64 << 10
HEADERS_MAX = 100
LINE_BYTES_MAX = 16 << 10
PLACES = 10_000


class _Refused(Exception):
    """The head of a call goes beyond its bounds."""


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection on which the head of a call does not come within `head_seconds`: from
    the connection's beginning, and later from the first byte after an answer. Refuses heads that
    are too large, and keeps to the places that there are for connections.

    uvicorn itself only ends connections that are silent after an answer.

    The state of each call's scope has `has_left`, which says whether the caller has hung up.
    """

    head_seconds: ClassVar[float] = 30.0
    answer_seconds: ClassVar[float] = 30.0
    """A caller who takes nothing of an answer for so long is cut off."""

    def __init__(self, *args: Any, places: Places | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places = places if places is not None else Places(PLACES)
        self._address = ""
        self._served: RequestResponseCycle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._unread_bytes = 0
        self._refusal = HTTPStatus.BAD_REQUEST, "This is no HTTP that can be read."

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has come."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._start_head_timer()
        if not self._places.come(self, self._address):
            self.end()

    def data_received(self, data: bytes) -> None:
        """Something has come: outside of a call it is the beginning of one."""
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_head_timer()
        # Of what belongs to no body the parser keeps all that has no end yet.
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse_head()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """The head of a call begins."""
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["state"]["has_left"] = self.has_left

    def on_url(self, url: bytes) -> None:
        """Some of the first line is there."""
        if len(self.url) + len(url) > LINE_BYTES_MAX:
            sentence = f"The URL is too long: at most {LINE_BYTES_MAX} bytes are read."
            self._refusal = HTTPStatus.REQUEST_URI_TOO_LONG, sentence
            raise _Refused
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there, before a body or after it."""
        self._unread_bytes = 0
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            self._refuse_head()
            raise _Refused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head of a call is there."""
        self._stop_head_timer()
        self._unread_bytes = 0
        self._places.work(self, self._address)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of a body is there."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A call has come as a whole."""
        self._unread_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A call has been answered."""
        if not self.pipeline and not self.transport.is_closing():
            self._places.rest(self, self._address)
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection becomes something else."""
        self._stop_head_timer()
        self._places.leave(self, self._address)
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        self._stop_head_timer()
        self._stop_answer_timer()
        self._places.leave(self, self._address)
        served = self._served
        if served is not None and not served.response_complete:
            # uvicorn tells only the call that was read last.
            served.disconnected = True
            served.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The caller takes an answer more slowly than it is written."""
        super().pause_writing()
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has taken what was written."""
        self._stop_answer_timer()
        super().resume_writing()

    def has_left(self) -> bool:
        """Whether the caller has hung up, even if the event loop has not heard of it yet: while a
        call is served that others stand behind, nothing is read.

        A caller who has only closed its own direction counts as gone. Nothing tells it from one who
        has left, and most who do it have.
        """
        if self.transport.is_closing():
            return True
        return not is_established(self.transport.get_extra_info("socket"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def end(self) -> None:
        """Close the connection; at once if the caller has not taken its last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, as JSON like every other answer."""
        status, sentence = self._refusal
        body = msgspec.json.encode({"message": sentence})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "content-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n"
            "access-control-allow-origin: *\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _refuse_head(self) -> None:
        self._refusal = (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"There are too many headers, or they are too large: at most {HEADERS_MAX} are read,"
            f" with {HEAD_BYTES_MAX} bytes in all.",
        )

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.timeout_keep_alive_handler)

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
