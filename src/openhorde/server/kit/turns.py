# SPDX-License-Identifier: AGPL-3.0-or-later
"""Work for a few threads, for which those who want it take turns."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Crowded(Exception):
    """Too much waits: `of_owner` of this owner, else in all. `maximum` is the bound in pieces of
    work or bytes."""

    def __init__(self, *, of_owner: bool, maximum: int) -> None:
        super().__init__(f"at most {maximum} wait")
        self.of_owner = of_owner
        self.maximum = maximum


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    size_bytes: int
    work: Callable[[], Any]
    done: "asyncio.Future[Any]"


class Turns:
    """Runs work in `threads` threads. Owners take turns, so that nobody waits for all of another's.

    What waits is bounded: `waiting_per_owner_max` pieces of one owner, and `waiting_bytes_max` in
    all.
    """

    def __init__(
        self, name: str, threads: int, *, waiting_per_owner_max: int, waiting_bytes_max: int
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: dict[Hashable, deque[_Piece]] = {}
        self._waiting_bytes = 0
        self._waiting_per_owner_max = waiting_per_owner_max
        self._waiting_bytes_max = waiting_bytes_max

    async def run(self, owner: Hashable, size_bytes: int, work: Callable[[], T]) -> T:
        """What `work` answers, when it is its turn; until then `size_bytes` are held for it. Raises
        Crowded, or what `work` raises. Cancelled before its turn it is not done at all."""
        queue = self._waiting.get(owner, ())
        if len(queue) >= self._waiting_per_owner_max:
            raise Crowded(of_owner=True, maximum=self._waiting_per_owner_max)
        if self._waiting and self._waiting_bytes + size_bytes > self._waiting_bytes_max:
            raise Crowded(of_owner=False, maximum=self._waiting_bytes_max)
        piece = _Piece(size_bytes, work, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(owner, deque()).append(piece)
        self._waiting_bytes += size_bytes
        self._start()
        try:
            answer: T = await piece.done
            return answer
        finally:
            if piece in self._waiting.get(owner, ()):
                self._waiting[owner].remove(piece)
                self._took(owner, piece)

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free and self._waiting:
            owner = next(iter(self._waiting))
            piece = self._waiting[owner].popleft()
            self._took(owner, piece)
            if owner in self._waiting:
                # To the end of the row of owners.
                self._waiting[owner] = self._waiting.pop(owner)
            self._free -= 1
            running = asyncio.get_running_loop().run_in_executor(self._threads, piece.work)
            running.add_done_callback(partial(self._ended, piece))

    def _took(self, owner: Hashable, piece: _Piece) -> None:
        self._waiting_bytes -= piece.size_bytes
        if not self._waiting[owner]:
            del self._waiting[owner]

    def _ended(self, piece: _Piece, ended: "asyncio.Future[Any]") -> None:
        self._free += 1
        error = None if ended.cancelled() else ended.exception()
        if piece.done.done():
            pass  # Nobody waits for it any more.
        elif ended.cancelled():
            piece.done.cancel()
        elif error is not None:
            piece.done.set_exception(error)
        else:
            piece.done.set_result(ended.result())
        self._start()
