# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine as the worker knows it: what it offers, and how its jobs end."""

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from open_engine import OpenEngine, settings
from PIL import Image
from worker.classifiers import save_classifier

from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    FormJob,
    JobFault,
    PictureJob,
)
from openhorde.worker.backends.registry import BACKENDS
from openhorde.worker.backends.transformers.backend import TransformersBackend
from openhorde.worker.demo.drawings import Outline, paint
from openhorde.worker.library.shipped import shipped


def red_circle() -> bytes:
    kept = BytesIO()
    picture = Image.fromarray(paint(Outline("circle", 32.0, 32.0, 18.0), "red", "blue"))
    picture.save(kept, "WEBP", quality=80)
    return kept.getvalue()


def do(engine: OpenEngine, form: str, source: bytes, **payload: Any) -> Artifact:
    job = FormJob(id="one", form=form, source=source, payload=payload)
    (artifact,) = engine.backend.run(job, lambda step, steps: None, lambda: False)
    return artifact


def test_it_offers_what_it_can_do(engine: OpenEngine) -> None:
    offered = engine.capabilities
    assert set(offered.forms) >= {"caption", "interrogation", "nsfw", "palette", "describe"}
    assert offered.text_models == ["openhorde/stories"]
    assert offered.context_tokens_max == 8192
    assert offered.tokens_max == 1024
    assert offered.models == []
    assert "transformers" in BACKENDS


def test_forms_come_back_as_json(engine: OpenEngine) -> None:
    caption = do(engine, "caption", red_circle())
    assert caption.media_type == "application/json"
    assert json.loads(caption.content) == "a red circle on a blue background"
    assert json.loads(do(engine, "nsfw", red_circle()).content) is False
    ranked = json.loads(do(engine, "interrogation", red_circle()).content)
    assert ranked["colours"][0]["text"] == "red"


@pytest.mark.parametrize(
    ("form", "source", "payload", "reason"),
    [
        ("aesthetic", red_circle(), {}, "the form aesthetic is not known here"),
        ("caption", b"no picture", {}, "source_image: it cannot be read"),
        ("caption", red_circle()[:60], {}, "source_image: it cannot be read"),
        ("caption", red_circle(), {"num_beams": 500}, r"caption: .*payload\.num_beams"),
    ],
)
def test_what_cannot_be_done_has_a_reason(
    engine: OpenEngine, form: str, source: bytes, payload: dict[str, Any], reason: str
) -> None:
    with pytest.raises(JobFault, match=reason):
        do(engine, form, source, **payload)
    assert json.loads(do(engine, "nsfw", red_circle()).content) is False


def test_it_draws_no_pictures(engine: OpenEngine) -> None:
    job = PictureJob(id="one", model="openhorde_shapes", prompt="a red circle")
    with pytest.raises(JobFault, match="draws no pictures"):
        engine.backend.run(job, lambda step, steps: None, lambda: False)


def test_a_form_that_nobody_waits_for_is_given_up(engine: OpenEngine) -> None:
    job = FormJob(id="one", form="caption", source=red_circle())
    with pytest.raises(Cancelled):
        engine.backend.run(job, lambda step, steps: None, lambda: True)


def test_a_model_that_is_missing_costs_its_form_alone(tmp_path: Path) -> None:
    chosen = settings(tmp_path, caption_model="nowhere", text_models=["nowhere"])
    engine = OpenEngine(chosen)
    assert "caption" not in engine.capabilities.forms
    assert "nsfw" in engine.capabilities.forms
    assert engine.capabilities.text_models == []
    with pytest.raises(JobFault, match="the form caption cannot be done here"):
        do(engine, "caption", red_circle())
    with pytest.raises(JobFault, match="is not here"):
        engine.backend.run(_text_job("openhorde/stories"), lambda step, steps: None, lambda: False)


def _text_job(model: str) -> Any:
    from openhorde.worker.backends.base import TextJob

    return TextJob(id="one", model=model, prompt="A", tokens_max=16)


def test_only_the_kinds_of_work_that_are_taken_are_got_ready(tmp_path: Path) -> None:
    texts = OpenEngine(settings(tmp_path, kinds=["text"])).capabilities
    assert (texts.forms, texts.text_models) == ([], ["openhorde/stories"])
    forms = OpenEngine(settings(tmp_path, kinds=["alchemy"])).capabilities
    assert "nsfw" in forms.forms
    assert (forms.text_models, forms.context_tokens_max) == ([], 0)
    with pytest.raises(RuntimeError, match="text_models: there is no folder"):
        OpenEngine(settings(tmp_path, kinds=["text"], text_models=["nowhere"]))


def test_a_form_that_the_owner_did_not_ask_for_is_opened_when_it_is_used(tmp_path: Path) -> None:
    save_classifier(tmp_path / "mine", ["nsfw", "normal"], 1)
    engine = OpenEngine(settings(tmp_path, forms=["palette"], kinds=["alchemy"], nsfw_model="mine"))
    assert set(engine.capabilities.forms) >= {"palette", "nsfw", "caption"}
    assert json.loads(do(engine, "nsfw", red_circle()).content) is False
    assert json.loads(do(engine, "nsfw", red_circle()).content) is False


def test_several_text_models_take_turns_in_memory(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(shipped("text"), tmp_path / name)
        (tmp_path / name / "openhorde.json").unlink()
    engine = OpenEngine(settings(tmp_path, text_models=["one", "two"], models_in_memory=1))
    assert engine.capabilities.text_models == ["one", "two"]
    assert [held.name for held in engine.backend.in_memory()] == ["one"]
    texts = {engine.write(model=name, sampling={"temperature": 0}) for name in ("one", "two")}
    assert len(texts) == 1
    (held,) = engine.backend.in_memory()
    assert held.name == "two"
    weights = tmp_path / "two" / "model.safetensors"
    assert held.size_bytes > 0.9 * weights.stat().st_size


def test_a_device_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda|nvidia"):
        TransformersBackend(settings(tmp_path, device="cuda:7")).open()
