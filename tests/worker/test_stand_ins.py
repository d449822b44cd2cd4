# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names that a worker offers only while no other worker of the horde has them."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from openhorde.worker.agent.api import Away
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.stand_ins import StandIns
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.settings import SettingsError, load_settings

SHAPES = Capabilities(models=["shapes"])
SETTINGS = load_settings(
    None, None, {"stand_ins": ["stable_diffusion=shapes"], "worker_name": "own worker"}
)


class Workers:
    """A horde with these image workers, by name; None: it does not answer."""

    def __init__(self, **models: list[str]) -> None:
        self.rows: list[dict[str, Any]] | None = [
            {"name": name.replace("_", " "), "online": True, "models": some, "new field": 1}
            for name, some in models.items()
        ]

    async def look(self, path: str) -> Any:
        if self.rows is None:
            raise Away("the horde cannot be reached")
        return self.rows


def standing_in(horde: Any) -> StandIns:
    return StandIns(Wishes(SETTINGS), horde, Bell())


def offered(stand_ins: StandIns) -> list[str]:
    return list(stand_ins.names(SHAPES.models))


async def test_a_name_is_offered_until_another_worker_has_it_and_again_when_it_is_gone() -> None:
    horde = Workers(own_worker=["shapes", "stable_diffusion"], other=["anything"])
    stand_ins = standing_in(horde)
    assert offered(stand_ins) == []
    await stand_ins.look()
    assert offered(stand_ins) == ["stable_diffusion"]
    horde.rows = Workers(other=["stable_diffusion"]).rows
    await stand_ins.look()
    assert offered(stand_ins) == []
    horde.rows = None
    with capture_logs() as entries:
        await stand_ins.look()
        await stand_ins.look()
    assert offered(stand_ins) == []
    assert len(entries) == 1
    horde.rows = []
    await stand_ins.look()
    assert offered(stand_ins) == ["stable_diffusion"]


@pytest.mark.parametrize("away", [{"online": False}, {"maintenance_mode": True}])
async def test_a_worker_that_takes_no_work_has_no_name(away: dict[str, Any]) -> None:
    horde = Workers(other=["stable_diffusion"])
    assert horde.rows is not None
    horde.rows[0] |= away
    stand_ins = standing_in(horde)
    await stand_ins.look()
    assert offered(stand_ins) == ["stable_diffusion"]


async def test_what_is_not_offered_does_not_stand_in() -> None:
    stand_ins = standing_in(Workers())
    await stand_ins.look()
    assert stand_ins.names([]) == ()
    assert stand_ins.names(["shapes", "stable_diffusion"]) == ()


@pytest.mark.parametrize(("asked", "notes"), [("stable_diffusion", 1), ("shapes", 0)])
def test_a_job_goes_to_the_model_that_does_it(asked: str, notes: int) -> None:
    job = Assignment(kind="image", ids=["1"], uploads=[None], model=asked, ttl_seconds=100)
    standing_in(Workers()).settle(job, SHAPES)
    assert job.model == "shapes"
    assert len(job.notes) == notes
    assert all("stands in for stable_diffusion" in (one.ref or "") for one in job.notes)


@pytest.mark.parametrize("wrong", ["stable_diffusion", "a=b", "=shapes", "one=two=three"])
def test_an_entry_names_two(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"stand_ins.*name=model"):
        load_settings(None, None, {"stand_ins": [wrong]})
