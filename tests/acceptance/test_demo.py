# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a newcomer does first: `horde demo`, then `horde up` and what it tells one to type."""

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageFilter
from processes import Running, data_folder, environment, run_horde

from openhorde.cli.children import horde_command
from openhorde.cli.private_horde import free_port
from openhorde.client.metadata import read_facts
from openhorde.worker.demo.judge import judge
from openhorde.worker.demo.vocabulary import SHAPE_NAMES

PROMPT = "a red circle on a blue background"
SECONDS_MAX = 300
FOR_THE_DEMO_MODEL = ("--width", "64", "--height", "64", "--steps", "20", "--cfg", "5")


def assert_shows_red_on_blue(file: Path) -> None:
    """A red shape before blue, and the file says how it came to be."""
    with Image.open(file) as picture:
        seen = judge(np.asarray(picture.convert("RGB"))).attributes
    assert (seen.colour, seen.background) == ("red", "blue")
    facts = read_facts(file)
    assert facts["prompt"] == PROMPT
    assert facts["model"] == "openhorde_shapes"
    assert facts["seed"].isdigit()


def assert_names_red_on_blue(caption: str, shapes: Collection[str] = SHAPE_NAMES) -> None:
    """The caption of the picture names both colours and one of the shapes: of a seed that is drawn
    by lot, the little model makes a circle nearly always."""
    words = set(re.findall(r"\w+", caption))
    assert {"red", "blue"} <= words, caption
    assert not words.isdisjoint(shapes), caption


def test_the_demo_draws_what_it_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "circle.webp"
    done = subprocess.run(
        horde_command("demo", "--prompt", PROMPT, "--out", str(out)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"cost [\d.]+ kudos", done.stdout)
    for part in ("start-up", "queue", "drawing", "download", "looking"):
        assert re.search(rf"{part} [\d.]+ s", done.stdout), done.stdout
    assert_names_red_on_blue(found(r"the horde sees: (.+)", done.stdout))
    assert_shows_red_on_blue(out)


@pytest.fixture
def up() -> Iterator[Running]:
    """`horde up` on an empty folder, not started yet."""
    with data_folder() as data:
        port = free_port()
        yield Running(data / "up.log", "up", "--data", str(data / "horde"), "--port", str(port))


def test_a_horde_that_is_started_again_knows_its_people(up: Running, tmp_path: Path) -> None:
    seen = []
    for number in (1, 2):
        up.log.unlink(missing_ok=True)
        with up:
            said = up.wait_for_word("Ctrl-C stops everything.")
            worker_log = found(r"(\S+worker\.log)", said)
            opened = Path(worker_log).read_text(encoding="utf-8").count("the engine is open")
            assert opened == 2 * number
            url, key = found(r"is up at (\S+)", said), found(r"API key: (\S+)", said)
            account = httpx.get(f"{url}/api/v2/find_user", headers={"apikey": key}).json()
            seen.append((url, key, account["id"], account["username"]))
            out = tmp_path / f"{number}.png"
            access = ("--url", url, "--api-key", key)
            run_horde("image", PROMPT, "--out", str(out), *FOR_THE_DEMO_MODEL, *access)
            assert_shows_red_on_blue(out)
            assert up.stop(signal.SIGINT) == 0
    assert seen[0] == seen[1]


def test_every_line_that_up_tells_one_to_type_works(up: Running, tmp_path: Path) -> None:
    with up:
        said = up.wait_for_word("Ctrl-C stops everything.")
        url = found(r"is up at (\S+)", said)
        drawing, captioning, writing, _ = [
            [str(tmp_path / word) if word == "circle.webp" else word for word in shlex.split(line)]
            for line in re.findall(r"^  \S*horde (.+)$", said, re.MULTILINE)
        ]
        run_horde(*drawing, "--seed", "1")
        assert_shows_red_on_blue(tmp_path / "circle.webp")
        assert_names_red_on_blue(run_horde(*captioning), {"circle"})
        assert len(run_horde(*writing).split()) > 3
        asked = (str(tmp_path / "circle.webp"), "--json", "--url", url)
        [judged] = json.loads(run_horde("nsfw", *asked))
        assert judged["nsfw"] is False
        [interrogated] = json.loads(run_horde("interrogate", *asked))
        assert interrogated["interrogation"]["colours"][0]["confidence"] > 0
        kinds = {
            worker["type"] for worker in json.loads(run_horde("status", *asked[1:]))["workers"]
        }
        assert kinds == {"image", "interrogation", "text"}
        assert up.stop(signal.SIGINT) == 0


def test_pictures_start_from_pictures(up: Running, tmp_path: Path) -> None:
    drawn, mask = tmp_path / "drawn.png", tmp_path / "mask.png"
    again, filled = tmp_path / "again.png", tmp_path / "filled.png"
    with up:
        said = up.wait_for_word("Ctrl-C stops everything.")
        access = ("--url", found(r"is up at (\S+)", said))
        run_horde("image", PROMPT, "--out", str(drawn), "--seed", "1", *FOR_THE_DEMO_MODEL, *access)
        with Image.open(drawn) as picture:
            shape = (
                np.abs(np.asarray(picture.convert("RGB")).astype(int) - (0, 0, 255)).sum(2) > 200
            )
        Image.fromarray(shape).filter(ImageFilter.MaxFilter(9)).save(mask)
        source = ("--source-image", str(drawn), "--seed", "1", *FOR_THE_DEMO_MODEL, *access)
        run_horde("image", PROMPT, "--out", str(again), "--denoise", "0.4", *source)
        green = "a green circle on a blue background"
        run_horde("image", green, "--out", str(filled), "--mask", str(mask), *source)
        assert up.stop(signal.SIGINT) == 0
    assert colours(drawn) == colours(again) == ("red", "blue")
    assert colours(filled) == ("green", "blue")


def colours(file: Path) -> tuple[str | None, str | None]:
    """Of the shape and the background."""
    with Image.open(file) as picture:
        seen = judge(np.asarray(picture.convert("RGB"))).attributes
    return seen.colour, seen.background


def found(pattern: str, text: str) -> str:
    """What the pattern's group stands for in the text."""
    match = re.search(pattern, text)
    assert match, text
    return match[1]
