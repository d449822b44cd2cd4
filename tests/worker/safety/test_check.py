# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every picture is judged, and what could not be judged is not sent."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from openhorde.worker.safety.check import SafetyCheck, Unchecked
from openhorde.worker.safety.notice import notice
from openhorde.worker.safety.words import compile_words
from openhorde.worker.settings import load_settings

PICTURE = Image.new("RGB", (64, 48), "red")


class Sure:
    """A judge that is always so sure, or raises what it is made of."""

    def __init__(self, says: float | Exception) -> None:
        self._says = says
        self.seen = 0

    def open(self) -> None:
        pass

    def score(self, picture: Image.Image) -> float:
        self.seen += 1
        if isinstance(self._says, Exception):
            raise self._says
        return self._says


@pytest.fixture
def check() -> Callable[..., SafetyCheck]:
    """Makes a check with such judges; other keywords are settings."""

    def make(nsfw: Any = None, minors: Any = None, **flags: Any) -> SafetyCheck:
        made = SafetyCheck(
            load_settings(None, None, flags),
            "cpu",
            nsfw=Sure(nsfw) if nsfw is not None else None,
            minors=Sure(minors) if minors is not None else None,
        )
        made.open()
        return made

    return make


@pytest.mark.parametrize(
    ("score", "threshold", "verdict"),
    [
        (0.0, 0.5, "ok"),
        (0.49, 0.5, "ok"),
        (0.5, 0.5, "nsfw"),
        (1.0, 0.5, "nsfw"),
        (0.3, 0.2, "nsfw"),
    ],
)
def test_a_picture_is_indecent_from_the_threshold_on(
    check: Any, score: float, threshold: float, verdict: str
) -> None:
    made = check(score, safety_threshold=threshold)
    assert made.judge(PICTURE, decent=True) == verdict
    assert made.judge(PICTURE, decent=False) == "ok"


def test_a_models_own_checker_counts_beside_the_safety_model(check: Any) -> None:
    assert check().judge(PICTURE, decent=True, own=lambda picture: False) == "ok"
    assert check().judge(PICTURE, decent=True, own=lambda picture: True) == "nsfw"
    assert check(0.0).judge(PICTURE, decent=True, own=lambda picture: True) == "nsfw"
    assert check(1.0).judge(PICTURE, decent=True, own=lambda picture: False) == "nsfw"


@pytest.mark.usefixtures("nothing_packaged")
def test_nobody_to_judge_means_not_sent(check: Any) -> None:
    with pytest.raises(Unchecked, match="there is no safety_model"):
        check().judge(PICTURE, decent=True)
    assert check().judge(PICTURE, decent=False) == "ok"
    assert check().judge(PICTURE, decent=True, harmless=True) == "ok"
    assert check(1.0).judge(PICTURE, decent=True, harmless=True) == "nsfw"


@pytest.mark.parametrize("says", [RuntimeError("broken"), math.nan, -0.5, 2.0, math.inf])
def test_a_judge_that_fails_means_not_sent(check: Any, says: Any) -> None:
    with pytest.raises(Unchecked):
        check(says).judge(PICTURE, decent=True)
    with pytest.raises(Unchecked):
        check(1.0, says).judge(PICTURE, decent=False)

    def fail(picture: Image.Image) -> bool:
        raise ValueError("broken")

    with pytest.raises(Unchecked, match="broken"):
        check(0.0).judge(PICTURE, decent=True, own=fail)


@pytest.mark.parametrize(
    ("nsfw", "minors", "verdict"),
    [(0.9, 0.9, "csam"), (0.9, 0.1, "nsfw"), (0.1, 0.9, "ok"), (0.1, 0.1, "ok")],
)
@pytest.mark.parametrize("decent", [True, False])
def test_what_is_unlawful_is_never_sent_whatever_was_asked_for(
    check: Any, nsfw: float, minors: float, verdict: str, decent: bool
) -> None:
    expected = "ok" if verdict == "nsfw" and not decent else verdict
    assert check(nsfw, minors).judge(PICTURE, decent=decent) == expected


@pytest.mark.usefixtures("nothing_packaged")
def test_children_are_looked_for_only_beside_a_safety_model(check: Any) -> None:
    with pytest.raises(RuntimeError, match="csam_model: it needs a safety_model"):
        check(None, 0.5)


@pytest.mark.parametrize(
    ("words", "prompt", "found"),
    [
        ([], "anything", False),
        (["  "], "  ", False),
        (["war"], "a WAR, at last", True),
        (["war"], "a warm room", False),
        (["c++"], "written in c++", True),
        (["two  words"], "here two   words are", True),
        (["two words"], "two other words", False),
        (["a", "b"], "only b", True),
        (["über"], "ÜBER", True),
    ],
)
def test_words_are_found_whole_and_in_any_case(
    check: Any, words: list[str], prompt: str, found: bool
) -> None:
    assert check(censorlist=words).forbids(prompt) is found
    assert (compile_words(words) is None) == (not any(word.strip() for word in words))


@pytest.mark.parametrize("size", [(64, 64), (512, 256), (8, 900)])
def test_the_notice_is_as_large_as_what_it_stands_for(size: tuple[int, int]) -> None:
    picture = notice(size)
    assert picture.size == size
    assert len(picture.getcolors(size[0] * size[1]) or []) > 1
    assert picture.tobytes() == notice(size).tobytes()
