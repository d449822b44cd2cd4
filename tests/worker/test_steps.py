# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reports of steps: few, beside the work, and harmless whatever becomes of them."""

from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from openhorde.worker.agent import events, steps

A_WHILE_SECONDS = 3600.0


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report as often as the horde answers."""
    monkeypatch.setattr(steps, "INTERVAL_SECONDS", 0.0)


def refusal(status: int, rc: str | None = None) -> Response:
    return JSONResponse({"message": "no", "rc": rc}, status_code=status)


@pytest.mark.usefixtures("eager")
async def test_the_horde_hears_of_steps(horde: Any, start_worker: Any) -> None:
    (job_id,) = horde.offer(ddim_steps=500)
    worker = start_worker(fake_step_seconds=0.01)
    await horde.until(lambda: len(horde.reports) >= 3)
    told = [one["step"] for one in horde.reports]
    assert told == sorted(told)
    assert {(one["id"], one["steps"]) for one in horde.reports} == {(job_id, 500)}
    await worker.heard(events.Progress)


async def test_only_now_and_then(
    horde: Any, start_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "INTERVAL_SECONDS", A_WHILE_SECONDS)
    for _ in range(2):
        horde.offer(ddim_steps=50)
    worker = start_worker(fake_step_seconds=0.001)
    await worker.heard(events.Delivered, 2)
    assert len(horde.reports) <= 2
    assert len(worker.of(events.Progress)) == 100


@pytest.mark.usefixtures("eager")
async def test_a_slow_horde_does_not_slow_the_engine(horde: Any, start_worker: Any) -> None:
    horde.gate.clear()
    ids = [horde.offer(ddim_steps=50)[0] for _ in range(2)]
    worker = start_worker(fake_step_seconds=0.001)
    delivered = await worker.heard(events.Delivered, 2)
    assert [one.id for one in delivered] == ids
    assert len(horde.reports) <= 2


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_old_horde_is_told_once(horde: Any, start_worker: Any, status: int) -> None:
    horde.report_answers.extend(refusal(status) for _ in range(100))
    for _ in range(3):
        horde.offer(ddim_steps=20)
    worker = start_worker(fake_step_seconds=0.005)
    await worker.heard(events.Delivered, 3)
    assert len(horde.reports) == 1


@pytest.mark.usefixtures("eager")
async def test_a_job_the_horde_gave_up_is_not_the_end_of_all_reports(
    horde: Any, start_worker: Any
) -> None:
    horde.report_answers.append(refusal(404, "InvalidJobID"))
    (first,) = horde.offer(ddim_steps=20)
    (second,) = horde.offer(ddim_steps=500)
    start_worker(fake_step_seconds=0.01)
    await horde.until(lambda: any(one["id"] == second for one in horde.reports))
    assert len([one for one in horde.reports if one["id"] == first]) == 1


@pytest.mark.usefixtures("eager")
async def test_troubles_with_reports_are_outlived_and_not_shown(
    horde: Any, start_worker: Any
) -> None:
    horde.report_answers.extend(
        [
            refusal(500),
            PlainTextResponse("not json"),
            JSONResponse({"odd": 1}),
            JSONResponse({"message": "2 per 1 second"}, 429, {"Retry-After": "0"}),
        ]
    )
    horde.offer(ddim_steps=500)
    worker = start_worker(fake_step_seconds=0.01)
    await horde.until(lambda: len(horde.reports) >= 6)
    assert not worker.of(events.Trouble)


@pytest.mark.usefixtures("eager")
async def test_a_job_nobody_wants_any_more_ends_early(horde: Any, start_worker: Any) -> None:
    horde.report_answers.append(JSONResponse({"cancelled": True}))
    (unwanted,) = horde.offer(ddim_steps=500)
    (wanted,) = horde.offer()
    worker = start_worker(fake_step_seconds=0.02)
    (fault,) = await worker.heard(events.Faulted)
    (delivered,) = await worker.heard(events.Delivered)
    assert (fault.id, delivered.id) == (unwanted, wanted)
    assert "cancelled" in fault.reason
    (submit,) = horde.submitted(unwanted)
    assert submit["state"] == "faulted"
    assert max(one.step for one in worker.of(events.Progress) if one.id == unwanted) < 500


@pytest.mark.usefixtures("eager")
async def test_a_job_for_which_the_horde_waits_is_gone_on_with(
    horde: Any, start_worker: Any
) -> None:
    horde.report_answers.extend(JSONResponse({"cancelled": False, "ttl": 600}) for _ in range(500))
    (slow,) = horde.offer(ddim_steps=250, ttl=5)
    worker = start_worker(fake_step_seconds=0.02)
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == slow
    assert not worker.of(events.Faulted)
