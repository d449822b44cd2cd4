# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker is doing right now, and what it has done: its events, folded."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct, field

from openhorde.worker.agent import events
from openhorde.worker.backends.base import InMemory
from openhorde.worker.settings import KindName

Phase = Literal["resting", "opening", "working", "draining"]
JobStage = Literal["waiting", "running", "delivering"]
EngineStage = Literal["opening", "idle", "busy", "lost"]
KindStage = Literal["resting", "working", "idle", "maintenance", "trouble", "ended"]

FAULTS_KEPT = 100
MESSAGES_KEPT = 50
HOURS_KEPT = 48
HOUR_SECONDS = 3600


class JobView(Struct, kw_only=True):
    """A job in hand. `since` is when it came, in seconds of Unix time; `step` of `steps` is done,
    and both are 0 before it runs."""

    id: str
    kind: KindName
    model: str
    what: str
    stage: JobStage
    since: float
    step: int = 0
    steps: int = 0
    engine: str = ""


class EngineView(Struct, kw_only=True):
    """An engine: its backend, its number among those of its backend, how it is, and what it offers,
    by kind of work. `falls` counts how often it died or did not come up; `reason` tells the last.
    """

    backend: str
    number: int
    stage: EngineStage
    offers: dict[str, list[str]] = field(default_factory=dict)
    in_memory: list[InMemory] = field(default_factory=list)
    falls: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """As people read it: `diffusers 1`."""
        return events.engine_name(self.backend, self.number)


class KindView(Struct, kw_only=True):
    """A kind of work: how it goes, in `message` why not better, and the waiting requests that this
    worker could not be given, by reason."""

    kind: KindName
    stage: KindStage = "working"
    message: str = ""
    skipped: dict[str, int] = field(default_factory=dict)
    done: int = 0
    faulted: int = 0
    kudos: float = 0.0


class FaultView(Struct, kw_only=True):
    """A job that was not done, or not taken. `at` in seconds of Unix time."""

    id: str
    kind: KindName
    model: str
    reason: str
    at: float


class MessageView(Struct, kw_only=True):
    """Something that the owner should read: a trouble of the worker, or a note from the horde.

    `at` is when it was said last, `times` how often in a row.
    """

    text: str
    origin: str
    at: float
    times: int = 1


class HourView(Struct, kw_only=True):
    """What one hour brought; `start` in seconds of Unix time."""

    start: int
    done: int = 0
    faulted: int = 0
    kudos: float = 0.0


class WorkerState(Struct, kw_only=True):
    """A worker at one moment. Lists begin with the newest, `hours` with the oldest.

    `maintenance` is what the horde was last heard to say, of any kind of work.
    """

    phase: Phase
    since: float
    kinds: list[KindView] = field(default_factory=list)
    engines: list[EngineView] = field(default_factory=list)
    jobs: list[JobView] = field(default_factory=list)
    faults: list[FaultView] = field(default_factory=list)
    messages: list[MessageView] = field(default_factory=list)
    hours: list[HourView] = field(default_factory=list)
    done: int = 0
    faulted: int = 0
    kudos: float = 0.0
    maintenance: bool = False


class Live:
    """Hears every event and keeps the state. May be read from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._phase: Phase = "resting"
        self._since = clock()
        self._kinds: dict[str, KindView] = {}
        self._in_maintenance: set[str] = set()
        self._engines: dict[tuple[str, int], EngineView] = {}
        self._jobs: dict[str, JobView] = {}
        self._faults: deque[FaultView] = deque(maxlen=FAULTS_KEPT)
        self._messages: deque[MessageView] = deque(maxlen=MESSAGES_KEPT)
        self._hours: deque[HourView] = deque(maxlen=HOURS_KEPT)

    def state(self) -> WorkerState:
        """A copy of all that is known."""
        with self._lock:
            kinds = [self._kinds[name] for name in sorted(self._kinds)]
            state = WorkerState(
                phase=self._phase,
                since=self._since,
                kinds=kinds,
                engines=list(self._engines.values()),
                jobs=list(reversed(self._jobs.values())),
                faults=list(self._faults),
                messages=list(self._messages),
                hours=list(self._hours),
                done=sum(one.done for one in kinds),
                faulted=sum(one.faulted for one in kinds),
                kudos=sum(one.kudos for one in kinds),
                maintenance=bool(self._in_maintenance),
            )
            return msgspec.convert(msgspec.to_builtins(state), WorkerState)

    def phase(self, phase: Phase) -> None:
        """The worker enters a phase."""
        with self._lock:
            self._enter(phase)

    def maintenance(self, wanted: bool) -> None:
        """The owner has put the worker into maintenance at the horde, or taken it out."""
        with self._lock:
            self._in_maintenance = set(self._kinds) if wanted else set()
            for one in self._kinds.values():
                if wanted and one.stage != "resting":
                    self._is(one.kind, "maintenance", "")
                elif not wanted and one.stage == "maintenance":
                    self._is(one.kind, "working", "")

    def hear(self, event: events.Event) -> None:
        """Hear one event."""
        with self._lock:
            self._hear(event)

    def _hear(self, event: events.Event) -> None:
        match event:
            case events.Started():
                self._enter("working")
                self._each_kind("resting", "working")
            case events.Draining():
                self._enter("draining")
            case events.Stopped():
                self._engines.clear()
                self._jobs.clear()
                self._enter("resting")
                self._each_kind(None, "resting")
            case events.EngineChanged():
                self._engine(event)
            case events.MemoryChanged(backend, number, in_memory) if (
                backend,
                number,
            ) in self._engines:
                self._engines[backend, number].in_memory = in_memory
            case events.Message(message, origin):
                self._note(message, origin)
            case events.Trouble(message, kind):
                self._note(message, "this worker")
                if kind:
                    self._is(kind, "trouble", message)
            case events.Unanswered(message, kind):
                self._is(kind, "trouble", message)
            case events.Back(horde_url, away_seconds):
                told = f"the horde at {horde_url} is back after {away_seconds:.0f} s"
                self._note(told, "this worker")
            case events.Ended(kind, reason):
                self._note(reason, "this worker")
                self._is(kind, "ended", reason)
            case events.Maintenance(message, kind):
                self._in_maintenance.add(kind)
                self._is(kind, "maintenance", message)
            case events.Idle(skipped, kind):
                self._in_maintenance.discard(kind)
                self._is(kind, "idle", "")
                self._kinds[kind].skipped = skipped
            case _:
                self._job_event(event)

    def _job_event(self, event: events.Event) -> None:
        match event:
            case events.Popped(ids, model, what, kind):
                self._in_maintenance.discard(kind)
                self._is(kind, "working", "")
                for job_id in ids:
                    self._jobs[job_id] = JobView(
                        id=job_id,
                        kind=kind,
                        model=model,
                        what=what,
                        stage="waiting",
                        since=self._clock(),
                    )
            case events.Running(ids, backend, number):
                self._engines[backend, number].stage = "busy"
                self._stage(ids, "running", events.engine_name(backend, number))
            case events.Progress(job_id, step, steps) if job_id in self._jobs:
                self._jobs[job_id].step, self._jobs[job_id].steps = step, steps
            case events.Made(ids):
                self._made(ids)
            case events.Delivered(job_id, reward):
                self._over(job_id, done=True, kudos=reward)
            case events.Faulted(job_id, reason) | events.Undelivered(job_id, reason):
                self._fault(job_id, reason)

    def _enter(self, phase: Phase) -> None:
        if phase != self._phase:
            self._phase, self._since = phase, self._clock()

    def _engine(self, event: events.EngineChanged) -> None:
        key = (event.backend, event.number)
        stage: EngineStage = "idle" if event.state == "open" else event.state
        engine = self._engines.setdefault(
            key, EngineView(backend=event.backend, number=event.number, stage=stage)
        )
        engine.stage = stage
        if event.state == "open":
            engine.offers = event.offers
        else:
            engine.in_memory = []
        if event.reason:
            engine.falls += 1
            engine.reason = event.reason

    def _stage(self, ids: list[str], stage: JobStage, engine: str) -> None:
        for job in (self._jobs[job_id] for job_id in ids if job_id in self._jobs):
            job.stage, job.engine = stage, engine

    def _made(self, ids: list[str]) -> None:
        engine = next((self._jobs[job_id].engine for job_id in ids if job_id in self._jobs), "")
        for one in self._engines.values():
            if one.name == engine and one.stage == "busy":
                one.stage = "idle"
        self._stage(ids, "delivering", engine)

    def _fault(self, job_id: str, reason: str) -> None:
        job = self._jobs.get(job_id)
        if job is None:
            return
        self._faults.appendleft(
            FaultView(id=job_id, kind=job.kind, model=job.model, reason=reason, at=self._clock())
        )
        self._over(job_id, done=False)

    def _over(self, job_id: str, *, done: bool, kudos: float = 0.0) -> None:
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        for count in (self._kinds[job.kind], self._hour()):
            count.done += done
            count.faulted += not done
            count.kudos += kudos

    def _hour(self) -> HourView:
        """The present hour; hours in which nothing happened are there too, with zeros."""
        start = int(self._clock()) // HOUR_SECONDS * HOUR_SECONDS
        if not self._hours:
            self._hours.append(HourView(start=start))
        if start - self._hours[-1].start > HOURS_KEPT * HOUR_SECONDS:
            self._hours.clear()
            self._hours.append(HourView(start=start))
        while self._hours[-1].start < start:
            self._hours.append(HourView(start=self._hours[-1].start + HOUR_SECONDS))
        return self._hours[-1]

    def _is(self, kind: KindName, stage: KindStage, message: str) -> None:
        one = self._kinds.setdefault(kind, KindView(kind=kind))
        one.stage, one.message = stage, message
        if stage != "idle":
            one.skipped = {}

    def _each_kind(self, before: KindStage | None, after: KindStage) -> None:
        """Every kind that was in a stage, None for any, enters another."""
        for one in self._kinds.values():
            if before in (None, one.stage):
                self._is(one.kind, after, "")

    def _note(self, text: str, origin: str) -> None:
        now = self._clock()
        last = self._messages[0] if self._messages else None
        if last is not None and (last.text, last.origin) == (text, origin):
            last.at, last.times = now, last.times + 1
        else:
            self._messages.appendleft(MessageView(text=text, origin=origin, at=now))
