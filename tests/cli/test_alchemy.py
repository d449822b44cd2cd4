# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde alchemy`: every form, from the command line to a file or a line."""

import base64
import json
from pathlib import Path
from typing import get_args

import pytest
from cli.conftest import Run
from client.playing_horde import PlayingHorde, webp

from openhorde.cli.alchemy import FORMS, form_named
from openhorde.client import HordeError
from openhorde.wire.alchemy import Form, Interrogation
from openhorde.wire.image import PostProcessor

SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


@pytest.fixture
def fox(tmp_path: Path) -> str:
    file = tmp_path / "fox.webp"
    file.write_bytes(webp())
    return str(file)


def test_every_form_of_the_wire_can_be_asked_for() -> None:
    assert Form == Interrogation | PostProcessor
    assert set(FORMS) == {*get_args(Interrogation), *get_args(PostProcessor)}
    for form in FORMS:
        assert form_named(form) == form_named(form.lower().replace("_", "-")) == form


@pytest.mark.parametrize("form", get_args(PostProcessor))
def test_a_picture_becomes_a_file(
    form: str, run: Run, playing: PlayingHorde, fox: str, tmp_path: Path
) -> None:
    playing.alchemy.results = {form: base64.b64encode(webp(colour="blue")).decode()}
    result = run("alchemy", form, fox, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    file = tmp_path / f"fox-{form}.webp"
    assert str(file) in result.stdout
    assert file.read_bytes() == webp(colour="blue")


def test_pictures_of_one_name_become_a_file_each(
    run: Run, playing: PlayingHorde, fox: str, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "fox.webp").write_bytes(webp())
    playing.alchemy.results = {"strip_background": base64.b64encode(webp(colour="blue")).decode()}
    pictures = [fox, str(tmp_path / "a" / "fox.webp"), str(tmp_path / "b" / "fox.webp")]
    shown = run("alchemy", "strip_background", *pictures, "-o", str(tmp_path), "--json").stdout
    files = [Path(told["strip_background"]) for told in json.loads(shown)]
    assert [file.name for file in files] == [
        "fox-strip_background.webp",
        "fox-strip_background-2.webp",
        "fox-strip_background-3.webp",
    ]
    assert {file.read_bytes() for file in files} == {webp(colour="blue")}


def test_a_drawing_becomes_a_file(
    run: Run, playing: PlayingHorde, fox: str, tmp_path: Path
) -> None:
    playing.alchemy.results = {"vectorize": SVG}
    [told] = json.loads(run("alchemy", "vectorize", fox, "-o", str(tmp_path), "--json").stdout)
    assert Path(told["vectorize"]).read_text() == SVG


def test_facts_are_printed(run: Run, playing: PlayingHorde, fox: str) -> None:
    playing.alchemy.results = {
        "palette": [{"colour": "#ff0000", "share": 0.75}, {"colour": "#0000ff", "share": 0.25}],
        "describe": {"width": 64, "transparent": False, "format": "WEBP"},
    }
    assert "colour #ff0000, share 0.75" in run("alchemy", "palette", fox).stdout
    told = run("alchemy", "describe", fox).stdout.split()
    assert told[-6:] == ["width", "64", "transparent", "false", "format", "WEBP"]


def test_a_form_unknown_and_a_folder_that_is_not_there_are_told(
    run: Run, playing: PlayingHorde, fox: str
) -> None:
    assert "did you mean vectorize?" in run("alchemy", "vectorise", fox).stderr
    assert "there is no such folder" in run("alchemy", "palette", fox, "-o", "/nowhere").stderr
    assert playing.heard == []
    with pytest.raises(HordeError, match="known are caption"):
        form_named("zzz")
