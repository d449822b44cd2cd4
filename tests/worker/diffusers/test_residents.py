# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an engine keeps in memory, and what it lends to a device that is too small."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from openhorde.worker.backends.base import JobFault
from openhorde.worker.backends.diffusers.residents import Resident, Residents, budgets_for
from openhorde.worker.library.memory import Budgets
from openhorde.worker.library.sizes import Sizes
from openhorde.worker.settings import load_settings

CPU = torch.device("cpu")
META = torch.device("meta")


def block(kib: int) -> nn.Linear:
    """A network of so many KiB."""
    return nn.Linear(16, 16 * kib, bias=False)


def resident(*kib: int) -> Callable[[], Resident]:
    parts: dict[str, nn.Module] = {str(index): block(size) for index, size in enumerate(kib)}
    return lambda: Resident(list(parts.values()), parts)


def keeper(ram_kib: int, device_kib: int | None = None, **changes: Any) -> Residents:
    budgets = Budgets(
        ram_bytes=ram_kib * 1024,
        device_bytes=device_kib * 1024 if device_kib is not None else None,
    )
    return Residents(changes.pop("device", CPU), budgets, Sizes(None), **changes)


def get(residents: Residents, key: str, *kib: int) -> Any:
    with residents.job():
        return residents.get(key, 0, resident(*kib))


def test_the_least_recently_used_makes_room() -> None:
    residents = keeper(10)
    for key in ("a", "b", "a"):
        get(residents, key, 4)
    get(residents, "c", 4)
    assert residents.held() == ["c", "a"]
    with pytest.raises(JobFault, match="no room"):
        get(residents, "d", 11)


def test_what_is_pinned_or_in_use_stays() -> None:
    residents = keeper(10, pinned=frozenset({"a"}))
    get(residents, "a", 4)
    with residents.job():
        residents.get("b", 0, resident(4))
        with pytest.raises(JobFault, match="no room"):
            residents.get("c", 0, resident(4))
    get(residents, "c", 4)
    assert residents.held() == ["c", "a"]


def test_a_measured_size_is_remembered_and_known_before_the_next_loading(tmp_path: Path) -> None:
    budgets = Budgets(ram_bytes=10 * 1024)
    first = Residents(CPU, budgets, Sizes(tmp_path))
    get(first, "a", 4)
    get(first, "b", 8)
    assert json.loads((tmp_path / "sizes.json").read_text()) == {"a": 4096, "b": 8192}
    second = Residents(CPU, budgets, Sizes(tmp_path))
    get(second, "a", 4)
    before: list[list[str]] = []

    def load() -> Resident:
        before.append(second.held())
        return resident(8)()

    with second.job():
        second.get("b", 1, load)
    assert before == [[]]


def test_what_cannot_be_loaded_is_not_held() -> None:
    residents = keeper(10)

    def fail() -> Resident:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"), residents.job():
        residents.get("a", 0, fail)
    assert residents.held() == []
    get(residents, "a", 4)
    assert residents.held() == ["a"]


def test_what_leaves_the_device_waits_in_ram_and_comes_back() -> None:
    residents = keeper(10, 5, device=META)
    (first,) = get(residents, "a", 4)
    assert residents.place_of("a") == "device"
    assert first.weight.device == META
    residents = keeper(10, 5)
    get(residents, "a", 4)
    get(residents, "b", 4)
    assert (residents.place_of("a"), residents.place_of("b")) == ("ram", "device")
    get(residents, "a", 4)
    assert (residents.place_of("a"), residents.place_of("b")) == ("device", "ram")
    assert residents.held() == ["a", "b"]


def test_what_is_larger_than_the_device_is_lent_to_it_part_by_part() -> None:
    residents = keeper(40, 8, device=META)
    first, second = get(residents, "a", 6, 7)
    assert residents.place_of("a") == "ram"
    assert {first.weight.device, second.weight.device} == {CPU}
    assert first(torch.zeros(1, 16)).device == META
    assert first.weight.device == META
    assert first._hf_hook.execution_device == META
    with pytest.raises(JobFault, match="no room"):
        get(keeper(40, 8, device=META, may_lend=False), "a", 6, 7)
    with pytest.raises(JobFault, match="even in parts"):
        get(keeper(40, 8, device=META), "a", 6, 9)


def test_only_one_part_is_lent_at_a_time() -> None:
    residents = keeper(40, 8)
    first, second = get(residents, "a", 6, 7)
    moved: list[tuple[str, str]] = []
    for name, part in (("first", first), ("second", second)):
        part.to = lambda device, name=name: moved.append((name, str(device)))
    first(torch.zeros(1, 16))
    second(torch.zeros(1, 16))
    assert moved == [("second", "cpu"), ("first", "cpu"), ("first", "cpu"), ("second", "cpu")]


def test_no_more_models_are_kept_than_are_allowed() -> None:
    residents = keeper(100, count_max=2)
    for key in ("model:a", "form:x", "model:b", "model:c", "controlnet:y"):
        get(residents, key, 1)
    assert residents.held() == ["controlnet:y", "model:c", "model:b", "form:x"]


def test_budgets_are_shared_by_the_engines() -> None:
    flags = {"ram_memory_mib": 100, "max_threads": 2}
    assert budgets_for(load_settings(None, None, flags), CPU) == Budgets(ram_bytes=50 * 2**20)
    unset = budgets_for(load_settings(), CPU)
    assert unset.ram_bytes > 0
    assert unset.device_bytes is None


def test_models_take_turns_in_a_small_memory(
    open_studio: Any, models_folder: Path, tmp_path: Path
) -> None:
    size = 1
    studio = open_studio(ram_memory_mib=size, models_in_memory=0, cache_folder=tmp_path)
    plain = [studio.content(model=name) for name in ("tiny", "tiny-xl", "small only", "tiny")]
    assert plain[0] == plain[3]
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    held = studio.backend._studio.residents.held()
    assert held[0] == "model:tiny"
    assert sum(sizes[key] for key in held) <= size * 2**20 < sum(sizes.values())
    assert studio.backend._studio.models.warm[0] == "tiny"


def test_a_model_lent_part_by_part_draws_the_same(studio: Any, open_studio: Any) -> None:
    lent = open_studio()
    model = lent.model("tiny")
    held = lent.backend._studio.residents._residents["model:tiny"]
    held.lend(CPU)
    assert model.from_text._execution_device == CPU
    assert lent.content(seeds=[7]) == studio.content(seeds=[7])
