# SPDX-License-Identifier: AGPL-3.0-or-later
"""Login tries: a few are free, then whoever guesses waits."""

from collections import OrderedDict
from collections.abc import Callable

FREE_TRIES = 5
PAUSE_SECONDS = 15.0
PAUSE_SECONDS_MAX = 900.0
ADDRESSES_MAX = 1024


class Tries:
    """Counts wrong passwords by address. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def pause_seconds(self, address: str) -> float:
        """How long this address has to wait before its next try counts; 0 when it need not."""
        wrong, last_at = self._wrong.get(address, (0, 0.0))
        if wrong < FREE_TRIES:
            return 0.0
        pause_seconds = min(PAUSE_SECONDS * 2.0 ** (wrong - FREE_TRIES), PAUSE_SECONDS_MAX)
        return max(0.0, last_at + pause_seconds - self._clock())

    def failed(self, address: str) -> None:
        """A wrong password came from here."""
        wrong, _ = self._wrong.pop(address, (0, 0.0))
        self._wrong[address] = (wrong + 1, self._clock())
        while len(self._wrong) > ADDRESSES_MAX:
            self._wrong.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The right password came from here."""
        self._wrong.pop(address, None)
