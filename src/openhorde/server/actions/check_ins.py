# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker reports for work: it is admitted, remembered, and now and then stored."""

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from openhorde.server.actions.lanes import Fitting
from openhorde.server.domain import policy
from openhorde.server.domain.kinds.face import AnyKind, AnyPop
from openhorde.server.domain.kinds.table import kind_of
from openhorde.server.domain.matching import prioritised
from openhorde.server.domain.needs import Offer
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.addresses import is_public_text
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import check_ins
from openhorde.server.store.check_ins import CheckIn, WorkerRecord
from openhorde.server.store.signals import Offered

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

STORE_SECONDS = 30.0
"""A check-in is stored only if the last one is older than this."""

EARLY_STORES_MAX = 6
"""An offer that differs from what is stored is stored at once, within STORE_SECONDS at most so many
times: some workers offer this and that in turn."""

READ_SECONDS = 5.0
"""What others may have changed (maintenance, pause, speed) is read again after this."""

RECENT_SECONDS = 86_400.0
"""A worker that was not online for so long is admitted like a new one."""

ENTRIES_MAX = 20_000


@dataclass(slots=True)
class Entry:
    """A worker that has popped here: its record, its last pop, and which lanes that fits.

    `fitting_favoured` holds for its owner and priority users, who need not pay in advance.
    """

    kind: AnyKind
    record: WorkerRecord
    read_at: float
    stored_at: float
    pop: Any
    models: tuple[str, ...]
    fitting: Fitting
    fitting_favoured: Fitting
    recovered_at: float = 0.0
    """When jobs were last looked for that it does not hold any more."""
    stored: tuple[Offer, int] | None = None
    """The offer and the threads that this process has stored, if no other has since."""
    early_stores: int = 0
    early_since: float = 0.0

    @property
    def offered(self) -> tuple[Offer, int]:
        """What clients are told of it: what it can do, and how much at once."""
        return self.fitting.offer, self.pop.threads

    def is_due(self, now: float) -> bool:
        """Is it time to store what it says?"""
        if now - self.stored_at > STORE_SECONDS:
            return True
        if self.stored == self.offered:
            return False
        if now - self.early_since > STORE_SECONDS:
            self.early_stores, self.early_since = 0, now
        self.early_stores += 1
        return self.early_stores <= EARLY_STORES_MAX


class CheckIns:
    """The workers that one process has seen lately."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[int, str], Entry] = OrderedDict()
        self.edits = 0
        """Grows with every edit: what was read before the last one may be out of date."""

    def find(self, user_id: int, name: str) -> Entry | None:
        """The entry of a worker, if it is known here."""
        return self._entries.get((user_id, name))

    def keep(self, user_id: int, name: str, entry: Entry) -> None:
        """Remember a worker; the one not seen longest is forgotten when there are too many."""
        self._entries[user_id, name] = entry
        self._entries.move_to_end((user_id, name))
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)

    def forget(self, name: str) -> None:
        """Somebody edited a worker: read it again at its next pop."""
        self.edits += 1
        for key in [key for key in self._entries if key[1] == name]:
            del self._entries[key]

    def offered_elsewhere(self, user_id: int, name: str) -> None:
        """Another process has stored what a worker offers: what this one stored is no more."""
        entry = self._entries.get((user_id, name))
        if entry is not None:
            entry.stored = None

    def forget_all(self) -> None:
        """Any worker may have been edited."""
        self.edits += 1
        self._entries.clear()


async def check_in(horde: "Horde", owner: "Account", pop: AnyPop, address: str) -> Entry:
    """Admit a worker that pops, and store what it says every half minute, and when it changes.

    Raises Refusal when the owner may not run it, the name is taken, or it serves nothing known.
    """
    if owner.anonymous:
        raise Refusal("AnonForbiddenWorker")
    if owner.deleted:
        raise Refusal("DeletedUser")
    if owner.flagged:
        raise Refusal("WorkerFlaggedMaintenance")
    now = monotonic()
    name = policy.worker_name(pop.name)
    entry = horde.check_ins.find(owner.id, name)
    if entry is None or now - entry.read_at > READ_SECONDS or entry.pop != pop:
        edits = horde.check_ins.edits
        entry = await _read(horde, owner, pop, name, address, entry, now)
        if edits == horde.check_ins.edits:
            horde.check_ins.keep(owner.id, name, entry)
    if entry.is_due(now):
        if not await _store(horde, owner, entry, address):
            # The name was taken between our look and our insert, or the worker was deleted.
            horde.check_ins.forget(name)
            return await check_in(horde, owner, pop, address)
        entry.stored_at, entry.stored = now, entry.offered
    return entry


async def _read(
    horde: "Horde",
    owner: "Account",
    pop: AnyPop,
    name: str,
    address: str,
    known: Entry | None,
    now: float,
) -> Entry:
    kind = kind_of(pop)
    models = kind.serves(
        pop,
        horde.reference,
        alias=owner.alias,
        customizer=owner.customizer,
        special=owner.special,
    )
    fresh = known is not None and now - known.read_at <= READ_SECONDS
    record = known.record if known and fresh else await _record(horde, owner, pop, name, address)
    if record.kind != kind.name:
        raise Refusal("PolymorphicNameConflict", name=name)
    if record.user_id != owner.id:
        raise Refusal("WrongCredentials", name=name)
    offer = kind.offer(
        pop,
        worker_id=str(record.id),
        models=models,
        trusted_owner=owner.trusted,
        speed_things_per_second=record.speed or kind.divisor,
        reference=horde.reference,
    )
    if known and known.fitting.offer == offer:
        fitting, favoured = known.fitting, known.fitting_favoured
    else:
        fitting = Fitting(offer)
        favoured = Fitting(prioritised(offer)) if pop.require_upfront_kudos else fitting
    is_same = known is not None and known.record.id == record.id
    stored_at = known.stored_at if known and is_same else now - record.idle_seconds
    read_at = known.read_at if known and fresh else now
    entry = Entry(kind, record, read_at, stored_at, pop, models, fitting, favoured)
    if known and is_same:
        entry.recovered_at, entry.stored = known.recovered_at, known.stored
        entry.early_stores, entry.early_since = known.early_stores, known.early_since
    return entry


async def _record(
    horde: "Horde", owner: "Account", pop: AnyPop, name: str, address: str
) -> WorkerRecord:
    """The worker as it is stored; one that is new, or comes back after a day, is admitted first."""
    record = await check_ins.worker_by_name(horde.statements, name)
    if record is not None and (record.user_id != owner.id or record.idle_seconds < RECENT_SECONDS):
        return record
    if record is None:
        policy.check_worker_name(name)
    await _admit(horde, owner, kind_of(pop).name, name, address)
    if record is not None:
        return record
    return WorkerRecord(
        id=uuid7(),
        kind=kind_of(pop).name,
        name=name,
        user_id=owner.id,
        bridge_agent=pop.bridge_agent,
        threads=pop.threads,
        maintenance=False,
        maintenance_message=None,
        paused=False,
        speed=None,
        age_seconds=0.0,
        idle_seconds=STORE_SECONDS + 1,
    )


async def _admit(horde: "Horde", owner: "Account", kind: str, name: str, address: str) -> None:
    """Raise Refusal where the owner or the address has enough workers."""
    settings = horde.settings
    of_user, of_address = await check_ins.count_workers(
        horde.statements, owner.id, address, kind, name
    )
    policy.check_worker_count(
        policy.WorkerCaps(
            per_owner=settings.workers_per_owner,
            per_trusted_owner=settings.workers_per_trusted_owner,
            per_address=settings.workers_per_address if is_public_text(address) else 0,
        ),
        trusted=owner.trusted,
        invited=owner.worker_invited,
        owned=of_user,
        from_same_ip=of_address,
        invite_only=False,
    )


async def _store(horde: "Horde", owner: "Account", entry: Entry, address: str) -> bool:
    """Store a check-in; False when the name does not stand for this worker any more."""
    record = entry.record
    said = CheckIn(
        worker_id=record.id,
        kind=record.kind,
        name=record.name,
        user_id=owner.id,
        bridge_agent=entry.pop.bridge_agent,
        threads=entry.pop.threads,
        models=entry.models,
        offer=msgspec.to_builtins(entry.pop),
        address=address,
    )
    found, is_new = await check_ins.check_in(horde.statements, said)
    if found != record.id:
        return False
    if is_new and not (record.maintenance or record.paused):
        # All processes tell clients what is possible.
        horde.workforce.forget()
        horde.signals.tell_others(Offered(owner.id, record.name))
    return True
