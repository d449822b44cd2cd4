# SPDX-License-Identifier: AGPL-3.0-or-later
"""Can anybody online serve a request, and if not, what stands in the way?

Workers are only ever counted, never named.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from openhorde.server.domain.matching import shortfalls
from openhorde.server.domain.needs import SIZES, Needs, Offer, explained

MEANINGS_MAX: Final = 3
_MEANINGS: Final = {
    "models": "serve any of the models asked for",
    **{size.name: size.meaning for size in SIZES.values()},
    "workers": "belong to the workers listed",
}


class Obstacle(Struct, frozen=True):
    """One reason, a field of the wire's `Skipped`: how many workers it rules out, how many of
    these nothing else rules out, and both in a sentence."""

    reason: str
    workers: int
    alone: int
    sentence: str


class Explanation(Struct, frozen=True):
    """`online` workers do this kind of work, `fitting` of them could do the request; `obstacles`
    rule out the others, the one that rules out most first."""

    online: int
    fitting: int
    obstacles: tuple[Obstacle, ...]


class Variant(Struct, frozen=True):
    """What to change: paths of the request's body and their new values, None to leave one out."""

    changes: dict[str, Any]
    sentence: str


class Candidate(Struct, frozen=True):
    """A worker that might do a request if that were a little different."""

    offer: Offer
    threads: int


def explain(needs: Needs, offers: Iterable[Offer]) -> Explanation:
    """What stands between the request and the workers online. Other kinds' workers do not count."""
    online = fitting = 0
    counts: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    whats: dict[str, Counter[str]] = {}
    for offer in offers:
        if offer.kind != needs.kind:
            continue
        online += 1
        found = shortfalls(needs, offer)
        reasons = {shortfall.reason for shortfall in found}
        fitting += not reasons
        counts.update(reasons)
        if len(reasons) == 1:
            alone.update(reasons)
        for shortfall in found:
            whats.setdefault(shortfall.reason, Counter())[shortfall.what] += 1
    obstacles = [
        Obstacle(
            reason,
            number,
            alone[reason],
            _sentence(number, online, whats[reason], excluded=needs.workers_excluded),
        )
        for reason, number in counts.items()
    ]
    obstacles.sort(key=lambda each: (-each.workers, -each.alone, each.reason))
    return Explanation(online, fitting, tuple(obstacles))


def closest(
    needs: Needs,
    candidates: Sequence[Candidate],
    weight: Callable[[str, Offer], float | None],
    most: int,
) -> list[Candidate]:
    """The candidates that lack least, at most so many, the least lacking first.

    `weight` says how much it means to do without one thing that an offer lacks (a word, a size,
    `models` or `workers`); None that nothing can be done about it. Of equals the one with more
    threads comes first.
    """
    weighed: list[tuple[float, int, str, int]] = []
    for place, candidate in enumerate(candidates):
        offer = candidate.offer
        if offer.kind != needs.kind:
            continue
        total: float | None = 0.0
        for shortfall in shortfalls(needs, offer):
            each = weight(shortfall.what, offer)
            total = None if each is None or total is None else total + each
        if total is not None:
            weighed.append((total, -candidate.threads, offer.worker_id, place))
    return [candidates[entry[-1]] for entry in heapq.nsmallest(most, weighed)]


def _sentence(number: int, online: int, whats: Counter[str], *, excluded: bool) -> str:
    who = f"{number} of {online} {'worker' if online == 1 else 'workers'} online"
    if excluded and "workers" in whats:
        return f"{who} {'is' if number == 1 else 'are'} excluded by the request."
    ranked = sorted(whats, key=lambda what: (-whats[what], what))
    meanings = [_MEANINGS.get(what) or explained(what).meaning for what in ranked[:MEANINGS_MAX]]
    if len(ranked) > MEANINGS_MAX:
        meanings.append("do other things that it needs")
    does_not = "does not" if number == 1 else "do not"
    return f"{who} {does_not} {f', or {does_not} '.join(meanings)}."
