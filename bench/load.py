# SPDX-License-Identifier: AGPL-3.0-or-later
"""The load: functions that run in processes of their own, so that nothing else slows them."""

import asyncio
import base64
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvloop

from bench.calls import Answer, Line, connect, request_head

CALLS = ("ask", "pop", "upload", "submit", "status")
PAUSE_SECONDS = 0.001
ERRORS_MAX = 100
SECONDS_MAX = 300
NOTHING = b'"id":null'
_ID = b'"id":"'
_ID_LENGTH = 36
_SUBMIT_TAIL = b'","generation":"R2","state":"ok","seed":1234}'
_SUBMIT_HEAD = b'{"id":"'
_UPLOAD = b'"r2_upload":"'
PICTURE = base64.b64decode("UklGRhwAAABXRUJQVlA4TA8AAAAvAAAAAAcQ/Y/+ByKi/wEA")
"""A picture of one pixel."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Slot:
    """One who asks and works in turn: prepared requests, and the keys of asker and worker."""

    asks: tuple[bytes, ...]
    asker_key: str
    pop: bytes
    owner_key: str


@dataclass(frozen=True, slots=True)
class Window:
    """When to start and what to count, in seconds of time.monotonic()."""

    starts_at: float
    counts_from: float
    ends_at: float


@dataclass(slots=True)
class LifecycleResult:
    """What one process did within the window. Latencies in seconds, by call."""

    lifecycles: int = 0
    extra_statuses: int = 0
    empty_pops: int = 0
    cpu_seconds: float = 0.0
    latencies: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    reconnected: list[float] = field(default_factory=list)


class _Unexpected(Exception):
    pass


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run on the fast loop, but not for ever."""
    return uvloop.run(asyncio.wait_for(work, SECONDS_MAX))


def ready() -> None:
    """Nothing, for long enough that every process of a pool gets its share: now all is loaded."""
    time.sleep(0.3)


def lifecycles(port: int, slots: Sequence[Slot], window: Window) -> LifecycleResult:
    """Whole lifecycles, again and again, on one connection a slot."""
    return run(_lifecycles(port, slots, window))


async def _lifecycles(port: int, slots: Sequence[Slot], window: Window) -> LifecycleResult:
    result = LifecycleResult(latencies={name: [] for name in CALLS})
    lines = [await connect(port) for _ in slots]
    await _sleep_until(window.starts_at)
    tasks = [
        asyncio.create_task(_live(line, slot, window, result))
        for line, slot in zip(lines, slots, strict=True)
    ]
    await _sleep_until(window.counts_from)
    began = time.process_time()
    await _sleep_until(window.ends_at)
    result.cpu_seconds = time.process_time() - began
    await asyncio.gather(*tasks)
    for line in lines:
        result.reconnected += line.reconnected
        line.close()
    return result


async def _live(line: Line, slot: Slot, window: Window, result: LifecycleResult) -> None:
    number = 0
    while time.monotonic() < window.ends_at:
        try:
            times = await _lifecycle(line, slot, slot.asks[number % len(slot.asks)], window)
        except _Unexpected as error:
            result.errors[str(error)] += 1
            if result.errors.total() > ERRORS_MAX:
                raise
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        number += 1
        if window.counts_from <= time.monotonic() < window.ends_at:
            result.lifecycles += 1
            result.extra_statuses += len(times["status"]) - 1
            result.empty_pops += len(times["pop"]) - 1
            for name, seconds in times.items():
                result.latencies[name] += seconds


async def _lifecycle(line: Line, slot: Slot, ask: bytes, window: Window) -> dict[str, list[float]]:
    """One lifecycle. Whoever pops gets the best job there is, so it may be a neighbour's; then
    the neighbour delivers ours, and the status is asked for until it is done."""
    times: dict[str, list[float]] = {name: [] for name in CALLS}
    request_id = id_in(await _timed(line, ask, times["ask"], 202))
    # A lifecycle that is begun is finished, else its job would stay behind; but not for ever.
    deadline = window.ends_at + 30
    while True:
        popped = await _timed(line, slot.pop, times["pop"], 200)
        if NOTHING not in popped:
            break
        await _pause(deadline)
    await _timed(line, upload(popped), times["upload"], 200)
    await _timed(line, hand_in(id_in(popped), slot.owner_key), times["submit"], 200)
    look = request_head("GET", f"/api/v2/generate/status/{request_id.decode()}")
    while b'"done":true' not in await _timed(line, look, times["status"], 200):
        await _pause(deadline)
    return times


async def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise _Unexpected("a lifecycle did not end")
    await asyncio.sleep(PAUSE_SECONDS)


async def _timed(line: Line, request: bytes, times: list[float], status: int) -> bytes:
    began = time.perf_counter()
    answer = await line.call(request)
    times.append(time.perf_counter() - began)
    if answer.status != status:
        raise _Unexpected(f"{answer.status} {answer.body[:200].decode(errors='replace')}")
    return answer.body


def upload(popped: bytes) -> bytes:
    """The request that uploads the picture of the first job in the answer to a pop."""
    start = popped.index(_UPLOAD) + len(_UPLOAD)
    parts = urlsplit(popped[start : popped.index(b'"', start)].decode())
    path = f"{parts.path}?{parts.query}"
    return request_head("PUT", path, body_bytes=len(PICTURE)) + PICTURE


def hand_in(job_id: bytes, owner_key: str) -> bytes:
    """The request that hands a job in, once its picture is uploaded."""
    body = _SUBMIT_HEAD + job_id + _SUBMIT_TAIL
    path = "/api/v2/generate/submit"
    return request_head("POST", path, api_key=owner_key, body_bytes=len(body)) + body


def id_in(body: bytes) -> bytes:
    """The first id in an answer."""
    start = body.index(_ID) + len(_ID)
    return body[start : start + _ID_LENGTH]


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


@dataclass(frozen=True, slots=True)
class CallResult:
    """Latencies in seconds, and what did not go well by its text."""

    latencies: list[float]
    empty: int
    errors: Counter[str]
    seconds: float = 0.0
    reconnected: tuple[float, ...] = ()


def sequence(port: int, requests: Sequence[bytes], status: int) -> CallResult:
    """The requests one after the other on one connection."""
    return run(_sequence(port, requests, status))


async def _sequence(port: int, requests: Sequence[bytes], status: int) -> CallResult:
    line = await connect(port)
    result = await _say(line, requests, status)
    line.close()
    return result


async def _say(line: Line, requests: Sequence[bytes], status: int) -> CallResult:
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    empty = 0
    for request in requests:
        began = time.perf_counter()
        answer: Answer = await line.call(request)
        latencies.append(time.perf_counter() - began)
        if answer.status != status:
            errors[f"{answer.status} {answer.body[:200].decode(errors='replace')}"] += 1
        elif NOTHING in answer.body:
            empty += 1
    return CallResult(latencies, empty, errors, 0.0, tuple(line.reconnected))


def together(
    port: int, per_connection: Sequence[Sequence[bytes]], status: int, starts_at: float
) -> CallResult:
    """Many connections, opened before, that all begin at the same instant."""
    return run(_together(port, per_connection, status, starts_at))


async def _together(
    port: int, per_connection: Sequence[Sequence[bytes]], status: int, starts_at: float
) -> CallResult:
    lines = [await connect(port) for _ in per_connection]
    await _sleep_until(starts_at)
    began = time.perf_counter()
    parts = await asyncio.gather(
        *(
            _say(line, requests, status)
            for line, requests in zip(lines, per_connection, strict=True)
        )
    )
    seconds = time.perf_counter() - began
    for line in lines:
        line.close()
    return joined(parts, seconds)


def joined(parts: Sequence[CallResult], seconds: float) -> CallResult:
    """Several results as one."""
    return CallResult(
        [latency for part in parts for latency in part.latencies],
        sum(part.empty for part in parts),
        sum((part.errors for part in parts), Counter()),
        seconds,
        tuple(silence for part in parts for silence in part.reconnected),
    )
