# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stays in memory: never over the budget, never without what is pinned, oldest first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.worker.library.memory import (
    Budgets,
    Held,
    Move,
    Place,
    Plan,
    TooLarge,
    choose_models,
    make_room,
)

SIZES = st.integers(0, 50)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Held], Budgets]:
    """Things in memory that keep within some budgets."""
    two_places = draw(st.booleans())
    held = [
        Held(
            key=str(number),
            size_bytes=draw(SIZES),
            place=draw(st.sampled_from(("device", "ram"))) if two_places else "ram",
            used_at=number,
            pinned=draw(st.booleans()),
            busy=draw(st.integers(0, 4)) == 0,
        )
        for number in draw(st.permutations(range(draw(st.integers(0, 6)))))
    ]
    budgets = Budgets(
        ram_bytes=filled(held, "ram") + draw(SIZES),
        device_bytes=filled(held, "device") + draw(SIZES) if two_places else None,
    )
    return held, budgets


def filled(held: list[Held], place: Place) -> int:
    return sum(one.size_bytes for one in held if one.place == place)


def carried_out(held: list[Held], plan: Plan, budgets: Budgets) -> dict[str, Place]:
    """Where everything is afterwards; checks that no budget is crossed on the way."""
    sizes = {one.key: one.size_bytes for one in held}
    places: dict[str, Place] = {one.key: one.place for one in held}
    for move in plan.moves:
        if move.to is None:
            del places[move.key]
        else:
            places[move.key] = move.to
        in_ram = sum(sizes[key] for key, place in places.items() if place == "ram")
        assert in_ram <= budgets.ram_bytes
    return places


@given(situations(), SIZES, st.integers(0, 50), st.booleans())
def test_a_plan_keeps_the_budgets_and_what_must_stay(
    situation: tuple[list[Held], Budgets], size_bytes: int, part: int, may_lend: bool
) -> None:
    held, budgets = situation
    part_bytes = min(part, size_bytes)
    try:
        plan = make_room(held, size_bytes, part_bytes, budgets, may_lend=may_lend)
    except TooLarge:
        stay = [one for one in held if one.pinned or one.busy]
        in_ram = filled(stay, "ram") + size_bytes > budgets.ram_bytes
        if budgets.device_bytes is None:
            assert in_ram
        else:
            taken = filled(stay, "device")
            assert taken + size_bytes > budgets.device_bytes
            assert not may_lend or in_ram or taken + part_bytes > budgets.device_bytes
        return
    places = carried_out(held, plan, budgets)
    sizes = {one.key: one.size_bytes for one in held}
    for place, budget in (("ram", budgets.ram_bytes), ("device", budgets.device_bytes)):
        there = sum(sizes[key] for key, where in places.items() if where == place)
        if plan.place == place:
            there += size_bytes
        elif place == "device":
            there += part_bytes
        if budget is not None:
            assert there <= budget
    for one in held:
        if one.pinned or one.busy:
            assert places[one.key] == one.place


@given(situations(), SIZES)
def test_the_least_recently_used_leaves_a_place_first(
    situation: tuple[list[Held], Budgets], size_bytes: int
) -> None:
    held, budgets = situation
    try:
        plan = make_room(held, size_bytes, size_bytes, budgets)
    except TooLarge:
        return
    places = carried_out(held, plan, budgets)
    free = [one for one in held if not (one.pinned or one.busy)]
    for leaver in free:
        for stayer in free:
            left = places.get(leaver.key) != leaver.place
            if left and leaver.place == stayer.place and stayer.used_at < leaver.used_at:
                assert places.get(stayer.key) != stayer.place


@given(situations())
def test_nothing_moves_while_there_is_room(situation: tuple[list[Held], Budgets]) -> None:
    held, budgets = situation
    assert make_room(held, 0, 0, budgets).moves == []


def test_what_leaves_the_device_waits_in_ram() -> None:
    held = [
        Held(key="old", size_bytes=4, place="device", used_at=1),
        Held(key="new", size_bytes=4, place="device", used_at=2),
        Held(key="cold", size_bytes=4, place="ram", used_at=0),
    ]
    plan = make_room(held, 4, 2, Budgets(ram_bytes=6, device_bytes=8))
    assert plan == Plan("device", [Move("cold", None), Move("old", "ram")])


def test_what_is_larger_than_the_device_is_lent_to_it() -> None:
    held = [Held(key="old", size_bytes=4, place="device", used_at=1)]
    budgets = Budgets(ram_bytes=20, device_bytes=8)
    assert make_room(held, 12, 5, budgets) == Plan("ram", [Move("old", "ram")])
    with pytest.raises(TooLarge, match="the device"):
        make_room(held, 12, 5, budgets, may_lend=False)
    with pytest.raises(TooLarge, match="even in parts"):
        make_room(held, 12, 9, budgets)


NAMES = st.sampled_from("abcdefgh")


@given(
    st.dictionaries(NAMES, st.floats(0, 100)),
    st.dictionaries(NAMES, st.integers(0, 50)),
    st.integers(0, 120),
    st.lists(NAMES, max_size=3),
)
def test_chosen_models_fit_together(
    demand: dict[str, float], sizes: dict[str, int], budget: int, pinned: list[str]
) -> None:
    chosen = choose_models(demand, sizes, budget, pinned)
    assert sum(sizes[name] for name in chosen) <= budget
    assert len(chosen) == len(set(chosen))
    left = budget - sum(sizes[name] for name in chosen)
    wanted = {name for name, count in demand.items() if count > 0} | set(pinned)
    for name in wanted & set(sizes):
        assert name in chosen or sizes[name] > left
    unpinned = [name for name in chosen if name not in pinned]
    assert unpinned == sorted(unpinned, key=lambda name: (-demand[name], name))


def test_pinned_models_come_first_and_warm_ones_before_their_like() -> None:
    sizes = dict.fromkeys("abc", 10)
    demand = {"a": 5.0, "b": 6.0, "c": 0.0}
    assert choose_models(demand, sizes, 10) == ["b"]
    assert choose_models(demand, sizes, 10, warm=["a"]) == ["a"]
    assert choose_models(demand, sizes, 20, pinned=["c"]) == ["c", "b"]
    assert choose_models(demand, sizes, 100) == ["b", "a"]
