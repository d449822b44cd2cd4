# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker check`: what would be popped, and what stands in the way."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from starlette.responses import JSONResponse
from worker.fake_horde import OWNER_KEY

from openhorde.cli.worker_check import show_check
from openhorde.wire.alchemy import FormsSkipped
from openhorde.wire.text import TextsSkipped
from openhorde.wire.work import Skipped
from openhorde.worker.agent.check import Check, KindCheck, check_worker
from openhorde.worker.agent.narrowing import SKIPPED
from openhorde.worker.settings import ANONYMOUS_KEY, WorkerSettings, load_settings

Settings = Callable[..., WorkerSettings]


@pytest.fixture
def settings(horde: Any) -> Settings:
    def make(**changes: Any) -> WorkerSettings:
        given = {"horde_url": horde.url, "api_key": OWNER_KEY, "backends": ["fake"]}
        return load_settings(None, None, given | {"retry_seconds": 0.02} | changes)

    return make


def kind(check: Check, name: str) -> KindCheck:
    return next(one for one in check.kinds if one.kind == name)


def shown(check: Check) -> str:
    console = Console(file=StringIO(), width=200)
    show_check(check, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


async def test_a_worker_that_is_well(horde: Any, settings: Settings) -> None:
    check = await check_worker(settings(worker_name="Bob's box"))
    assert check.well
    assert check.user == "Bob#2"
    assert [one.kind for one in check.kinds] == ["image", "alchemy", "text"]
    assert kind(check, "image").skipped == {"models": 3}
    assert kind(check, "alchemy").skipped == {"untrusted": 2}
    assert horde.pops[0] == kind(check, "image").pop
    assert (horde.pops[0]["wait"], horde.pops[0]["amount"]) == (0, 1)
    text = shown(check)
    assert text.count("asked for work: the horde had none for this kind") == 1
    for word in (
        "Bob's box alchemist: caption, nsfw",
        "3 waiting: want models that this worker does not offer",
        "2 waiting: want a trusted worker",
        "allow_lora is off",
        "nothing stands in the way",
    ):
        assert word in text


async def test_a_job_that_comes_is_done_not_swallowed(horde: Any, settings: Settings) -> None:
    (picture,) = horde.offer()
    form = horde.offer_form("caption")
    odd = horde.offer_text(model="another")[0]
    check = await check_worker(settings())
    assert check.well
    assert {one["id"]: one["state"] for one in horde.submits} == {
        picture: "ok",
        form: "ok",
        odd: "faulted",
    }
    assert kind(check, "image").done == "a job came and was done, for 12.5 kudos"
    assert "another" in kind(check, "text").done
    assert "was done" in shown(check)


async def test_what_narrows_is_named(settings: Settings) -> None:
    check = await check_worker(
        settings(
            forms=["caption", "GFPGAN"],
            models_to_skip=["fake-writer"],
            nsfw=False,
            allow_img2img=False,
            allow_unsafe_ip=False,
            max_context_length=1000,
        )
    )
    image = "\n".join(kind(check, "image").narrowing)
    assert "no pictures to start from: allow_img2img is off" in image
    assert "no control maps: not every engine can" in image
    assert "nsfw is off" in image
    assert "allow_unsafe_ip is off" in image
    assert kind(check, "alchemy").narrowing[0].startswith("forms leaves out nsfw, interrogation")
    assert "no engine here does GFPGAN" in kind(check, "alchemy").narrowing[1]
    text = kind(check, "text")
    assert "models_to_skip leaves out fake-writer" in text.narrowing
    assert text.obstacles == ["the settings leave nothing of what the engines offer"]
    assert not check.well


async def test_a_wrong_key_is_told(horde: Any, settings: Settings) -> None:
    check = await check_worker(settings(api_key="somebody-else"))
    (obstacle,) = check.obstacles
    assert obstacle.startswith(f"api_key: {horde.url} does not know this key.")
    assert obstacle.endswith(f"{horde.url}/register")
    assert not horde.pops


async def test_no_key_at_all_is_told_once(horde: Any, settings: Settings) -> None:
    check = await check_worker(settings(api_key=ANONYMOUS_KEY))
    (obstacle,) = check.obstacles
    assert obstacle.startswith("api_key: no worker may run under the anonymous key.")
    assert not check.notes
    assert not horde.pops


async def test_an_absent_horde_is_told(settings: Settings) -> None:
    check = await check_worker(settings(horde_url="http://127.0.0.1:9"))
    assert not check.well
    assert check.obstacles[0].startswith("horde_url: the horde cannot be reached")
    assert "x horde_url" in shown(check)


async def test_an_engine_that_cannot_open_is_told(settings: Settings, tmp_path: Path) -> None:
    check = await check_worker(
        settings(backends=["diffusers", "fake"], models_folder=tmp_path / "absent")
    )
    (obstacle,) = check.obstacles
    assert obstacle.startswith("diffusers: ")
    assert "absent" in obstacle
    assert len(check.kinds) == 3
    only = await check_worker(settings(backends=["diffusers"], models_folder=tmp_path / "absent"))
    assert (only.kinds, only.well) == ([], False)


def image_pop(**skipped: int) -> JSONResponse:
    return JSONResponse({"id": None, "ids": [], "payload": {}, "skipped": skipped})


@pytest.mark.parametrize("software", ["openhorde", "aihorde", None])
@pytest.mark.parametrize("agent", ["", "AI Horde Worker reGen:3.0.0:https://example.org"])
@pytest.mark.parametrize("skipped", [{}, {"models": 2}, {"bridge_version": 5}])
async def test_a_horde_that_knows_no_such_software_is_told(
    horde: Any, settings: Settings, software: str | None, agent: str, skipped: dict[str, int]
) -> None:
    horde.software = software
    horde.pop_answers.append(image_pop(**skipped))
    check = await check_worker(settings(kinds=["image"], bridge_agent=agent))
    assert horde.pops[0]["bridge_agent"].startswith(agent or "openhorde worker:")
    is_unknown = software != "openhorde" and not agent
    cannot_come = is_unknown and "bridge_version" in skipped
    assert check.well is not cannot_come
    if cannot_come:
        (obstacle,) = kind(check, "image").obstacles
        assert obstacle.startswith("bridge_agent: this horde gives pictures only to software")
    assert len(check.notes) == (is_unknown and not cannot_come)
    assert ("need something that this worker's software does not do" in shown(check)) is (
        "bridge_version" in skipped
    )


async def test_what_the_horde_says_of_the_worker(horde: Any, settings: Settings) -> None:
    horde.workers["Bob"] = {"type": "image", "maintenance_mode": True, "paused": True}
    horde.workers["Bob alchemist"] = {"type": "text"}
    refusal = {"message": "That name is another's.", "rc": "PolymorphicNameConflict"}
    horde.answers_of["text"].append(JSONResponse(refusal, 400))
    check = await check_worker(settings(worker_name="Bob"))
    assert kind(check, "image").obstacles == [
        "the worker is in maintenance mode",
        "the horde's moderators have paused the worker",
    ]
    (taken,) = kind(check, "alchemy").obstacles
    assert taken.startswith("alchemist_name: a worker for text")
    (refused,) = kind(check, "text").obstacles
    assert refused.startswith("scribe_name: That name")
    assert not horde.pops
    assert not check.well


@pytest.mark.parametrize("wire", [Skipped, FormsSkipped, TextsSkipped])
def test_every_reason_of_the_wire_has_words(wire: Any) -> None:
    assert set(wire.__struct_encode_fields__) <= set(SKIPPED)


async def test_a_check_that_takes_no_work_leaves_no_worker_behind(
    horde: Any, settings: Settings
) -> None:
    horde.workers["Bob's box"] = {"id": "known", "name": "Bob's box", "type": "image"}
    horde.offer_form("caption")
    check = await check_worker(settings(worker_name="Bob's box"))
    assert check.well
    # One was known before, and one got work.
    assert horde.forgotten == ["id of Bob's box scribe"]
    # Now all are known: none of them is the check's.
    await check_worker(settings(worker_name="Bob's box"))
    assert len(horde.forgotten) == 1
