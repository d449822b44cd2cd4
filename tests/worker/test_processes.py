# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real processes: engines that die or hang, workers that are signalled or killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse
from worker.fake_horde import OWNER_KEY

from openhorde.cli.private_horde import DEMO_MODEL, models_folder
from openhorde.worker.agent import events
from openhorde.worker.agent.run import DEATHS_MAX
from openhorde.worker.agent.spool import SUFFIX
from openhorde.worker.backends.base import JobFault, PictureJob
from openhorde.worker.backends.engine import Engine, EngineDied
from openhorde.worker.backends.fake import fails
from openhorde.worker.settings import load_settings

PATIENCE_SECONDS = 60
FAILING_SEED = next(seed for seed in range(1000) if fails(seed, 0.2))
WELL_SEED = next(seed for seed in range(1000) if not fails(seed, 0.2))


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    settings = load_settings(
        None, None, {"backends": ["fake"], "fake_failure": "crash", "fake_failure_rate": 0.2}
    )
    engine = Engine(settings, "fake")
    yield engine
    await engine.close()


def job(seed: int = WELL_SEED, **changes: Any) -> PictureJob:
    defaults: dict[str, Any] = {
        "id": "1",
        "model": "stable_diffusion",
        "prompt": "x",
        "width_pixels": 64,
    }
    return PictureJob(**(defaults | {"height_pixels": 64, "steps": 2, "seeds": [seed]} | changes))


def quiet(step: int, steps: int) -> None:
    """Nobody counts the steps."""


async def test_an_engine_does_jobs_in_its_own_process(engine: Engine) -> None:
    capabilities = await engine.open()
    assert capabilities.models == ["stable_diffusion"]
    assert engine.process_id not in (None, os.getpid())
    steps = []
    artifacts = await engine.run(
        job(seeds=[WELL_SEED, 3]), 60, 1, lambda step, steps_all: steps.append((step, steps_all))
    )
    assert [artifact.seed for artifact in artifacts] == [WELL_SEED, 3]
    assert steps == [(1, 2), (2, 2)]


async def test_a_crash_is_told_with_its_status(engine: Engine) -> None:
    await engine.open()
    with pytest.raises(EngineDied, match="status 70"):
        await engine.run(job(FAILING_SEED), 60, 1, quiet)
    assert not engine.alive
    with pytest.raises(EngineDied):
        await engine.run(job(), 60, 1, quiet)
    await engine.open()
    assert await engine.run(job(), 60, 1, quiet)


async def test_a_slow_engine_gives_up_and_lives() -> None:
    engine = Engine(load_settings(None, None, {"fake_step_seconds": 0.02}), "fake")
    await engine.open()
    with pytest.raises(JobFault, match="not done within"):
        await engine.run(job(steps=500), 0.1, PATIENCE_SECONDS, quiet)
    assert engine.alive
    assert await engine.run(job(), 60, 1, quiet)
    await engine.close()
    assert not engine.alive


async def test_the_time_of_a_job_may_change_while_it_runs() -> None:
    engine = Engine(load_settings(None, None, {"fake_step_seconds": 0.02}), "fake")
    await engine.open()
    with pytest.raises(JobFault, match="not done within"):
        await engine.run(
            job(steps=500), 3600, PATIENCE_SECONDS, lambda step, steps_all: engine.allow(0)
        )
    engine.allow(0)
    assert await engine.run(job(), 60, 1, quiet), "the time was that job's own"
    await engine.close()


async def test_an_engine_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    settings = load_settings(None, None, {"models_folder": tmp_path / "absent"})
    engine = Engine(settings, "diffusers")
    with pytest.raises(EngineDied, match="absent"):
        await engine.open()
    assert not engine.alive


async def test_an_engine_tells_what_it_has_in_memory() -> None:
    engine = Engine(load_settings(None, None, {"models_folder": models_folder()}), "diffusers")
    capabilities = await engine.open()
    (loaded,) = engine.in_memory
    assert loaded.name == f"model:{capabilities.warm_models[0]}"
    assert loaded.size_bytes > 2**20
    engine.in_memory = []
    drawing = PictureJob(
        id="1", model=DEMO_MODEL, prompt="a red circle", width_pixels=64, height_pixels=64, steps=1
    )
    await engine.run(drawing, 60, 1, quiet)
    assert [one.name for one in engine.in_memory] == [loaded.name]
    await engine.close()


async def test_a_killed_engine_is_brought_back(horde: Any, start_worker: Any) -> None:
    (first,) = horde.offer(ddim_steps=500)
    worker = start_worker(fake_step_seconds=0.05)
    await worker.heard(events.Progress)
    os.kill(child_of(os.getpid()), signal.SIGKILL)
    (second,) = horde.offer(ddim_steps=1)
    (fault,) = await worker.heard(events.Faulted)
    (delivered,) = await worker.heard(events.Delivered)
    assert (fault.id, delivered.id) == (first, second)
    assert "SIGKILL" in fault.reason
    assert horde.submitted(first)[0]["state"] == "faulted"


async def test_an_engine_that_hangs_is_killed_in_time(horde: Any, start_worker: Any) -> None:
    (first,) = horde.offer(seed=str(FAILING_SEED), ttl=2)
    (second,) = horde.offer(seed=str(WELL_SEED))
    worker = start_worker(fake_failure="hang", fake_failure_rate=0.2)
    (fault,) = await worker.heard(events.Faulted)
    (delivered,) = await worker.heard(events.Delivered)
    assert (fault.id, delivered.id) == (first, second)
    assert "hung" in fault.reason
    assert fault.reported


async def test_a_model_that_kills_its_engine_again_and_again_rests(
    horde: Any, start_worker: Any
) -> None:
    models = ["model one", "model two"]
    worker = start_worker(
        models_to_load=models, fake_failure="crash", fake_failure_rate=0.2, queue_size=0
    )
    for _ in range(DEATHS_MAX):
        horde.offer(seed=str(FAILING_SEED), model="model one")
    await worker.heard(events.Faulted, DEATHS_MAX)
    await horde.until(lambda: horde.pops[-1]["models"] == ["model two"])
    for _ in range(DEATHS_MAX):
        horde.offer(seed=str(FAILING_SEED), model="model two")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await worker.task == 1
    assert len(worker.of(events.Faulted)) == 2 * DEATHS_MAX


async def test_an_engine_that_never_comes_up_ends_the_worker(
    start_worker: Any, tmp_path: Path
) -> None:
    worker = start_worker(backends=["diffusers"], models_folder=tmp_path / "absent")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await worker.task == 1
    assert "absent" in worker.of(events.Trouble)[-1].message


WORKER = """
import asyncio, sys
from openhorde.worker.boot import run_worker
from openhorde.worker.settings import load_settings
flags = dict(pair.split("=", 1) for pair in sys.argv[1:])
sys.exit(asyncio.run(run_worker(load_settings(None, None, flags))))
"""


StartProcess = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start_process(horde: Any, tmp_path: Path) -> AsyncIterator[StartProcess]:
    """Starts the same worker again and again, as a process of its own."""
    started = []

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WORKER,
            f"horde_url={horde.url}",
            f"api_key={OWNER_KEY}",
            f"spool_folder={tmp_path}",
            "backends=fake",
            "queue_size=0",
            "fake_step_seconds=0.02",
            stdout=asyncio.subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def worker_process(start_process: StartProcess) -> asyncio.subprocess.Process:
    """A worker as a process of its own."""
    return await start_process()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(horde: Any, worker_process: Any, number: signal.Signals) -> None:
    (job_id,) = horde.offer(ddim_steps=20)
    await horde.until(lambda: horde.pops and not horde.jobs)
    worker_process.send_signal(number)
    assert await ended(worker_process) == 0
    assert [one["id"] for one in horde.submits] == [job_id]
    assert horde.submits[0]["state"] == "ok"


async def test_a_second_signal_gives_up(horde: Any, worker_process: Any) -> None:
    (job_id,) = horde.offer(ddim_steps=500)
    await horde.until(lambda: horde.pops and not horde.jobs)
    worker_process.send_signal(signal.SIGTERM)
    worker_process.send_signal(signal.SIGINT)
    assert await ended(worker_process) == 0
    assert [(one["id"], one["state"]) for one in horde.submits] == [(job_id, "faulted")]


def results_in(folder: Path) -> list[Path]:
    return list(folder.glob(f"*/*{SUFFIX}"))


async def test_what_was_made_is_delivered_by_the_next_start_after_a_kill(
    horde: Any, start_process: StartProcess, tmp_path: Path
) -> None:
    ids = horde.offer(pictures=2)
    horde.uploads_gate.clear()
    worker = await start_process()
    # The uploads have begun, and are not answered.
    await horde.until(lambda: horde.uploads_begun == len(ids))
    assert len(results_in(tmp_path)) == len(ids)
    worker.kill()
    await worker.wait()
    assert not horde.submits
    horde.uploads_gate.set()
    again = await start_process()
    await horde.until(lambda: len(horde.submits) == len(ids))
    again.send_signal(signal.SIGTERM)
    assert await ended(again) == 0
    for index, job_id in enumerate(ids):
        (submit,) = horde.submitted(job_id)
        assert (submit["generation"], submit["state"], submit["seed"]) == ("R2", "ok", 7 + index)
        assert submit["gen_metadata"][0]["ref"] == str(index)
    assert len(horde.uploads) == len(ids)
    assert not results_in(tmp_path)


async def test_a_result_whose_receipt_was_lost_is_offered_once_more_and_no_more(
    horde: Any, start_process: StartProcess, tmp_path: Path
) -> None:
    (job_id,) = horde.offer_text()
    horde.submits_gate.clear()
    worker = await start_process()
    await horde.until(lambda: horde.submits)
    worker.kill()
    await worker.wait()
    horde.submits_gate.set()
    refusal = {"message": "It was already submitted.", "rc": "DuplicateGen"}
    horde.submit_answers.append(JSONResponse(refusal, 400))
    again = await start_process()
    await horde.until(lambda: len(horde.submits) == 2)
    again.send_signal(signal.SIGTERM)
    assert await ended(again) == 0
    first, second = horde.submitted(job_id)
    assert first == second
    assert not results_in(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_the_engine_ends_with_its_worker(horde: Any, worker_process: Any) -> None:
    horde.offer(ddim_steps=500)
    await horde.until(lambda: horde.pops and not horde.jobs)
    child = child_of(worker_process.pid)
    watch = os.pidfd_open(child)
    worker_process.kill()
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(watch, gone.set)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)


def child_of(parent_id: int) -> int:
    """The id of an engine process that a process started."""
    return children_of(parent_id)[0]


def children_of(parent_id: int) -> list[int]:
    """The ids of the engine processes that a process started. Raises LookupError without any."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(parent) == parent_id and state != "Z" and "openhorde.worker.backends.child" in words:
            found.append(int(folder.name))
    if not found:
        raise LookupError("no engine runs")
    return found
