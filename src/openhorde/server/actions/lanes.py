# SPDX-License-Identifier: AGPL-3.0-or-later
"""The directory of lanes: what each needs, in which jobs wait, and which of them an offer fits.

All of it is memory of this process. The cost of a look does not grow with the depth of the queue:
an offer is held against each lane once, and the lanes in which jobs wait are kept in the order of
their heads.
"""

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from time import monotonic

from openhorde.server.actions.heads import Heads
from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs, Offer

ASKED_SECONDS_MAX = 3600.0
"""A lane's number is asked for again after this, which keeps the lane from being pruned and shows
it anew to processes that have forgotten it."""

FORGOTTEN_SECONDS = 2 * ASKED_SECONDS_MAX
"""By then every lane that is still in use has been asked for again, with time to spare for requests
that were on their way."""

UNHEARD_MAX = 10_000
"""Beyond this, lanes that jobs joined and that are not known here are left to a full reading."""

LANES_MAX = 30_000
"""Beyond this, lanes in which nothing waits are forgotten; who needs one asks again."""


@dataclass(slots=True)
class Fitting:
    """An offer, and the lanes that it has been found to fit. Lanes never change: it stays true.

    `seen` lanes of the directory's list have been held against it, in the directory's `era`.
    """

    offer: Offer
    lanes: set[int] = field(default_factory=set)
    seen: int = 0
    era: int = 0


class Lanes:
    """What one process knows of the lanes."""

    def __init__(self) -> None:
        self._needs: dict[int, Needs] = {}
        self._numbers: dict[str, tuple[int, float]] = {}
        self._list: list[int] = []
        self.era = 0
        """How often lanes have been forgotten."""
        self._heads = Heads()
        self._joined_at: dict[int, float] = {}
        self._looked_at: dict[int, float] = {}
        self._unheard: set[int] = set()
        self._forgot_at = -FORGOTTEN_SECONDS
        self.newest = 0
        """The highest number known."""

    def __contains__(self, lane: int) -> bool:
        """Is it known what this lane needs?"""
        return lane in self._needs

    def needs(self, lane: int) -> Needs | None:
        """What the jobs of a lane need, if that is known here."""
        return self._needs.get(lane)

    def learn(self, lanes: Mapping[int, Needs]) -> None:
        """Take in what lanes need."""
        for lane, needs in lanes.items():
            if lane not in self._needs:
                self._needs[lane] = needs
                self._list.append(lane)
                self.newest = max(self.newest, lane)
        self._unheard.difference_update(lanes)
        if len(self._needs) > LANES_MAX + len(self._heads):
            self._forget(lanes)

    def unheard(self) -> set[int]:
        """Lanes that jobs have joined and of which it is not known here what they need; each is
        told once."""
        unheard, self._unheard = self._unheard, set()
        return unheard

    @property
    def has_gaps(self) -> bool:
        """May jobs wait in a lane that was known here and has been forgotten?"""
        return monotonic() - self._forgot_at < FORGOTTEN_SECONDS

    def number(self, signature: str) -> int | None:
        """The lane of these needs, if it was asked for lately."""
        number, asked_at = self._numbers.get(signature, (0, 0.0))
        return number if number and monotonic() - asked_at < ASKED_SECONDS_MAX else None

    def numbered(self, needs: Needs, lane: int) -> None:
        """The database says that this is the lane of these needs."""
        self._numbers[needs.signature()] = lane, monotonic()
        self.learn({lane: needs})

    def joined(self, lane: int, rank: int) -> None:
        """A job waits in a lane from now on."""
        if lane not in self._needs:
            self._unheard.add(lane)
            if len(self._unheard) > UNHEARD_MAX:
                self._unheard.clear()
                self._forgot_at = monotonic()
            return
        self._joined_at[lane] = monotonic()
        known = self._heads.rank(lane)
        if known is None or rank < known:
            self._heads.put(lane, self._needs[lane], rank)

    def looked(self, lanes: Iterable[int], heads: Mapping[int, int], began: float) -> None:
        """What the database said of some lanes, to a question asked at `began` (monotonic): the
        rank at the head of each in which jobs wait. What joined since stays, and so does the
        answer to a later question: answers may overtake each other."""
        for lane in lanes:
            if self._joined_at.get(lane, 0.0) >= began or self._looked_at.get(lane, 0.0) > began:
                continue
            needs, rank = self._needs.get(lane), heads.get(lane)
            if needs is None:
                continue
            self._looked_at[lane] = began
            if rank is None:
                self._heads.drop(lane, needs)
                self._joined_at.pop(lane, None)
            elif rank != self._heads.rank(lane):
                self._heads.put(lane, needs, rank)

    def live(self, after: int = 0, up_to: int | None = None) -> list[int]:
        """Lanes in which jobs wait, as far as is known, with numbers in (after, up_to]."""
        last = max(self.newest, after) if up_to is None else up_to
        numbers = range(after + 1, last + 1)
        if len(numbers) < len(self._heads):
            return [lane for lane in numbers if lane in self._heads]
        return [lane for lane in self._heads if lane in numbers]

    def least_rank(self, kind: str) -> int | None:
        """The rank at the head of a kind's queue."""
        return self._heads.least(kind)

    def fitting(self, fitting: Fitting) -> set[int]:
        """All known lanes that the offer fits, live or not."""
        if fitting.era != self.era:
            fitting.era, fitting.seen = self.era, 0
            fitting.lanes = set()
        if fitting.seen < len(self._list):
            offer, needs = fitting.offer, self._needs
            fitting.lanes.update(
                lane for lane in self._list[fitting.seen :] if fits(needs[lane], offer)
            )
            fitting.seen = len(self._list)
        return fitting.lanes

    def best(
        self, fitting: Fitting, count: int, without: AbstractSet[int] = frozenset()
    ) -> list[int]:
        """The live lanes that the offer fits (but for those in `without`), those with the best
        heads, at most so many."""
        lanes = self.fitting(fitting)
        return self._heads.first(lanes - without if without else lanes, fitting.offer, count)

    def _forget(self, kept: Container[int]) -> None:
        """Forget all lanes in which nothing waits, but for those that have just come."""
        self._needs = {
            lane: needs
            for lane, needs in self._needs.items()
            if lane in self._heads or lane in kept
        }
        self._list = list(self._needs)
        self._looked_at = {
            lane: began for lane, began in self._looked_at.items() if lane in self._needs
        }
        self._forgot_at = monotonic()
        self._numbers = {
            signature: entry
            for signature, entry in self._numbers.items()
            if entry[0] in self._needs
        }
        self.era += 1
