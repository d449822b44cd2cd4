# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures remember how they were made."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from client.playing_horde import webp
from PIL import Image

from openhorde.client import Picture, read_facts
from openhorde.client.metadata import EXIF_FOLDER, USER_COMMENT, picture_format, with_facts
from openhorde.client.settings import asked_facts

PROMPT = 'a "fox" & <hen>, 狐\nat dusk'
BODY: dict[str, Any] = {
    "prompt": f"{PROMPT} ### text, frame",
    "params": {"steps": 12, "sampler_name": "k_dpmpp_2m", "cfg_scale": 6.5, "karras": False},
}


@pytest.fixture
def picture() -> Picture:
    return Picture(
        content=webp((128, 64)),
        id="picture-id",
        request_id="request-id",
        seed="42",
        model="openhorde_shapes",
        worker_id="worker-id",
        worker_name="Bob's machine",
        gen_metadata=[],
        kudos=1.0,
        censored=False,
        asked=asked_facts(BODY),
    )


@pytest.mark.parametrize("suffix", [".webp", ".png", ".jpg", ".JPEG"])
def test_facts_read_back(picture: Picture, tmp_path: Path, suffix: str) -> None:
    file = picture.save(tmp_path / f"fox{suffix}")
    facts = read_facts(file)
    assert facts["prompt"] == PROMPT
    assert facts["negative_prompt"] == "text, frame"
    assert facts["seed"] == "42"
    assert facts["steps"] == "12"
    assert facts["sampler_name"] == "k_dpmpp_2m"
    assert facts["cfg_scale"] == "6.5"
    assert (facts["width"], facts["height"]) == ("128", "64")
    assert facts["model"] == "openhorde_shapes"
    assert facts["worker"] == "Bob's machine"
    assert facts["request_id"] == "request-id"
    assert facts["software"].startswith("openhorde ")


def test_png_carries_the_text_other_tools_read(picture: Picture, tmp_path: Path) -> None:
    with Image.open(picture.save(tmp_path / "fox.png")) as image:
        image.load()
        text = image.info["parameters"]
    assert text.startswith(f"{PROMPT}\nNegative prompt: text, frame\nSteps: 12, ")
    assert "Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 6.5, Seed: 42" in text
    assert "Size: 128x64" in text


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_exif_carries_the_same_text(picture: Picture, tmp_path: Path, suffix: str) -> None:
    with Image.open(picture.save(tmp_path / f"fox{suffix}")) as image:
        comment = image.getexif().get_ifd(EXIF_FOLDER)[USER_COMMENT]
    assert comment.startswith(b"UNICODE\0")
    assert comment[8:].decode("utf-16-be").startswith(PROMPT)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_keeps_its_pixels_to_the_bit(mode: str) -> None:
    plain = Image.effect_noise((61, 37), 80).convert(mode)
    plain.putpixel((3, 3), (0,) * len(mode))
    written = BytesIO()
    plain.save(written, "WEBP", quality=60)
    noted = with_facts(written.getvalue(), ".webp", picture_facts())
    again = with_facts(noted, ".webp", picture_facts())
    assert noted == again
    with Image.open(written) as before, Image.open(BytesIO(noted)) as after:
        assert before.mode == after.mode == mode
        assert before.tobytes() == after.tobytes()


def test_a_lossless_webp_keeps_its_pixels_too() -> None:
    written = BytesIO()
    Image.effect_noise((10, 10), 80).convert("RGB").save(written, "WEBP", lossless=True)
    with Image.open(BytesIO(with_facts(written.getvalue(), ".webp", picture_facts()))) as after:
        assert after.size == (10, 10)


def test_other_formats_become_webp() -> None:
    written = BytesIO()
    Image.new("RGB", (10, 10), "red").save(written, "PNG")
    with Image.open(BytesIO(with_facts(written.getvalue(), ".webp", picture_facts()))) as after:
        assert after.format == "WEBP"
        assert after.info["exif"]


def test_jpeg_shows_white_through_transparency() -> None:
    content = webp((8, 8), "#00000000", "RGBA")
    with Image.open(BytesIO(with_facts(content, ".jpg", picture_facts()))) as after:
        assert after.getpixel((0, 0)) == (255, 255, 255)


def test_a_very_long_prompt_still_fits_a_jpeg(picture: Picture, tmp_path: Path) -> None:
    long = replace(picture, asked={**picture.asked, "prompt": "狐" * 40_000})
    facts = read_facts(long.save(tmp_path / "fox.jpg"))
    assert facts["prompt"].startswith("狐狐")
    assert read_facts(long.save(tmp_path / "fox.webp"))["prompt"] == "狐" * 40_000


def test_characters_xml_forbids_are_left_out(picture: Picture, tmp_path: Path) -> None:
    odd = replace(picture, asked={**picture.asked, "prompt": "a\x00b\x1bc\ud800d"})
    assert read_facts(odd.save(tmp_path / "odd.png"))["prompt"] == "abcd"
    assert read_facts(odd.save(tmp_path / "odd.webp"))["prompt"] == "abcd"
    assert read_facts(odd.save(tmp_path / "odd.jpg"))["prompt"] == "abcd"


def test_an_ordinary_picture_has_no_facts(tmp_path: Path) -> None:
    file = tmp_path / "plain.webp"
    file.write_bytes(webp())
    assert read_facts(file) == {}


def test_unknown_suffixes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"\.gif: use \.webp, \.png, \.jpg"):
        picture_format(".gif")


def test_defaults_of_the_wire_are_noted() -> None:
    facts = asked_facts({"prompt": "a fox", "params": {"control_type": "canny"}})
    assert facts["steps"] == 20
    assert facts["control_type"] == "canny"
    assert facts["cfg_scale"] == 5.0
    assert asked_facts({"prompt": "a fox", "source_image": ""})["source_processing"] == "img2img"


def picture_facts() -> dict[str, Any]:
    return {
        **asked_facts(BODY),
        "seed": "1",
        "model": "m",
        "worker": "w",
        "request_id": "r",
        "software": "s",
    }
