# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names of models that are offered for want of anything better: while no other worker has them."""

import asyncio

import msgspec
import structlog
from msgspec import Struct, field

from openhorde.worker.agent.api import Away, HordeApi, Refused
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.kinds.table import worker_name
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Capabilities, information

PATH = "workers?type=image"
LOOK_SECONDS = 10.0

log = structlog.get_logger(__name__)


class _Worker(Struct):
    name: str
    online: bool = True
    maintenance_mode: bool = False
    models: list[str] = field(default_factory=list)


class StandIns:
    """Looks now and then which models others offer, and rings when that changes what to offer.

    Nothing is stood in for before the first look. Two workers that stand in for the same name
    would take it from each other in turns: it is for one worker of a horde.
    """

    def __init__(self, wishes: Wishes, api: HordeApi, bell: Bell) -> None:
        self._wishes = wishes
        self._api = api
        self._bell = bell
        self._elsewhere: frozenset[str] | None = None
        self._is_unsure = False

    async def watch(self) -> None:
        """Look until cancelled, as long as the owner wants it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Ask who offers what. Without an answer, what was known stays."""
        if not self._wishes.now.stand_ins:
            return
        try:
            answer = await self._api.look(PATH)
            workers = msgspec.convert(answer, list[_Worker], strict=False)
        except (Away, Refused, msgspec.ValidationError) as error:
            if not self._is_unsure:
                log.warning("it is not known what other workers offer", reason=str(error))
            self._is_unsure = True
            return
        self._is_unsure = False
        own = worker_name(self._wishes.now, "image")
        there = [one for one in workers if one.online and not one.maintenance_mode]
        elsewhere = frozenset(name for one in there if one.name != own for name in one.models)
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self._bell.ring()

    def names(self, offered: list[str]) -> tuple[str, ...]:
        """The names for which one of the offered models stands in now."""
        if self._elsewhere is None:
            return ()
        taken = self._elsewhere.union(offered)
        return tuple(
            name for name, model in self._models().items() if model in offered and name not in taken
        )

    def settle(self, assignment: Assignment, capabilities: Capabilities) -> None:
        """Give a job for a name that is stood in for to the model that does it, and say so."""
        name = assignment.model
        model = self._models().get(name)
        if model is None or name in capabilities.models:
            return
        assignment.model = model
        told = f"{model} stands in for {name}, which no other worker of this horde has"
        assignment.notes.append(information(told))

    def _models(self) -> dict[str, str]:
        parted = (entry.partition("=") for entry in self._wishes.now.stand_ins)
        return {name: model for name, _, model in parted}
