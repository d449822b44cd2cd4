# SPDX-License-Identifier: AGPL-3.0-or-later
"""The check in the engine: models without one are not offered, pictures it objects to not sent."""

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.kinds.image import result_body
from openhorde.worker.backends.base import JobFault, Note
from openhorde.worker.safety.notice import notice

NSFW = [Note(type="censorship", value="nsfw")]


def is_notice(content: bytes, size: tuple[int, int] = (64, 64)) -> bool:
    picture = Image.open(BytesIO(content)).convert("RGB")
    expected = notice(size)
    pairs = zip(picture.tobytes(), expected.tobytes(), strict=True)
    return max(abs(one - other) for one, other in pairs) < 60


def test_what_the_safety_model_objects_to_is_replaced(open_studio: Any, classifier: Any) -> None:
    strict = open_studio(safety_model=classifier(["normal", "porn", "hentai"], 1))
    (hidden,) = strict.draw(censor=True)
    assert (hidden.censored, hidden.notes) == (True, NSFW)
    assert is_notice(hidden.content)
    (shown,) = strict.draw(censor=False)
    assert not shown.censored
    assert not is_notice(shown.content)
    assert len([one for one in strict.draw(censor=True, seeds=[1, 2]) if one.censored]) == 2


def test_what_a_models_own_checker_objects_to_is_replaced(studio: Any) -> None:
    (hidden,) = studio.draw(model="careful", censor=True)
    assert (hidden.censored, hidden.notes) == (True, NSFW)
    assert is_notice(hidden.content)


def test_a_control_map_is_judged_too(
    open_studio: Any, classifier: Any, source: Image.Image, encoded: Any
) -> None:
    strict = open_studio(safety_model=classifier(["sfw", "nsfw"], 1))
    over = {"control_type": "canny", "return_control_map": True, "source": encoded(source)}
    (hidden,) = strict.draw(censor=True, **over)
    assert hidden.censored


def test_unlawful_pictures_are_told_as_such(open_studio: Any, classifier: Any) -> None:
    studio = open_studio(
        safety_model=classifier(["sfw", "nsfw"], 1), csam_model=classifier(["adult", "child"], 1)
    )
    (hidden,) = studio.draw(censor=False)
    assert (hidden.censored, hidden.notes) == (True, [Note(type="censorship", value="csam")])
    assert is_notice(hidden.content)
    popped = Assignment(kind="image", ids=["1"], uploads=[None], model="tiny", ttl_seconds=150.0)
    body = result_body(popped, 0, hidden, uploaded=True)
    assert (body.state, body.censored) == ("csam", True)


def test_words_of_the_censorlist_are_not_even_drawn(open_studio: Any, easygoing: Path) -> None:
    studio = open_studio(censorlist=["forbidden fruit"])
    steps: list[int] = []
    (hidden,) = studio.draw(
        lambda step, _: steps.append(step), prompt="a Forbidden fruit", censor=True
    )
    assert (hidden.censored, hidden.notes, steps) == (True, NSFW, [])
    assert is_notice(hidden.content)
    (shown,) = studio.draw(prompt="a forbidden fruit", censor=False)
    assert not shown.censored
    (shown,) = studio.draw(prompt="a fruit", censor=True)
    assert not shown.censored


def test_a_check_that_fails_faults_the_job(open_studio: Any, classifier: Any) -> None:
    studio = open_studio(safety_model=classifier(["sfw", "nsfw"], 0))
    judge = studio.backend._studio._check._nsfw
    judge._processor = None
    with pytest.raises(JobFault, match="the safety check cannot be made"):
        studio.draw(censor=True)
    assert len(studio.draw(censor=False)) == 1


def test_without_a_safety_model_the_packaged_one_judges(open_studio: Any) -> None:
    studio = open_studio(safety_model=None)
    assert "tiny" in studio.capabilities.models
    assert not studio.draw(censor=True)[0].censored
    strict = open_studio(safety_model=None, safety_threshold=0.0)
    assert strict.draw(censor=True)[0].censored


@pytest.mark.usefixtures("nothing_packaged")
def test_models_that_nobody_can_judge_are_not_offered(
    open_studio: Any, models_folder: Path, tmp_path: Path
) -> None:
    assert open_studio(safety_model=None).capabilities.models == ["careful"]
    shutil.copytree(models_folder / "tiny", tmp_path / "tiny")
    with pytest.raises(RuntimeError, match=r"safety_model: set one.*: tiny"):
        open_studio(tmp_path, safety_model=None)
    (tmp_path / "tiny" / "openhorde.json").write_text(json.dumps({"harmless": True}))
    studio = open_studio(tmp_path, safety_model=None)
    (shown,) = studio.draw(censor=True)
    assert not shown.censored


@pytest.mark.parametrize(
    ("labels", "reason"), [(["cat", "dog"], "knows cat, dog"), (["SFW", "NSFW"], None)]
)
def test_a_safety_model_must_know_what_it_is_for(
    open_studio: Any, classifier: Any, labels: list[str], reason: str | None
) -> None:
    if reason is None:
        assert open_studio(safety_model=classifier(labels, 0)).capabilities.models
        return
    with pytest.raises(RuntimeError, match=f"safety_model: .*{reason}"):
        open_studio(safety_model=classifier(labels, 0))


def test_a_safety_model_that_is_not_there_keeps_the_engine_closed(
    open_studio: Any, classifier: Any, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="safety_model: there is no model"):
        open_studio(safety_model=tmp_path)
    pickled = classifier(["sfw", "nsfw"], 0)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(RuntimeError, match="safety_model"):
        open_studio(safety_model=pickled)
