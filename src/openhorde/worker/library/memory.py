# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which models stay in memory. Pure rules: sizes in bytes go in, moves come out.

There are two places: the device that draws, and RAM. Where the device is the CPU the two are one,
and only RAM counts.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

Place = Literal["device", "ram"]
STICKINESS = 1.25


class TooLarge(Exception):
    """It does not fit, even with everything else gone that may go; the message says by how much."""


class Budgets(Struct, frozen=True, kw_only=True):
    """How much may be filled. `device_bytes` is None where there is no device but the CPU."""

    ram_bytes: int
    device_bytes: int | None = None


class Held(Struct, frozen=True, kw_only=True):
    """One thing in memory. `used_at` grows with each use; what is `pinned` or `busy` stays."""

    key: str
    size_bytes: int
    place: Place
    used_at: int
    pinned: bool = False
    busy: bool = False


class Move(Struct, frozen=True):
    """Take a thing to a place, or drop it where that is None."""

    key: str
    to: Place | None


class Plan(Struct, frozen=True):
    """Where the new thing goes and what has to go first, in this order.

    A thing in `place` "ram" although there is a device is to be lent to it part by part.
    """

    place: Place
    moves: list[Move]


def make_room(
    held: Iterable[Held],
    size_bytes: int,
    part_bytes: int,
    budgets: Budgets,
    *,
    may_lend: bool = True,
) -> Plan:
    """Room for one more thing, whose largest part has `part_bytes`: the least recently used goes.

    What leaves the device goes to RAM while there is room for it there. Raises TooLarge.
    """
    device = [one for one in held if one.place == "device"]
    ram = [one for one in held if one.place == "ram"]
    if budgets.device_bytes is None:
        dropped, _ = _leave(ram, size_bytes, budgets.ram_bytes, "RAM")
        return Plan("ram", [Move(one.key, None) for one in dropped])
    try:
        leaving, _ = _leave(device, size_bytes, budgets.device_bytes, "the device")
    except TooLarge:
        if not may_lend:
            raise
        leaving, _ = _leave(device, part_bytes, budgets.device_bytes, "the device, even in parts")
        moves, ram = _to_ram(leaving, ram, budgets.ram_bytes)
        dropped, _ = _leave(ram, size_bytes, budgets.ram_bytes, "RAM")
        return Plan("ram", _settled(moves, dropped))
    moves, _ = _to_ram(leaving, ram, budgets.ram_bytes)
    return Plan("device", moves)


def choose_models(
    demand: Mapping[str, float],
    sizes: Mapping[str, int],
    budget_bytes: int,
    pinned: Sequence[str] = (),
    warm: Collection[str] = (),
) -> list[str]:
    """The models to offer: pinned ones first, then those most asked for, while they fit together.

    What is loaded already is worth a quarter more, so that two models alike in demand do not
    replace each other all the time. A model of unknown size is left out.
    """

    def worth(name: str) -> tuple[float, str]:
        return (-demand[name] * (STICKINESS if name in warm else 1.0), name)

    wanted = [*dict.fromkeys(pinned), *sorted((set(demand) - set(pinned)), key=worth)]
    chosen: list[str] = []
    left = budget_bytes
    for name in wanted:
        size = sizes.get(name)
        if size is not None and size <= left and (name in pinned or demand[name] > 0):
            chosen.append(name)
            left -= size
    return chosen


def _leave(
    held: Sequence[Held], size_bytes: int, budget_bytes: int, where: str
) -> tuple[list[Held], list[Held]]:
    """Who has to leave, least recently used first, and who stays. Raises TooLarge."""
    used = sum(one.size_bytes for one in held)
    leaving: list[Held] = []
    for one in sorted(held, key=lambda one: one.used_at):
        if used + size_bytes <= budget_bytes:
            break
        if not (one.pinned or one.busy):
            leaving.append(one)
            used -= one.size_bytes
    if used + size_bytes > budget_bytes:
        raise TooLarge(
            f"{_mib(size_bytes)} MiB do not fit into {where}: "
            f"{_mib(budget_bytes)} MiB, of which {_mib(used)} are taken"
        )
    return leaving, [one for one in held if one not in leaving]


def _to_ram(
    leaving: Sequence[Held], ram: Sequence[Held], budget_bytes: int
) -> tuple[list[Move], list[Held]]:
    """Take what leaves the device to RAM if its like fits there, and what RAM holds then."""
    moves: list[Move] = []
    there = list(ram)
    for one in leaving:
        try:
            dropped, there = _leave(there, one.size_bytes, budget_bytes, "RAM")
        except TooLarge:
            moves.append(Move(one.key, None))
            continue
        moves += [Move(gone.key, None) for gone in dropped]
        moves.append(Move(one.key, "ram"))
        there.append(Held(key=one.key, size_bytes=one.size_bytes, place="ram", used_at=one.used_at))
    return _settled(moves, []), there


def _settled(moves: Sequence[Move], dropped: Sequence[Held]) -> list[Move]:
    """Drops first, and nothing is taken somewhere only to be dropped there."""
    gone = dict.fromkeys(
        [move.key for move in moves if move.to is None] + [one.key for one in dropped]
    )
    drops = [Move(key, None) for key in gone]
    return drops + [move for move in moves if move.to is not None and move.key not in gone]


def _mib(size_bytes: int) -> int:
    return size_bytes // 2**20
