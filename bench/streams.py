# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many open event streams at one process: the memory they take, and how soon events arrive."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import load
from bench.calls import HOST, Line, connect, request_head
from bench.demand import complete_offer
from bench.figures import Figure, Figures, percentile, percentiles_milli
from bench.ground import Ground
from bench.machine import family_memory_bytes
from bench.pickup import Worker

OPENED_AT_ONCE = 50
SAMPLE_SECONDS = 0.2
ARRIVAL_SECONDS_MAX = 60.0
MEGABYTE = 1_000_000
MEMORY_MEGABYTES_MAX = 200.0
EVENT_MILLI_MAX = 1000.0

_FINE = b"HTTP/1.1 200"
_NAME = re.compile(rb"event: ?(\w+)")
_JOB = re.compile(rb'"id": ?"([0-9a-f-]{36})"')


class Stream(asyncio.Protocol):
    """One open event stream: when each sort of event came first, in time.monotonic()."""

    def __init__(self, request_id: str) -> None:
        self.arrived: dict[str, float] = {}
        self.job_id = ""
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        self.said = b""
        self._request_id = request_id
        self._begun = self._refused = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the events."""
        self._transport = transport
        self._transport.write(request_head("GET", f"/api/v2/generate/events/{self._request_id}"))

    def data_received(self, data: bytes) -> None:
        """Note what came. An event ends with an empty line."""
        now = time.monotonic()
        self.said += data.replace(b"\r", b"")
        if self._refused or not (self._begun or self.said.startswith(_FINE)):
            self._refused = True
            self.opened.set()
            return
        self._begun = True
        *events, self.said = self.said.split(b"\n\n")
        for event in events:
            found = _NAME.search(event)
            if found is None:
                continue
            name = found[1].decode()
            self.arrived.setdefault(name, now)
            if name == "started" and (job := _JOB.search(event)):
                self.job_id = job[1].decode()
            self.opened.set()
            if name == "done":
                self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody needs to wait any more."""
        self.opened.set()
        self.ended.set()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


@dataclass(slots=True)
class WorkResult:
    """When the pop and the delivery of each job began, in time.monotonic(), and what went wrong."""

    popped: dict[str, float] = field(default_factory=dict)
    delivered: dict[str, float] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)


async def measure(ground: Ground, figures: Figures) -> None:
    """Submit, open a stream for each request, then let workers serve them all."""
    plan = ground.plan
    await ground.stop_serving()
    await ground.serve()
    await ground.empty()
    asks = [ground.ask_bytes(number, number) for number in range(plan.streams)]
    submitted = await ground.load(load.sequence, ground.server.port, asks, 202)
    ids = await ground.queue.request_ids(plan.streams)
    workers = [
        Worker(
            ground.pop_bytes(complete_offer(f"streaming {number}"), number),
            ground.owners[number % len(ground.owners)],
        )
        for number in range(plan.stream_workers)
    ]
    ground.show(0.2)
    before = family_memory_bytes(ground.server.process_id)
    async with _opened(ground, ids) as streams, _peak_memory(ground) as peak:
        opened = dict(peak)
        ground.show(0.5)
        result = await ground.load(work_off, ground.server.port, workers, len(ids))
        async with asyncio.timeout(ARRIVAL_SECONDS_MAX):
            await asyncio.gather(*(stream.ended.wait() for stream in streams))
    errors = submitted.errors + result.errors
    errors += Counter(
        f"no {name}" for name in ("started", "done") for s in streams if name not in s.arrived
    )
    lags = {
        name: [
            stream.arrived[name] - began[stream.job_id]
            for stream in streams
            if name in stream.arrived and stream.job_id in began
        ]
        for name, began in (("started", result.popped), ("done", result.delivered))
    }
    figures.details["streams"] = {
        "streams": len(streams),
        "errors": dict(errors.most_common(5)),
        "megabytes_before": _megabytes(before),
        "megabytes_opened": _megabytes(opened),
        "megabytes_at_most": _megabytes(peak),
        "lag_ms": {name: percentiles_milli(seconds) for name, seconds in lags.items()},
    }
    _add(figures, len(streams), (peak["rss"] - before["rss"]) / MEGABYTE, lags)
    await ground.empty()


def _megabytes(sizes: dict[str, int]) -> dict[str, float]:
    return {name: round(size / MEGABYTE, 1) for name, size in sizes.items()}


def _add(figures: Figures, count: int, megabytes: float, lags: dict[str, list[float]]) -> None:
    figures.add(
        Figure(
            key="streams_memory_megabytes",
            label=f"{count:,} open event streams: memory of the server above idle",
            value=megabytes,
            unit="MB",
            target="under 200",
            target_value=MEMORY_MEGABYTES_MAX,
        )
    )
    for name, cause in (("started", "pop"), ("done", "delivery")):
        for word, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            figures.add(
                Figure(
                    key=f"streams_{name}_{word}_ms",
                    label=f"{count:,} open event streams: {cause} to event, {word}",
                    value=percentile(lags[name], share) * 1000,
                    unit="ms",
                    target="at most 1000" if word == "max" else "",
                    target_value=EVENT_MILLI_MAX if word == "max" else None,
                )
            )


@asynccontextmanager
async def _opened(ground: Ground, ids: Sequence[str]) -> AsyncIterator[list[Stream]]:
    """Streams that have heard their first event."""
    loop = asyncio.get_running_loop()
    streams: list[Stream] = []

    async def open_one(request_id: str) -> None:
        _, stream = await loop.create_connection(
            lambda: Stream(request_id), HOST, ground.server.port
        )
        streams.append(stream)
        await stream.opened.wait()
        if not stream.arrived:
            raise RuntimeError(f"a stream does not open: {stream.said[-500:].decode()}")

    try:
        async with asyncio.timeout(ARRIVAL_SECONDS_MAX):
            for first in range(0, len(ids), OPENED_AT_ONCE):
                await asyncio.gather(*map(open_one, ids[first : first + OPENED_AT_ONCE]))
        yield streams
    finally:
        for stream in streams:
            stream.close()


@asynccontextmanager
async def _peak_memory(ground: Ground) -> AsyncIterator[dict[str, int]]:
    """The most memory that the server has had within the block, so far."""
    peak = family_memory_bytes(ground.server.process_id)

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            for name, size in family_memory_bytes(ground.server.process_id).items():
                peak[name] = max(peak[name], size)

    sampling = asyncio.create_task(sample())
    try:
        yield peak
    finally:
        sampling.cancel()


def work_off(port: int, workers: Sequence[Worker], count: int) -> WorkResult:
    """The load: workers pop and deliver as fast as they can, until so many jobs are done."""
    return load.run(_work_off(port, workers, count))


async def _work_off(port: int, workers: Sequence[Worker], count: int) -> WorkResult:
    result = WorkResult()
    lines = [await connect(port) for _ in workers]
    async with asyncio.timeout(ARRIVAL_SECONDS_MAX):
        await asyncio.gather(
            *(
                _work(line, worker, count, result)
                for line, worker in zip(lines, workers, strict=True)
            )
        )
    for line in lines:
        line.close()
    return result


async def _work(line: Line, worker: Worker, count: int, result: WorkResult) -> None:
    while len(result.popped) < count:
        began = time.monotonic()
        popped = await line.call(worker.pop)
        if popped.status != 200 or load.NOTHING in popped.body:
            if popped.status != 200:
                result.errors[f"{popped.status} {popped.body[:200].decode()}"] += 1
            await asyncio.sleep(load.PAUSE_SECONDS)
            continue
        job_id = load.id_in(popped.body)
        result.popped[job_id.decode()] = began
        await line.call(load.upload(popped.body))
        result.delivered[job_id.decode()] = time.monotonic()
        answer = await line.call(load.hand_in(job_id, worker.owner_key))
        if answer.status != 200:
            result.errors[f"{answer.status} {answer.body[:200].decode()}"] += 1
