# SPDX-License-Identifier: AGPL-3.0-or-later
"""The forms with the models that ship with the program, and with models that are not right."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from worker.classifiers import save_classifier

from openhorde.worker.demo.companions.captioning import names_of
from openhorde.worker.demo.drawings import Outline, paint
from openhorde.worker.forms.base import FormFault
from openhorde.worker.forms.caption import Caption
from openhorde.worker.forms.interrogation import Interrogation
from openhorde.worker.forms.nsfw import Nsfw
from openhorde.worker.forms.word_lists import CATEGORIES
from openhorde.worker.library.shipped import shipped
from openhorde.worker.settings import WorkerSettings, load_settings

Settings = Callable[..., WorkerSettings]


def red_circle() -> Image.Image:
    return Image.fromarray(paint(Outline("circle", 32.0, 32.0, 18.0), "red", "blue"))


@pytest.fixture(scope="module")
def caption() -> Caption:
    form = Caption(load_settings(None, None, {"device": "cpu"}))
    form.open()
    return form


@pytest.fixture(scope="module")
def interrogation() -> Interrogation:
    form = Interrogation(load_settings(None, None, {"device": "cpu"}))
    form.open()
    return form


def test_a_red_circle_is_called_one(caption: Caption) -> None:
    assert caption.run(red_circle(), {}) == "a red circle on a blue background"


def test_a_larger_picture_with_transparency_is_captioned_too(caption: Caption) -> None:
    named = names_of(caption.run(red_circle().resize((512, 512)).convert("RGBA"), {}))
    assert (named.colour, named.shape) == ("red", "circle")


def test_lengths_are_heeded(caption: Caption) -> None:
    assert len(caption.run(red_circle(), {"max_length": 3}).split()) == 3
    assert len(caption.run(red_circle(), {"min_length": 12, "num_beams": 1}).split()) >= 12


def test_drawing_words_by_chance_still_names_the_circle(caption: Caption) -> None:
    torch.manual_seed(0)
    drawn = {caption.run(red_circle(), {"top_p": 1.0}) for _ in range(16)}
    assert all("circle" in one for one in drawn)
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"num_beams": 0}, r"payload\.num_beams"),
        ({"num_beams": 99}, r"payload\.num_beams"),
        ({"max_length": "long"}, r"payload\.max_length"),
        ({"top_p": 0}, r"payload\.top_p"),
        ({"repetition_penalty": 0.5}, r"payload\.repetition_penalty"),
        ({"min_length": 30, "max_length": 10}, r"payload\.min_length is 30"),
    ],
)
def test_what_a_caption_cannot_heed_is_named(
    caption: Caption, payload: dict[str, object], named: str
) -> None:
    with pytest.raises(FormFault, match=f"caption: .*{named}"):
        caption.run(red_circle(), payload)


def test_a_red_circle_ranks_red_and_circle_first(interrogation: Interrogation) -> None:
    ranked = interrogation.run(red_circle(), {})
    assert list(ranked) == list(CATEGORIES)
    assert ranked["colours"][0]["text"] == "red"
    assert ranked["shapes"][0]["text"] == "circle"
    for found in ranked.values():
        confidences = [float(one["confidence"]) for one in found]
        assert len(found) == 5
        assert confidences == sorted(confidences, reverse=True)
        assert 0 <= sum(confidences) <= 100.1


def test_categories_and_counts_can_be_chosen(interrogation: Interrogation) -> None:
    ranked = interrogation.run(red_circle(), {"categories": ["shapes"], "count": 2})
    assert {name: len(found) for name, found in ranked.items()} == {"shapes": 2}
    with pytest.raises(FormFault, match=r"interrogation: .*payload\.categories"):
        interrogation.run(red_circle(), {"categories": ["smells"]})


def test_without_a_model_of_the_owner_the_packaged_one_judges(settings: Settings) -> None:
    assert Nsfw.obstacle(settings()) is None
    for threshold, verdict in ((0.5, False), (0.0, True)):
        form = Nsfw(settings(nsfw_threshold=threshold))
        form.open()
        assert form.run(red_circle(), {}) is verdict


@pytest.mark.usefixtures("nothing_packaged")
def test_without_any_model_the_form_is_not_offered(settings: Settings) -> None:
    assert Nsfw.obstacle(settings()) == "it is not installed"


@pytest.mark.parametrize("favourite", [0, 1])
def test_a_classifier_of_the_owner_judges(
    settings: Settings, tmp_path: Path, favourite: int
) -> None:
    save_classifier(tmp_path / "mine", ["normal", "porn"], favourite)
    form = Nsfw(settings(nsfw_model="mine"))
    form.open()
    assert form.run(red_circle(), {}) is (favourite == 1)


def test_what_is_transparent_is_judged_as_white(settings: Settings) -> None:
    form = Nsfw(settings())
    form.open()
    hidden = red_circle().convert("RGBA")
    hidden.putalpha(0)
    white = Image.new("RGB", hidden.size, "white")
    assert form.probability(hidden) == pytest.approx(form.probability(white), abs=1e-6)


def test_a_model_of_the_owner_is_found_by_its_folder(settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(shipped("caption"), tmp_path / "mine")
    form = Caption(settings(caption_model="mine"))
    assert Caption.obstacle(settings(caption_model="mine")) is None
    form.open()
    assert form.run(red_circle(), {}) == "a red circle on a blue background"


def test_a_classifier_without_a_label_for_adults_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    save_classifier(tmp_path / "cats", ["cat", "dog"], 0)
    with pytest.raises(RuntimeError, match=r"nsfw_model: .* knows cat, dog"):
        Nsfw(settings(nsfw_model="cats")).open()


@pytest.mark.parametrize(
    ("form", "setting", "other"),
    [(Caption, "caption_model", "rank"), (Interrogation, "interrogation_model", "text")],
)
def test_a_model_of_another_kind_is_refused(
    settings: Settings, tmp_path: Path, form: type[Caption], setting: str, other: str
) -> None:
    shutil.copytree(shipped(other), tmp_path / "other")
    with pytest.raises(RuntimeError, match="other"):
        form(settings(**{setting: "other"})).open()
