# SPDX-License-Identifier: AGPL-3.0-or-later
"""Login tries: a few wrong ones are free, then those from the same address are taken slowly.

The right password passes all the same, if later: whoever guesses cannot lock the owner out, though
they share an address.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

FREE_TRIES = 5
PAUSE_SECONDS = 1.0
FORGET_SECONDS = 900.0
WAITING_MAX = 16
ADDRESSES_MAX = 1024


class Crowded(Exception):
    """Too many tries from this address wait for their turn."""


@dataclass
class _Guesser:
    wrong: int = 0
    last_at: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tries:
    """Counts wrong passwords by address. `clock` gives seconds that never go back."""

    def __init__(
        self,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """A try from this address is checked inside: after too many wrong ones each waits for its
        turn and then for a pause. Raises Crowded."""
        guesser = self._guessers.get(address)
        if guesser is None or guesser.wrong < FREE_TRIES or self._is_past(guesser):
            yield
            return
        if guesser.waiting >= WAITING_MAX:
            raise Crowded
        guesser.waiting += 1
        try:
            async with guesser.turn:
                await self._pause(PAUSE_SECONDS)
                yield
        finally:
            guesser.waiting -= 1

    def failed(self, address: str) -> None:
        """A wrong password came from here."""
        guesser = self._guessers.pop(address, None)
        if guesser is None or self._is_past(guesser):
            guesser = _Guesser()
        guesser.wrong += 1
        guesser.last_at = self._clock()
        self._guessers[address] = guesser
        while len(self._guessers) > ADDRESSES_MAX:
            self._guessers.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The right password came from here. What others tried from here is still counted."""
        guesser = self._guessers.get(address)
        if guesser is not None:
            guesser.wrong -= 1

    def _is_past(self, guesser: _Guesser) -> bool:
        return self._clock() - guesser.last_at > FORGET_SECONDS
