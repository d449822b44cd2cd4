# SPDX-License-Identifier: AGPL-3.0-or-later
"""All kinds of work at once, with engines and hordes that misbehave."""

import base64
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from worker.fake_horde import picture
from worker.test_processes import children_of

from openhorde.worker.agent import events
from openhorde.worker.backends import engine as engines
from openhorde.worker.backends.engine import Engine, EngineDied
from openhorde.worker.backends.fake import fails, seed_of
from openhorde.worker.settings import load_settings

ALL = ["image", "alchemy", "text"]
RATE = 0.2
COLOURS = [f"#{shade:02x}0000" for shade in range(0, 256, 4)]
FAILING_COLOUR = next(one for one in COLOURS if fails(seed_of(picture(one)), RATE))
WELL_COLOUR = next(one for one in COLOURS if not fails(seed_of(picture(one)), RATE))
FAILING_PROMPT = next(f"Once {n}" for n in range(1000) if fails(seed_of(f"Once {n}"), RATE))
WELL_PROMPT = next(f"Once {n}" for n in range(1000) if not fails(seed_of(f"Once {n}"), RATE))
FAILING_SEED = next(str(seed) for seed in range(1000) if fails(seed, RATE))
WELL_SEED = next(str(seed) for seed in range(1000) if not fails(seed, RATE))


def encoded(colour: str) -> str:
    return base64.b64encode(picture(colour)).decode()


def offer_each(horde: Any, *, failing: bool) -> set[str]:
    """One job of each kind, that the fake engine does or does not."""
    colour = FAILING_COLOUR if failing else WELL_COLOUR
    return {
        *horde.offer(seed=FAILING_SEED if failing else WELL_SEED),
        horde.offer_form("caption", encoded(colour)),
        *horde.offer_text(prompt=FAILING_PROMPT if failing else WELL_PROMPT),
    }


async def test_all_kinds_are_served_by_several_engines(horde: Any, start_worker: Any) -> None:
    ids = set().union(*(offer_each(horde, failing=False) for _ in range(5)))
    worker = start_worker(kinds=ALL, max_threads=2)
    delivered = await worker.heard(events.Delivered, 15)
    assert {one.id for one in delivered} == ids
    assert {one.number for one in worker.of(events.Running)} == {0, 1}
    assert len({horde.pops[0]["name"], *(one[0]["name"] for one in horde.pops_of.values())}) == 3


@pytest.mark.parametrize("failure", ["fault", "junk", "crash"])
async def test_what_fails_fails_alone(horde: Any, start_worker: Any, failure: str) -> None:
    failing = offer_each(horde, failing=True)
    well = offer_each(horde, failing=False)
    worker = start_worker(kinds=ALL, fake_failure=failure, fake_failure_rate=RATE)
    faults = await worker.heard(events.Faulted, 3)
    delivered = await worker.heard(events.Delivered, 3)
    assert {one.id for one in faults} == failing
    assert {one.id for one in delivered} == well
    for one in faults:
        told = horde.submitted(one.id)[0]["gen_metadata"][-1]
        assert told == {"type": "information", "value": "see_ref", "ref": one.reason}
    assert await worker.drained() == 0


async def test_an_engine_that_hangs_holds_up_no_other(horde: Any, start_worker: Any) -> None:
    stuck = horde.offer_form("caption", encoded(FAILING_COLOUR), ttl=3)
    worker = start_worker(kinds=ALL, fake_failure="hang", fake_failure_rate=RATE, max_threads=2)
    await worker.heard(events.Running)
    well = offer_each(horde, failing=False)
    delivered = await worker.heard(events.Delivered, 3)
    assert {one.id for one in delivered} == well
    (fault,) = await worker.heard(events.Faulted)
    assert fault.id == stuck
    assert "hung" in fault.reason


async def test_killed_engines_lose_nothing(horde: Any, start_worker: Any) -> None:
    """What is killed with an engine is given back, as a horde would give it out again."""
    worker = start_worker(kinds=ALL, max_threads=2, fake_step_seconds=0.05)
    wanted = set().union(*(offer_each(horde, failing=False) for _ in range(10)))
    rolls = random.Random(7)
    for killed in range(1, 4):
        await worker.heard(events.Delivered, 5 * killed)
        os.kill(rolls.choice(children_of(os.getpid())), signal.SIGKILL)
    await worker.until(lambda: len({one["id"] for one in horde.submits}) == len(wanted))
    states = {one["id"]: one["state"] for one in horde.submits}
    assert set(states) == wanted
    assert 0 <= list(states.values()).count("faulted") <= 3
    for one in worker.of(events.Faulted):
        assert "SIGKILL" in one.reason
    assert await worker.drained() == 0


async def test_an_idle_engine_that_is_killed_costs_no_job(horde: Any, start_worker: Any) -> None:
    worker = start_worker(kinds=ALL)
    await worker.heard(events.Idle, 3)
    (child,) = children_of(os.getpid())
    os.kill(child, signal.SIGKILL)
    await worker.until(
        lambda: len([one for one in worker.of(events.EngineChanged) if one.state == "open"]) == 2
    )
    ids = offer_each(horde, failing=False)
    delivered = await worker.heard(events.Delivered, 3)
    assert {one.id for one in delivered} == ids


async def test_one_backend_that_cannot_open_leaves_the_other(
    horde: Any, start_worker: Any, tmp_path: Path
) -> None:
    ids = offer_each(horde, failing=False)
    worker = start_worker(
        kinds=ALL, backends=["diffusers", "fake"], models_folder=tmp_path / "absent"
    )
    delivered = await worker.heard(events.Delivered, 3)
    assert {one.id for one in delivered} == ids
    await worker.until(lambda: any(one.state == "lost" for one in worker.of(events.EngineChanged)))
    assert any("absent" in one.message for one in worker.of(events.Trouble))
    assert await worker.drained() == 0


async def test_the_trouble_of_one_kind_is_not_the_others(horde: Any, start_worker: Any) -> None:
    maintenance = {"message": "in maintenance mode", "rc": "WorkerMaintenance"}
    horde.answers_of["alchemy"].extend(JSONResponse(maintenance, 403) for _ in range(1000))
    horde.answers_of["text"].extend(PlainTextResponse("<html>", 502) for _ in range(1000))
    (job_id,) = horde.offer()
    worker = start_worker(kinds=ALL)
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == job_id
    assert (await worker.heard(events.Maintenance))[0].kind == "alchemy"
    assert {one.kind for one in await worker.heard(events.Trouble)} == {"text"}


async def test_a_form_that_kills_engines_rests_and_the_others_go_on(
    horde: Any, start_worker: Any
) -> None:
    worker = start_worker(
        kinds=["alchemy"], fake_failure="crash", fake_failure_rate=RATE, queue_size=0
    )
    for _ in range(3):
        horde.offer_form("caption", encoded(FAILING_COLOUR))
    await worker.heard(events.Faulted, 3)
    await horde.until(lambda: "caption" not in horde.pops_of["alchemy"][-1]["forms"])
    job_id = horde.offer_form("nsfw", encoded(WELL_COLOUR))
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == job_id


async def test_faults_of_jobs_rest_nothing(horde: Any, start_worker: Any) -> None:
    """What a request got wrong is no reason to ask for less: only a dead engine is."""
    worker = start_worker(kinds=ALL, fake_failure="fault", fake_failure_rate=RATE)
    failing = set().union(*(offer_each(horde, failing=True) for _ in range(10)))
    faults = await worker.heard(events.Faulted, len(failing))
    assert {one.id for one in faults} == failing
    well = offer_each(horde, failing=False)
    delivered = await worker.heard(events.Delivered, 3)
    assert {one.id for one in delivered} == well
    assert await worker.drained() == 0


async def test_the_next_job_is_fetched_while_the_engine_runs(horde: Any, start_worker: Any) -> None:
    horde.sources["in.png"] = picture()
    first = horde.offer(ddim_steps=500)[0]
    second = horde.offer_form("caption", f"{horde.url}/source/in.png")
    worker = start_worker(kinds=ALL, fake_step_seconds=0.05)
    await worker.heard(events.Progress)
    await horde.until(lambda: horde.source_gets)
    assert {id for _, id in horde.story} == {first, second}
    assert [one.ids for one in worker.of(events.Running)] == [[first]]


@pytest.mark.parametrize("what", ["uploads", "submits"])
async def test_the_last_results_travel_while_the_engine_runs(
    horde: Any, start_worker: Any, what: str
) -> None:
    """The horde takes nothing in until the second job runs."""
    gate = getattr(horde, f"{what}_gate")
    gate.clear()
    first = horde.offer()[0]
    second = horde.offer_form("strip_background")
    worker = start_worker(kinds=ALL)
    await worker.heard(events.Made, 2)
    assert [one.ids[0] for one in worker.of(events.Running)] in ([first, second], [second, first])
    assert not worker.of(events.Delivered)
    gate.set()
    await worker.heard(events.Delivered, 2)


async def test_an_engine_that_speaks_nonsense_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys, time; sys.stdout.write('\\0\\0\\0\\4junk'); sys.stdout.flush(); time.sleep(60)"
    )
    monkeypatch.setattr(engines, "CHILD", ("-c", script))
    engine = Engine(load_settings(None, None, {}), "fake")
    with pytest.raises(EngineDied, match="unreadable"):
        await engine.open()
    assert not engine.alive
