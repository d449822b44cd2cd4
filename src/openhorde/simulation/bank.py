# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos in the simulation: the transfers of the server, folded once a minute as by its task."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from openhorde.server.domain import ledger
from openhorde.server.domain.bridges import bridge_multiplier
from openhorde.server.domain.requester import floor_milli
from openhorde.simulation.catalogue import Shape
from openhorde.simulation.population import Machine, User


class Bank:
    """All accounts. Balances are those of the last fold."""

    def __init__(self, users: Iterable[User]) -> None:
        self._ids = 0
        self._pending: list[ledger.Transfer] = []
        self._balances: dict[int, int] = {}
        self._floors: dict[int, int] = {}
        for user in users:
            floor = floor_milli(anonymous=user.anonymous, pseudonymous=False)
            self._floors[ledger.balance_account(user.id)] = floor
            self._pending += ledger.grant(self._id(), user.id, user.balance_milli)
        self.fold()

    def balance_milli(self, user: User) -> int:
        """What a user has."""
        return self._balances.get(ledger.balance_account(user.id), 0)

    def spendable_milli(self, user: User) -> int:
        """What of it may be spent: the part above the floor."""
        account = ledger.balance_account(user.id)
        return self._balances.get(account, 0) - self._floors.get(account, 0)

    def accepted(self, user: User, shape: Shape) -> None:
        """A request was queued."""
        self._pending += ledger.activate(self._id(), user.id, shape.activation_milli)

    def delivered(self, user: User, shape: Shape, machine: Machine) -> None:
        """A job was done: its price moves from the user to the machine's owner."""
        self._pending += ledger.deliver(
            self._id(),
            UUID(int=0),
            payer=user.id,
            owner=machine.owner,
            owner_trusted=True,
            reward_milli=shape.reward_milli,
            price_milli=shape.price_milli,
            tax_milli=shape.tax_milli,
            censored=False,
            bridge_multiplier=bridge_multiplier(machine.bridge_agent),
        )

    def fold(self) -> None:
        """Apply what has been booked since the last time."""
        transfers: Sequence[ledger.Transfer] = self._pending
        self._pending = []
        self._balances = ledger.fold(self._balances, {}, transfers, self._floors).balances

    def total_milli(self) -> int:
        """The sum over all accounts: zero."""
        return ledger.total(self._balances)

    def _id(self) -> UUID:
        self._ids += 1
        return UUID(int=self._ids)
