# SPDX-License-Identifier: AGPL-3.0-or-later
"""The connections of one process, bounded in all and per address."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import structlog

from openhorde.server.kit.addresses import network

PLACES_OF_ADDRESS = 1_000
TOLD_AGAIN_SECONDS = 60.0

_log = structlog.get_logger("openhorde.places")


class Guest(Protocol):
    """A connection that can be ended."""

    def end(self) -> None:
        """Close it."""


class _Party:
    """The connections from one address; those that idle, longest idle first."""

    __slots__ = ("idle", "size")

    def __init__(self) -> None:
        self.size = 0
        self.idle: OrderedDict[Guest, None] = OrderedDict()


class Places:
    """Who is connected. A connection idles while no call on it is being served.

    Where a place is lacking, the longest idle connection is ended to make room: one of the same
    address when that has too many, one of the address with the most idle ones when the process has
    too many. Only where nobody idles is a newcomer turned away.
    """

    def __init__(
        self,
        places: int,
        *,
        of_address: int = PLACES_OF_ADDRESS,
        is_many: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`is_many` tells of which addresses many callers come, such as a proxy's: these have no
        bound of their own."""
        self._places = places
        self._of_address = of_address
        self._is_many = is_many
        self._parties: dict[str, _Party] = {}
        self._taken = 0
        self._told_at = -TOLD_AGAIN_SECONDS

    @property
    def taken(self) -> int:
        """How many connections there are."""
        return self._taken

    def come(self, guest: Guest, address: str) -> bool:
        """A connection is made; False where it must be ended, as there is no place for it."""
        who = network(address)
        party = self._parties.setdefault(who, _Party())
        room = True
        if party.size >= self._of_address and not self._is_many(address):
            room = self._make_room(party)
        elif self._taken >= self._places:
            self._tell(who)
            room = self._make_room(max(self._parties.values(), key=lambda each: len(each.idle)))
        party.size += 1
        self._taken += 1
        party.idle[guest] = None
        return room

    def work(self, guest: Guest, address: str) -> None:
        """A call has begun on it."""
        self._parties[network(address)].idle.pop(guest, None)

    def rest(self, guest: Guest, address: str) -> None:
        """Its call has ended."""
        self._parties[network(address)].idle[guest] = None

    def leave(self, guest: Guest, address: str) -> None:
        """The connection is gone."""
        who = network(address)
        party = self._parties[who]
        party.idle.pop(guest, None)
        party.size -= 1
        self._taken -= 1
        if not party.size:
            del self._parties[who]

    def _make_room(self, party: _Party) -> bool:
        if not party.idle:
            return False
        guest, _ = party.idle.popitem(last=False)
        guest.end()
        return True

    def _tell(self, newcomer: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_AGAIN_SECONDS:
            self._told_at = now
            who, party = max(self._parties.items(), key=lambda each: each[1].size)
            _log.warning(
                "connections_full",
                open=self._taken,
                most_from=who,
                of_it=party.size,
                newcomer=newcomer,
                hint="idle ones are ended; raise the limit of open files (ulimit -n, LimitNOFILE)",
            )
