# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde image`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import Run, program
from client.playing_horde import (
    DONE,
    DRAWING,
    KUDOS,
    REQUEST_ID,
    WAITING,
    PlayingHorde,
    check,
    event,
    webp,
)
from PIL import Image

from openhorde.client import read_facts
from openhorde.client.errors import GENERAL


def test_a_picture_with_everything_said(run: Run, playing: PlayingHorde, tmp_path: Path) -> None:
    out = tmp_path / "fox.png"
    source = tmp_path / "source.webp"
    source.write_bytes(webp())
    arguments = ["--width", "64", "--height", "128", "--steps", "20", "--seed", "7"]
    arguments += ["--sampler", "k_euler", "--cfg", "5", "--no-karras", "--negative", "text"]
    arguments += ["--model", "openhorde_shapes", "--source-image", str(source)]
    arguments += ["--mask", str(source), "--denoise", "0.5", "--allow-downgrade"]
    result = run("image", "a fox", "--out", str(out), *arguments)
    assert result.exit_code == 0, result.output
    [sent] = playing.calls("generate/async")
    encoded = sent.body.pop("source_image")
    assert encoded == sent.body.pop("source_mask")
    assert sent.body == {
        "prompt": "a fox ### text",
        "models": ["openhorde_shapes"],
        "source_processing": "inpainting",
        "allow_downgrade": True,
        "params": {
            "width": 64,
            "height": 128,
            "steps": 20,
            "seed": "7",
            "sampler_name": "k_euler",
            "cfg_scale": 5.0,
            "karras": False,
            "denoising_strength": 0.5,
        },
    }
    facts = read_facts(out)
    assert facts["prompt"] == "a fox"
    assert facts["seed"] == "1000"
    assert str(out) in result.stdout
    assert "drawn by Bob's machine" in result.stdout
    assert f"cost {KUDOS} kudos" in result.stdout
    for part in ("queue", "drawing", "download"):
        assert f"{part} " in result.stdout


def test_no_model_means_any(run: Run, playing: PlayingHorde, tmp_path: Path) -> None:
    run("image", "a fox", "--out", str(tmp_path / "fox.webp"))
    assert playing.calls("generate/async")[0].body == {"prompt": "a fox", "models": []}


@pytest.mark.parametrize(
    "command",
    [("image", "a fox"), ("text", "a fox"), ("caption", "FILE"), ("interrogate", "FILE")],
    ids=lambda command: command[0],
)
def test_what_nobody_can_do_is_said_at_once(
    command: tuple[str, str], run: Run, playing: PlayingHorde, tmp_path: Path
) -> None:
    picture = tmp_path / "fox.webp"
    picture.write_bytes(webp())
    playing.outlook = {"is_possible": False}
    asked = [str(picture) if word == "FILE" else word for word in command]
    result = run(*asked)
    assert result.exit_code == 1
    assert "No worker is online that does this kind of work." in result.stderr
    assert "cancelled and costs nothing" in result.stderr
    assert "--wait" in result.stderr
    assert [one.method for one in playing.heard if one.method == "DELETE"] == ["DELETE"]


def test_several_pictures_are_numbered(run: Run, playing: PlayingHorde, tmp_path: Path) -> None:
    playing.pictures = [webp(colour="red"), webp(colour="blue")]
    result = run("image", "a fox", "-n", "2", "--out", str(tmp_path / "fox.jpg"))
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fox-1.jpg", "fox-2.jpg"]


def test_without_a_name_the_request_gives_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("image", "a fox").exit_code == 0
    [file] = tmp_path.iterdir()
    assert file.name == f"horde-{REQUEST_ID[:8]}.webp"
    with Image.open(file) as image:
        assert image.format == "WEBP"


def test_json_is_alone_on_standard_output(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "fox.webp"
    facts = json.loads(run("image", "a fox", "--out", str(out), "--json").stdout)
    assert facts["id"] == REQUEST_ID
    assert facts["kudos"] == KUDOS
    assert set(facts["seconds"]) == {"queue", "drawing", "download"}
    assert facts["pictures"][0]["file"] == str(out)
    assert facts["pictures"][0]["seed"] == "1000"


def test_a_dry_run_explains_the_price(run: Run, playing: PlayingHorde) -> None:
    result = run("image", "a fox", "--dry-run")
    assert f"would cost {KUDOS} kudos" in result.stdout
    assert "6.50  64x64, 20 steps" in result.stdout
    assert "would take about 7 s, 22 s if it goes badly; workers online that could do it: 3" in (
        result.stdout
    )
    assert json.loads(run("image", "a fox", "--dry-run", "--json").stdout)["kudos"] == KUDOS
    assert not playing.calls("generate/check/{id}")


def test_progress_without_a_terminal_is_lines(
    run: Run, playing: PlayingHorde, tmp_path: Path
) -> None:
    impossible = check(is_possible=False, queue_position=0, wait_time=75)
    playing.checks = [WAITING, impossible, DRAWING, DONE]
    playing.warnings = [{"code": "NoAvailableWorker", "message": "no worker [yet]"}]
    result = run("image", "a fox", "--wait", "--out", str(tmp_path / "fox.webp"))
    assert result.stderr.splitlines() == [
        "note: no worker [yet]",
        "place 2 in the queue, 0 of 1 finished, about 9 s to go",
        "waiting: no worker that is online can take this request, 0 of 1 finished",
        "drawing, 0 of 1 finished, about 4 s to go",
        "1 of 1 finished",
        "downloading",
    ]


def test_progress_follows_the_stream(run: Run, playing: PlayingHorde, tmp_path: Path) -> None:
    generation = playing.status()["generations"][0]
    job = {"id": generation["id"], "worker_name": "Bob's machine", "model": "openhorde_shapes"}
    steps = [event("progress", {"id": job["id"], "step": n, "steps": 20}) for n in range(1, 21)]
    playing.streams = [
        [
            event("queued", {"position": 3, "wait_time": 75, "is_possible": True}),
            event("started", job),
            *steps,
            event("generation", generation),
            event("done", playing.status()),
        ]
    ]
    result = run("image", "a fox", "--out", str(tmp_path / "fox.webp"))
    assert result.stderr.splitlines() == [
        "place 3 in the queue, 0 of 1 finished, about 1 min 15 s to go",
        "drawing by Bob's machine, 0 of 1 finished, about 1 min 15 s to go",
        "drawing by Bob's machine, 0 of 1 finished",
        "1 of 1 finished",
        "downloading",
    ]


@pytest.mark.parametrize(
    ("out", "words"), [("fox.gif", "use .webp, .png, .jpg"), ("no/fox.png", "there is no folder")]
)
def test_an_unusable_target_costs_nothing(
    run: Run, playing: PlayingHorde, tmp_path: Path, out: str, words: str
) -> None:
    result = run("image", "a fox", "--out", str(tmp_path / out))
    assert result.exit_code == 1
    assert "--out" in result.stderr
    assert words in result.stderr
    assert playing.heard == []


def test_a_wrong_field_is_called_by_its_option(run: Run, playing: PlayingHorde) -> None:
    errors = {"params.cfg_scale": "Expected `float` <= 100"}
    message = "Input payload validation failed"
    playing.refuse("generate/async", 400, {"message": message, "errors": errors})
    result = run("image", "a fox", "--cfg", "200")
    assert result.exit_code == 1
    assert "--cfg: Expected `float` <= 100 (must be a number from 0 to 100)" in result.stderr


def test_an_unaffordable_request_names_the_options(run: Run, playing: PlayingHorde) -> None:
    refusal = {"message": "50 kudos are needed up front.", "rc": "KudosUpfront"}
    playing.refuse("generate/async", 403, refusal)
    result = run("image", "a fox", "--width", "2048")
    assert result.exit_code == 1
    assert "--allow-downgrade" in result.stderr
    assert "--width" in result.stderr


def test_censored_pictures_are_said_to_be(run: Run, playing: PlayingHorde, tmp_path: Path) -> None:
    playing.state = {"state": "censored", "censored": True}
    result = run("image", "a fox", "--out", str(tmp_path / "fox.webp"))
    assert "censored by the worker" in result.stdout


def test_as_a_real_program(playing: PlayingHorde, tmp_path: Path) -> None:
    out = tmp_path / "fox.webp"
    command = [sys.executable, "-m", "openhorde.cli.main", "image", "a fox", "--out", str(out)]
    done = subprocess.run(
        [*command, "--url", playing.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert read_facts(out)["prompt"] == "a fox"


def test_an_interrupt_cancels_the_request(playing: PlayingHorde, tmp_path: Path) -> None:
    playing.checks = [DRAWING]
    command = [sys.executable, "-m", "openhorde.cli.main", "image", "a fox", "--url", playing.url]
    with program(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("drawing")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130, rest
    assert [one.method for one in playing.calls("generate/status/{id}")] == ["DELETE"]
    assert "interrupted" in rest
    assert "Traceback" not in rest


def test_a_mistake_is_told_by_its_option_alone(run: Run, playing: PlayingHorde) -> None:
    errors = {"params.width": "Expected `int` >= 64"}
    playing.refuse("generate/async", 400, {"message": GENERAL, "errors": errors})
    told = run("image", "a fox", "--width", "63").stderr
    assert told.startswith("horde: --width: ")
    assert GENERAL not in told
    lacking = run("image", "a fox", "--source-processing", "inpainting").stderr
    assert "--source-image: is missing: inpainting changes a picture that is there" in lacking


def test_advice_is_given_once(run: Run, playing: PlayingHorde) -> None:
    own = "This is heavy for the present load (steps). Ask for less (up to 40 steps)."
    playing.refuse("generate/async", 403, {"message": own, "rc": "KudosUpfront"})
    assert run("image", "a fox").stderr.splitlines() == [f"horde: {own}"]


@pytest.mark.parametrize(
    "console", [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}]
)
def test_a_console_that_knows_few_characters_ends_nothing(
    playing: PlayingHorde, tmp_path: Path, console: dict[str, str]
) -> None:
    out = tmp_path / "\U0001f98a.webp"
    command = [
        sys.executable,
        "-m",
        "openhorde.cli.main",
        "image",
        "a \U0001f98a",
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [*command, "--url", playing.url, "--model", "\U0001f98a"],
        capture_output=True,
        check=False,
        env=os.environ | console,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert read_facts(out)["prompt"] == "a \U0001f98a"


def test_half_a_character_in_a_prompt_is_sent_whole(
    run: Run, playing: PlayingHorde, tmp_path: Path
) -> None:
    result = run("image", "a fox \ud83d", "--out", str(tmp_path / "fox.webp"))
    assert result.exit_code == 0, result.output
    (sent,) = playing.calls("generate/async")
    assert sent.body["prompt"] == "a fox \ufffd"
