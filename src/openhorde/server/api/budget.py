# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many bytes of bodies one process holds, shared fairly among the addresses that send them."""

from collections import Counter

from openhorde.server.kit.addresses import network

BODY_BYTES_HELD_MAX = 256 << 20
RETRY_SECONDS = 5


class BodiesTooMany(Exception):
    """No more bodies fit into memory now. `of_address`: too many are from the caller's address."""

    def __init__(self, *, of_address: bool) -> None:
        super().__init__(of_address)
        self.of_address = of_address


class BodyBudget:
    """Bytes of bodies that have come in, whole or in part, of calls that have not ended.

    An address may hold as many as are left free by all. So one alone has half, two have a third
    each, and whoever comes next always finds room.
    """

    def __init__(self, bytes_max: int = BODY_BYTES_HELD_MAX) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self._held: Counter[str] = Counter()

    def take(self, address: str, size: int) -> None:
        """Hold `size` more bytes from an address. Raises BodiesTooMany; then none are held."""
        if not size:
            return
        who = network(address)
        free = self.bytes_max - self.bytes_held - size
        if self._held[who] + size > free:
            raise BodiesTooMany(of_address=self._held[who] > 0)
        self._held[who] += size
        self.bytes_held += size

    def give_back(self, address: str, size: int) -> None:
        """Hold `size` bytes from an address no longer."""
        if not size:
            return
        who = network(address)
        self._held[who] -= size
        self.bytes_held -= size
        if not self._held[who]:
            del self._held[who]
