# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an engine keeps in memory: within its budgets, the least recently used goes first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from accelerate.utils import send_to_device
from msgspec import Struct
from msgspec.structs import replace
from torch import nn

from openhorde.worker.backends.base import InMemory, JobFault
from openhorde.worker.library.memory import (
    Budgets,
    Held,
    Place,
    Plan,
    TooLarge,
    choose_models,
    make_room,
)
from openhorde.worker.library.sizes import Sizes
from openhorde.worker.settings import WorkerSettings

# What drawing itself needs beside the weights, as a share of all there is.
GPU_RESERVE = 0.25
RAM_RESERVE = 0.2
MIB = 2**20
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")

log = structlog.get_logger(__name__)


class Resident(Struct):
    """Something loaded: what to work with, and the networks whose weights take the room."""

    content: Any
    parts: dict[str, nn.Module]

    @property
    def sizes_bytes(self) -> dict[str, int]:
        """How much each part takes."""
        return {name: _bytes_of(part) for name, part in self.parts.items()}

    def place(self, device: torch.device) -> None:
        """Take all parts to a device, for good."""
        for part in self.parts.values():
            remove_hook_from_module(part)
            part.to(device)

    def lend(self, device: torch.device) -> None:
        """Keep all parts in RAM; each is taken to the device while it works, the others leave."""
        for part in self.parts.values():
            add_hook_to_module(part, _Lent(self.parts, device))


class _Lent(ModelHook):
    """Before a part works: it comes to the device, and its siblings leave."""

    def __init__(self, parts: Mapping[str, nn.Module], device: torch.device) -> None:
        self._parts = parts
        self.execution_device = device

    def init_hook(self, module: nn.Module) -> nn.Module:
        return module.to("cpu")

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        for part in self._parts.values():
            if part is not module:
                part.to("cpu")
        module.to(self.execution_device)
        device = self.execution_device
        return send_to_device(args, device), send_to_device(kwargs, device)


class Residents:
    """Holds what is loaded, by key. `count_max` bounds how many models, 0 does not."""

    def __init__(
        self,
        device: torch.device,
        budgets: Budgets,
        sizes: Sizes,
        *,
        pinned: frozenset[str] = frozenset(),
        may_lend: bool = True,
        count_max: int = 0,
    ) -> None:
        self._device = device
        self._budgets = budgets
        self.sizes = sizes
        self._pinned = pinned
        self._may_lend = may_lend
        self._count_max = count_max
        self._held: dict[str, Held] = {}
        self._residents: dict[str, Resident] = {}
        self._busy: set[str] = set()
        self._uses = 0

    @contextmanager
    def job(self) -> Iterator[None]:
        """What is got within stays until the end."""
        try:
            yield
        finally:
            self._busy.clear()

    def get(self, key: str, guess_bytes: int, load: Callable[[], Resident]) -> Any:
        """What `load` makes, from memory if it is there, on the device or lent to it.

        `guess_bytes` counts until it was loaded once. Raises JobFault when there is no room.
        """
        resident = self._residents.get(key)
        try:
            if resident is None:
                self._bound_count(key)
                guess = self.sizes.get(key) or guess_bytes
                self._make_room(key, guess, guess)
                resident = load()
                self._settle(key, resident)
            elif self._held[key].place == "ram" and self._budgets.device_bytes is not None:
                self._settle(key, resident)
        except TooLarge as error:
            raise JobFault(f"{key}: there is no room in memory: {error}") from error
        self._uses += 1
        self._busy.add(key)
        self._hold(key, self._held[key].size_bytes, self._held[key].place)
        return resident.content

    def held(self) -> list[str]:
        """The keys of what is in memory, the last used first."""
        held = sorted(self._held.values(), key=lambda one: -one.used_at)
        return [one.key for one in held]

    def in_memory(self) -> list[InMemory]:
        """What is in memory, for people: the last used first."""
        return [
            InMemory(name=key, size_bytes=self._held[key].size_bytes, place=self._held[key].place)
            for key in self.held()
        ]

    def place_of(self, key: str) -> Place | None:
        """Where a thing is; None when it is not in memory."""
        held = self._held.get(key)
        return held.place if held is not None else None

    @property
    def budget_bytes(self) -> int:
        """How much may be filled where drawing is done."""
        device_bytes = self._budgets.device_bytes
        return self._budgets.ram_bytes if device_bytes is None else device_bytes

    def choose(self, keys: Sequence[str], sizes_bytes: Mapping[str, int]) -> list[str]:
        """Which to load beforehand, nothing yet being known of their demand: those that are
        pinned, and what fits beside them."""
        pinned = [key for key in keys if key in self._pinned]
        return choose_models(dict.fromkeys(keys, 1.0), sizes_bytes, self.budget_bytes, pinned)

    def _settle(self, key: str, resident: Resident) -> None:
        """Give what is loaded its place, by its true size."""
        sizes = resident.sizes_bytes
        whole = sum(sizes.values())
        self.sizes.remember(key, whole)
        before = self._held.pop(key, None)
        try:
            place = self._make_room(key, whole, max(sizes.values(), default=0))
            if self._budgets.device_bytes is None:
                resident.place(self._device)
            else:
                self._carry(key, resident, place)
        except BaseException:
            self._residents.pop(key, None)
            raise
        self._residents[key] = resident
        self._hold(key, whole, place, before.used_at if before is not None else 0)

    def _carry(self, key: str, resident: Resident, place: Place) -> None:
        if place == "ram":
            log.info("lent to the device part by part", key=key)
            resident.lend(self._device)
            return
        try:
            resident.place(self._device)
        except torch.OutOfMemoryError:
            # The device is shared with others, or broken up: all that is not in use may go.
            for other in [one for one in self.held() if one not in self._busy | self._pinned]:
                self._move(other, None)
            resident.place(self._device)

    def _make_room(self, key: str, size_bytes: int, part_bytes: int) -> Place:
        plan = self._plan(key, size_bytes, part_bytes)
        for move in plan.moves:
            self._move(move.key, move.to)
        if plan.moves and self._device.type == "cuda":
            torch.cuda.empty_cache()
        return plan.place

    def _plan(self, key: str, size_bytes: int, part_bytes: int) -> Plan:
        now = [
            replace(one, pinned=name in self._pinned, busy=name in self._busy)
            for name, one in self._held.items()
            if name != key
        ]
        return make_room(now, size_bytes, part_bytes, self._budgets, may_lend=self._may_lend)

    def _move(self, key: str, to: Place | None) -> None:
        if to is None:
            log.info("unloaded", key=key)
            del self._held[key], self._residents[key]
            return
        self._residents[key].place(torch.device("cpu"))
        held = self._held[key]
        self._hold(key, held.size_bytes, to, held.used_at)

    def _hold(self, key: str, size_bytes: int, place: Place, used_at: int | None = None) -> None:
        self._held[key] = Held(
            key=key,
            size_bytes=size_bytes,
            place=place,
            used_at=self._uses if used_at is None else used_at,
        )

    def _bound_count(self, key: str) -> None:
        """Of models, and of nothing else, there may be a greatest number too."""
        kind = key.partition(":")[0]
        if not self._count_max or kind != "model":
            return
        alike = [one for one in self.held() if one.startswith("model:")]
        free = [one for one in alike if one not in self._busy | self._pinned]
        while len(alike) >= self._count_max and free:
            gone = free.pop()
            alike.remove(gone)
            self._move(gone, None)


def budgets_for(settings: WorkerSettings, device: torch.device) -> Budgets:
    """What one of the worker's engines may fill, as set or as there is."""
    ram = settings.ram_memory_mib * MIB or int(_ram_bytes() * (1 - RAM_RESERVE))
    gpu = None
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        gpu = settings.gpu_memory_mib * MIB or int(whole * (1 - GPU_RESERVE))
    engines = settings.max_threads
    return Budgets(
        ram_bytes=ram // engines, device_bytes=gpu // engines if gpu is not None else None
    )


def _ram_bytes() -> int:
    """All the RAM there is, or as much as this process's container may have."""
    import psutil

    whole = int(psutil.virtual_memory().total)
    try:
        return min(whole, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):
        return whole


def _bytes_of(part: nn.Module) -> int:
    tensors = [*part.parameters(), *part.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
