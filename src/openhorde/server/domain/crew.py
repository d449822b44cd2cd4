# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers, indexed by what they offer, so that asking all of them costs as little as asking one."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Final, TypeVar

from openhorde.server.domain.needs import Needs, Offer

Key = TypeVar("Key")
Value = TypeVar("Value")
_NOBODY: Final[tuple[Sequence[int], Sequence[int]]] = ((), (0,))
_ONES: Final = bytes.maketrans(b"01", b"\x00\x01")


class Crew:
    """The workers online. A set of them is a whole number: bit i stands for the i-th offer.

    `fitting` is `matching.fits` for all of them at once, in one operation for each word and model
    that is needed.
    """

    __slots__ = ("_by_kind", "_by_model", "_by_word", "_by_worker", "_sizes", "offers")

    def __init__(self, offers: Iterable[Offer]) -> None:
        self.offers = tuple(offers)
        self._by_kind: dict[str, int] = {}
        self._by_worker: dict[str, int] = {}
        words: dict[frozenset[str], int] = {}
        models: dict[frozenset[str], int] = {}
        sizes: dict[str, dict[int, int]] = {}
        for place, offer in enumerate(self.offers):
            bit = 1 << place
            _add(self._by_kind, offer.kind, bit)
            _add(self._by_worker, offer.worker_id, bit)
            _add(words, offer.words, bit)
            _add(models, offer.models, bit)
            for name, limit in offer.sizes_max.items():
                _add(sizes.setdefault(name, {}), limit, bit)
        self._by_word = _by_member(words)
        self._by_model = _by_member(models)
        self._sizes = {name: _by_limit(limits) for name, limits in sizes.items()}

    def fitting(self, needs: Needs) -> int:
        """The set of those that fit."""
        found = self._by_kind.get(needs.kind, 0)
        for name, size in needs.sizes:
            if size > 0:
                limits, large = self._sizes.get(name, _NOBODY)
                found &= large[bisect_left(limits, size)]
        by_word = self._by_word
        for word in needs.words:
            found &= by_word.get(word, 0)
        if needs.models:
            found &= _any(self._by_model, needs.models)
        if needs.workers:
            listed = _any(self._by_worker, needs.workers)
            found &= ~listed if needs.workers_excluded else listed
        return found


def members(chosen: int, values: Sequence[Value]) -> Iterable[Value]:
    """Those of `values`, which go with a crew's offers, whose bits are in the set."""
    bits = f"{chosen:b}"[::-1].encode().translate(_ONES)
    return compress(values, bits)


def _any(sets: dict[str, int], names: Iterable[str]) -> int:
    found = 0
    for name in names:
        found |= sets.get(name, 0)
    return found


def _by_limit(sets: dict[int, int]) -> tuple[Sequence[int], Sequence[int]]:
    """The limits in order, and for each place among them those who bear what is sorted there."""
    limits = sorted(sets)
    large = [0]
    for limit in reversed(limits):
        large.append(large[-1] | sets[limit])
    return limits, large[::-1]


def _by_member(groups: dict[frozenset[str], int]) -> dict[str, int]:
    sets: dict[str, int] = {}
    for names, group in groups.items():
        for name in names:
            sets[name] = sets.get(name, 0) | group
    return sets


def _add(sets: dict[Key, int], key: Key, bits: int) -> None:
    sets[key] = sets.get(key, 0) | bits
