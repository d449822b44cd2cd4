# SPDX-License-Identifier: AGPL-3.0-or-later
"""The forms that need no model."""

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from PIL import Image

from openhorde.worker.forms.base import FormFault
from openhorde.worker.forms.describe import Describe
from openhorde.worker.forms.palette import Palette
from openhorde.worker.forms.registry import FORMS, KNOWN, form_kind, obstacles
from openhorde.worker.forms.vectorize import Vectorize
from openhorde.worker.forms.word_lists import CATEGORIES, words_of
from openhorde.worker.settings import WorkerSettings

Settings = Callable[..., WorkerSettings]


def halves() -> Image.Image:
    """Three quarters red, one quarter blue."""
    picture = Image.new("RGB", (64, 64), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 0, 16, 64))
    return picture


def test_the_palette_names_colours_with_their_share(settings: Settings) -> None:
    assert Palette(settings()).run(halves(), {"count": 2}) == [
        {"colour": "#ff0000", "share": 0.75},
        {"colour": "#0000ff", "share": 0.25},
    ]


def test_what_is_transparent_counts_as_white(settings: Settings) -> None:
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert Palette(settings()).run(clear, {}) == [{"colour": "#ffffff", "share": 1.0}]


@pytest.mark.parametrize("count", [0, 65, "many"])
def test_a_payload_out_of_bounds_is_named(settings: Settings, count: object) -> None:
    with pytest.raises(FormFault, match=r"palette: .*payload\.count"):
        Palette(settings()).run(halves(), {"count": count})


def test_null_and_unknown_words_of_a_payload_are_passed_over(settings: Settings) -> None:
    assert len(Palette(settings()).run(halves(), {"count": None, "mood": "blue"})) == 2


def test_a_picture_is_described(settings: Settings) -> None:
    told = Describe(settings()).run(halves(), {})
    assert (told["width"], told["height"], told["transparent"]) == (64, 64, False)
    assert told["average_colour"] == "#bf0040"
    assert 0 < told["brightness"] < 1
    # One character of size, one of range, four for the average, two for each other component.
    assert len(told["blurhash"]) == 1 + 1 + 4 + 2 * 15


def test_a_picture_is_redrawn_as_areas(settings: Settings) -> None:
    drawn = Vectorize(settings()).run(halves(), {})
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg")
    fills = {str(path.get("fill")).lower() for path in root if path.tag.endswith("path")}
    assert len(fills) == 2


def test_a_huge_picture_is_made_smaller_before_it_is_redrawn(settings: Settings) -> None:
    drawn = Vectorize(settings()).run(halves().resize((4096, 2048)), {})
    assert ElementTree.fromstring(drawn).get("width") == "1024"


def test_every_form_says_whether_it_can_be_done(settings: Settings) -> None:
    told = obstacles(settings())
    assert set(FORMS) <= set(told) <= KNOWN
    assert [told[name] for name in FORMS] == [None] * len(FORMS)
    assert "aesthetic" not in KNOWN
    with pytest.raises(KeyError):
        form_kind("aesthetic")


def test_the_word_lists_have_words_and_none_twice() -> None:
    for category in CATEGORIES:
        words = words_of(category)
        assert 50 <= len(words) <= 200, category
        assert len(set(words)) == len(words), category
        assert all(word == word.strip() for word in words)
    with pytest.raises(KeyError):
        words_of("../words/tags")
