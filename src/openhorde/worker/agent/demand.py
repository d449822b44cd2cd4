# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which models the horde waits for most; with `dynamic_models`, only those are offered."""

import asyncio

import msgspec
import structlog
from msgspec import Struct

from openhorde.worker.agent.api import Away, HordeApi, Refused
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.library.memory import choose_models

PATH = "status/models?type=image&model_state=all"
LOOK_SECONDS = 120.0

log = structlog.get_logger(__name__)


class _Wanted(Struct):
    name: str
    queued: float = 0.0


class Demand:
    """Looks at the horde's queue now and then, and rings when that changes what to offer."""

    def __init__(self, wishes: Wishes, api: HordeApi, bell: Bell) -> None:
        self._wishes = wishes
        self._api = api
        self._bell = bell
        self._queued: dict[str, float] = {}
        self._used: list[str] = []
        self._is_unsure = False

    async def watch(self) -> None:
        """Look until cancelled, as long as the owner wants it."""
        while True:
            if self._wishes.now.dynamic_models:
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask how much waits for each model. Without an answer, what was known stays."""
        try:
            answer = await self._api.look(PATH)
            told = msgspec.convert(answer, list[_Wanted], strict=False)
        except (Away, Refused, msgspec.ValidationError) as error:
            if not self._is_unsure:
                log.warning("the demand for models is not known", reason=str(error))
            self._is_unsure = True
            return
        self._is_unsure = False
        queued = {one.name: one.queued for one in told if one.queued > 0}
        if queued != self._queued:
            self._queued = queued
            self._bell.ring()

    def used(self, model: str) -> None:
        """A job of a model was just done, so that it is in memory."""
        self._used = [model, *(name for name in self._used if name != model)]

    def left_out(self, names: list[str], capabilities: Capabilities) -> frozenset[str]:
        """Those of the models that are not to be offered now: all but the ones that are most asked
        for and fit into memory together. Never all of them; and none while nothing is asked for,
        or nothing known of their sizes."""
        if not self._wishes.now.dynamic_models or not capabilities.memory_bytes:
            return frozenset()
        sizes = capabilities.model_bytes
        demand = {name: self._queued.get(name, 0.0) for name in names if name in sizes}
        if not any(demand.values()):
            return frozenset()
        pinned = [name for name in self._wishes.now.pinned_models if name in demand]
        memory = capabilities.memory_bytes
        recent = dict.fromkeys([*self._used, *capabilities.warm_models])
        # What was used last is in memory for as far as that reaches.
        warm = choose_models({}, sizes, memory, [name for name in recent if name in sizes])
        chosen = choose_models(demand, sizes, memory, pinned, warm)
        return frozenset(demand) - frozenset(chosen) if chosen else frozenset()
