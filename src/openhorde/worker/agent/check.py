# SPDX-License-Identifier: AGPL-3.0-or-later
"""Would this worker get work? Opens the engines, asks the horde, and says what stands in the way.

Asking means one pop of each kind, without waiting. Should it bring a job, the job is done: to give
it back would cost its requester a try. A pop makes the worker known to the horde; one that was new
and got no job is deleted there again, as it would count among its owner's workers for a day.
"""

import asyncio
import shutil
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field, structs, to_builtins

from openhorde.worker.agent import events
from openhorde.worker.agent.api import Away, HordeApi, Refused
from openhorde.worker.agent.assignment import Assignment, Unfit
from openhorde.worker.agent.deliver import Delivery
from openhorde.worker.agent.kinds.base import Offer
from openhorde.worker.agent.kinds.table import KINDS, combined, kinds_wanted, worker_name
from openhorde.worker.agent.narrowing import narrowing
from openhorde.worker.agent.pop import skipped_counts
from openhorde.worker.agent.refusals import NAME_SETTINGS, key_mistake, key_needed, mistake
from openhorde.worker.agent.sources import Sources
from openhorde.worker.agent.spool import Spool
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Capabilities, JobFault
from openhorde.worker.backends.engine import Engine, EngineDied
from openhorde.worker.settings import KindName, WorkerSettings

WIRE_KINDS: dict[KindName, str] = {"image": "image", "alchemy": "interrogation", "text": "text"}
FREE_BYTES_MIN = 1 << 30
OUR_SOFTWARE = "openhorde"


class EngineCheck(Struct, kw_only=True):
    """A backend, and what it offers by kind of work; or why it cannot be opened."""

    backend: str
    offers: dict[str, list[str]] = field(default_factory=dict)
    reason: str = ""


class KindCheck(Struct, kw_only=True):
    """A kind of work: the name for it, what would be popped, and what narrows that, in sentences.

    `obstacles` are why there would be no work. Once the horde was `asked`, `skipped` counts waiting
    requests that this worker is not given, by reason, and `done` is what became of a job that came.
    """

    kind: KindName
    name: str
    pop: dict[str, Any] = field(default_factory=dict)
    narrowing: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    asked: bool = False
    skipped: dict[str, int] = field(default_factory=dict)
    done: str = ""


class Check(Struct, kw_only=True):
    """What was found out. `user` is whose key it is, `software` what the horde runs, if it says."""

    horde_url: str
    software: str = ""
    user: str = ""
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    engines: list[EngineCheck] = field(default_factory=list)
    kinds: list[KindCheck] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.obstacles and not any(kind.obstacles for kind in self.kinds)


async def check_worker(settings: WorkerSettings) -> Check:
    """Find out all that can be found out; what fails is part of the answer."""
    asking = structs.replace(settings, pop_wait_seconds=0, max_batch=1)
    api = HordeApi(asking)
    checking = _Checking(asking, api)
    try:
        await checking.horde()
        await checking.open_engines()
        checking.disk()
        for kind in kinds_wanted(asking):
            await checking.kind(kind)
        checking.conclude()
    finally:
        await asyncio.gather(*(engine.close() for engine in checking.engines))
        await api.close()
    return checking.found


class _Checking:
    def __init__(self, settings: WorkerSettings, api: HordeApi) -> None:
        self.found = Check(horde_url=settings.horde_url)
        self.engines: list[Engine] = []
        self._settings = settings
        self._api = api
        self._capabilities: list[Capabilities] = []
        self._reachable = False

    async def horde(self) -> None:
        """Whether the horde is there and knows the key."""
        needed = key_needed(self._settings)
        if needed is not None:
            self.found.obstacles.append(needed)
        try:
            await self._api.look("status/heartbeat")
            self._reachable = True
            self.found.software = await self._api.software()
            user = await self._api.look("find_user") if needed is None else None
        except Away as error:
            self.found.obstacles.append(f"horde_url: {error}")
        except Refused as error:
            self._reachable = True
            wrong = key_mistake(error, self._settings)
            self.found.obstacles.append(wrong or f"api_key: {error}")
        else:
            self.found.user = str(user.get("username", "")) if isinstance(user, dict) else ""

    async def open_engines(self) -> None:
        """Open one engine of each backend, and keep it for a job that may come."""
        for backend in self._settings.backends:
            engine = Engine(self._settings, backend)
            told = EngineCheck(backend=backend)
            self.found.engines.append(told)
            try:
                capabilities = await engine.open()
            except EngineDied as error:
                told.reason = str(error)
                self.found.obstacles.append(f"{backend}: {error}")
                continue
            self.engines.append(engine)
            self._capabilities.append(capabilities)
            told.offers = {
                str(name): kind.offered(capabilities)
                for name, kind in KINDS.items()
                if kind.offered(capabilities)
            }
            if not told.offers:
                self.found.obstacles.append(f"{backend}: it offers nothing")

    def disk(self) -> None:
        """Whether there is room where the models are."""
        folder = self._settings.models_folder.absolute()
        while not folder.exists():
            folder = folder.parent
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < FREE_BYTES_MIN:
            self.found.notes.append(f"only {free_bytes >> 20} MiB are free on the disk of {folder}")

    async def kind(self, kind: KindName) -> None:
        """What would be asked for, and what the horde says to that."""
        face = KINDS[kind]
        capabilities = combined(self._capabilities, kind)
        offered = face.offered(capabilities)
        if not offered:
            return
        name = worker_name(self._settings, kind)
        engines = sum(bool(face.offered(one)) for one in self._capabilities)
        offer = Offer(name=name, capabilities=capabilities, engines=engines, places=1)
        body = face.pop_body(self._settings, offer)
        told = KindCheck(
            kind=kind,
            name=name,
            pop=to_builtins(body),
            narrowing=narrowing(kind, self._settings, capabilities),
        )
        self.found.kinds.append(told)
        if not face.wanted(self._settings, offered):
            told.obstacles.append("the settings leave nothing of what the engines offer")
        elif self._reachable and self.found.user:
            is_new = await self._look_up(told)
            if not told.obstacles:
                await self._ask(told, body)
                if is_new and told.asked and not told.done:
                    await self._leave(told.name)

    def conclude(self) -> None:
        """Without any kind there is no work, however well the engines are."""
        if not self.found.kinds and not self.found.obstacles:
            self.found.obstacles.append(
                f"kinds: the engines do nothing of {', '.join(self._settings.kinds)}"
            )

    async def _look_up(self, told: KindCheck) -> bool:
        """What the horde knows of a worker with this name; whether it knows none."""
        try:
            known = await self._api.look(_by_name(told.name))
        except Refused as error:
            # None yet, which is well; all else shows when work is asked for.
            return error.rc == "WorkerNotFound"
        except Away:
            return False
        if not isinstance(known, dict):
            return False
        setting = NAME_SETTINGS[told.kind]
        if known.get("type") not in (None, WIRE_KINDS[told.kind]):
            told.obstacles.append(
                f"{setting}: a worker for {known['type']} has the name {told.name!r} already"
            )
        if known.get("maintenance_mode"):
            told.obstacles.append("the worker is in maintenance mode")
        if known.get("paused"):
            told.obstacles.append("the horde's moderators have paused the worker")
        return False

    async def _leave(self, name: str) -> None:
        """Have the horde forget the worker that asking has made."""
        try:
            made = await self._api.look(_by_name(name))
            await self._api.forget_worker(made["id"])
        except (Refused, Away, KeyError, TypeError) as error:
            self.found.notes.append(f"the worker {name!r} stays registered with the horde: {error}")

    async def _ask(self, told: KindCheck, body: Struct) -> None:
        face = KINDS[told.kind]
        try:
            answer = await self._api.pop(face.POP_PATH, body, 0)
            assignments = face.read_pop(answer)
        except Refused as error:
            told.obstacles.append(mistake(error, self._settings, told.kind) or str(error))
        except Away as error:
            told.obstacles.append(str(error))
        else:
            told.asked, told.skipped = True, skipped_counts(answer)
            for assignment in assignments:
                told.done = await self._do(assignment)
            self._judge_agent(told)

    def _judge_agent(self, told: KindCheck) -> None:
        """Whether a horde of other software gives pictures to software of this name.

        The public one gives requests whose pictures go into its storage, which are nearly all, only
        to software that it knows; it counts the others as `bridge_version`.
        """
        known = self.found.software == OUR_SOFTWARE or self._settings.bridge_agent
        if known or told.kind != "image":
            return
        advice = "see bridge_agent in docs/worker.md"
        if told.skipped.get("bridge_version") and not told.done:
            told.obstacles.append(
                "bridge_agent: this horde gives pictures only to software that it knows, and it "
                f"does not know this one; {advice}"
            )
        else:
            self.found.notes.append(
                f"this horde runs {self.found.software or 'other software'} and may give pictures "
                f"only to software that it knows; {advice}"
            )

    async def _do(self, assignment: Assignment) -> str:
        """Do a job that came while asking; returns what became of it."""
        outcome: list[str] = []

        def hear(event: events.Event) -> None:
            match event:
                case events.Delivered(reward=reward):
                    outcome.append(f"a job came and was done, for {reward:g} kudos")
                case events.Faulted(reason=reason) | events.Undelivered(reason=reason):
                    outcome.append(f"a job came and failed: {reason}")

        delivery = Delivery(Wishes(self._settings), self._api, hear, Spool(None, 0))
        face = KINDS[assignment.kind]
        try:
            job = await face.prepare(Sources(self._api), self._settings, assignment)
            engine = self._engine_for(assignment)
            seconds_max = assignment.seconds_left - 2 * assignment.reserve_seconds
            artifacts = await engine.run(
                job, seconds_max, assignment.reserve_seconds, lambda step, steps: None
            )
        except (Unfit, JobFault) as fault:
            await delivery.fault(assignment, str(fault), fault.notes)
        except EngineDied as error:
            await delivery.fault(assignment, str(error))
        else:
            await delivery.results(assignment, artifacts)
        return outcome[-1]

    def _engine_for(self, assignment: Assignment) -> Engine:
        for engine, capabilities in zip(self.engines, self._capabilities, strict=True):
            if assignment.model in KINDS[assignment.kind].offered(capabilities):
                return engine
        raise JobFault(f"no engine here does {assignment.model or 'this'}")


def _by_name(name: str) -> str:
    return f"workers/name/{quote(name, safe='')}"
