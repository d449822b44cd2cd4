# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde caption`, `horde nsfw` and `horde interrogate`."""

import asyncio
import json
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run, program
from client.playing_alchemy import done, form, status
from client.playing_horde import Hold, PlayingHorde, event, webp
from processes import wait_until
from rich.console import Console

from openhorde.cli.interrogate import BAR_CELLS, bar
from openhorde.cli.looking import look_at
from openhorde.client import ALCHEMY, AskedForm, AsyncHorde
from openhorde.client.kinds import Kind

CASES = Path(__file__).parents[1] / "cases"
ASYNC = "interrogate/async"


@pytest.fixture
def red(tmp_path: Path) -> str:
    return picture(tmp_path, "red")


@pytest.fixture
def blue(tmp_path: Path) -> str:
    return picture(tmp_path, "blue")


def picture(folder: Path, colour: str) -> str:
    file = folder / f"[{colour}].webp"
    file.write_bytes(webp(colour=colour))
    return str(file)


def test_one_caption_is_alone_on_standard_output(run: Run, playing: PlayingHorde, red: str) -> None:
    result = run("caption", red)
    assert result.exit_code == 0, result.output
    assert result.stdout == "a red picture\n"
    assert playing.calls(ASYNC)[0].body["forms"] == [{"name": "caption"}]


def test_several_pictures_become_a_table(
    run: Run, playing: PlayingHorde, red: str, blue: str
) -> None:
    url = f"{playing.url}/pictures/0"
    result = run("caption", red, blue, url)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if "picture" in line]
    assert len(lines) == 4
    for line, words in zip(lines[1:], (("red", red), ("blue", blue), ("red", url)), strict=True):
        assert f"a {words[0]} picture" in line
        assert words[1] in line


def test_a_failure_does_not_keep_the_others_from_arriving(
    run: Run, playing: PlayingHorde, red: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    result = run("caption", red, str(broken), str(tmp_path / "absent.png"))
    assert result.exit_code == 1
    assert "a red picture" in result.stdout
    assert (
        f"horde: Cannot use source_image {broken}: no picture can be read from it" in result.stderr
    )
    assert "absent.png (No such file or directory)" in result.stderr
    assert len(playing.calls(ASYNC)) == 1


def test_reported_pictures_are_looked_at_or_refused_by_name(
    run: Run, playing: PlayingHorde
) -> None:
    sound = [str(CASES / name) for name in ("comfy_big_ztxt.png", "exif_rot6.jpg")]
    result = run("caption", *sound)
    assert result.exit_code == 0, result.output
    assert len(playing.calls(ASYNC)) == 2
    for name, told in (("header.heic", "a HEIC picture"), ("x.tiff", "a TIFF picture")):
        result = run("caption", str(CASES / name))
        assert result.exit_code == 1
        assert f"(it is {told}). Give PNG, JPEG, WebP" in result.stderr
    assert len(playing.calls(ASYNC)) == 2


def test_a_fault_is_told_with_its_reason(run: Run, playing: PlayingHorde, red: str) -> None:
    playing.alchemy.faults = {"caption": "the [picture] is all noise"}
    result = run("caption", red)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{red}: The form caption was not done: the [picture] is all noise." in result.stderr


def test_captions_as_json(run: Run, playing: PlayingHorde, red: str, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.png")
    result = run("caption", red, absent, "--json")
    assert result.exit_code == 1
    good, bad = json.loads(result.stdout)
    assert good == {
        "picture": red,
        "caption": "a red picture",
        "id": next(iter(playing.alchemy.asked)),
        "kudos": 1,
    }
    assert bad["picture"] == absent
    assert "No such file" in bad["error"]


def test_a_dry_run_explains_the_price(run: Run, playing: PlayingHorde, red: str, blue: str) -> None:
    result = run("caption", red, blue, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would cost 2 kudos" in result.stdout
    assert f"1.00  {red}: caption" in result.stdout
    assert json.loads(run("nsfw", red, "--dry-run", "--json").stdout)["kudos"] == 1
    assert not playing.alchemy.asked


def test_place_and_wait_are_shown(run: Run, playing: PlayingHorde, red: str) -> None:
    job = {"id": "1", "worker_name": "Bob's machine", "model": "caption"}
    playing.streams = [
        [
            event("queued", {"position": 3, "wait_time": 75, "is_possible": True}),
            event("started", job),
            event("done", status(done("caption", "a fox"))),
        ]
    ]
    result = run("caption", red)
    assert result.stderr.splitlines() == [
        "place 3 in the queue, 0 of 1 finished, about 1 min 15 s to go",
        "looking by Bob's machine, 0 of 1 finished, about 1 min 15 s to go",
        "1 of 1 finished",
    ]


@pytest.mark.parametrize(("unsafe", "words"), [(False, "  safe for"), (True, "  not safe for")])
def test_a_verdict_is_a_line(
    run: Run, playing: PlayingHorde, red: str, unsafe: bool, words: str
) -> None:
    playing.alchemy.results = {"nsfw": unsafe}
    result = run("nsfw", red)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{red}{words} work\n"
    assert json.loads(run("nsfw", red, "--json").stdout)[0]["nsfw"] is unsafe


def test_keywords_have_bars_by_category(run: Run, red: str) -> None:
    result = run("interrogate", red)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert rows == [
        [red],
        ["colors"],
        ["red", "[circle]", "75.2", "%", bar(75.25)],
        ["blue", "background", "20.5", "%", bar(20.5)],
        ["mediums"],
        ["a", "drawing", "60.0", "%", bar(60)],
    ]


def test_as_many_keywords_as_asked_for(run: Run, playing: PlayingHorde, red: str) -> None:
    result = run("interrogate", red, "--top", "1")
    assert "red [circle]" in result.stdout
    assert "blue background" not in result.stdout
    [asked] = playing.calls(ASYNC)[0].body["forms"]
    assert asked == {"name": "interrogation", "payload": {"count": 1}}
    assert run("interrogate", red, "--top", "0").exit_code == 2


def test_keywords_as_json(run: Run, red: str) -> None:
    [facts] = json.loads(run("interrogate", red, "--json").stdout)
    assert facts["interrogation"]["mediums"] == [{"text": "a drawing", "confidence": 60.0}]


def test_bars_are_as_long_as_the_confidence() -> None:
    assert [len(bar(percent)) for percent in (-1, 0, 50, 100, 120)] == [0, 0, 12, 24, 24]
    assert bar(100) == "█" * BAR_CELLS
    assert bar(100 / BAR_CELLS / 2) == "▌"


@pytest.mark.parametrize("refusal", [(401, "InvalidAPIKey"), (403, "TimeoutIP")])
def test_a_refusal_is_a_sentence(
    run: Run, playing: PlayingHorde, red: str, refusal: tuple[int, str]
) -> None:
    code, rc = refusal
    playing.refuse(ASYNC, code, {"message": "You may not.", "rc": rc})
    result = run("caption", red)
    assert result.exit_code == 1
    assert "You may not." in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_field_is_called_by_its_picture(run: Run, playing: PlayingHorde, red: str) -> None:
    errors = {"source_image": "is not base64"}
    playing.refuse(ASYNC, 400, {"message": "Input payload validation failed", "errors": errors})
    assert f"{red}: is not base64" in run("caption", red).stderr


def test_an_absent_horde_is_told_once(run: Run, red: str, blue: str) -> None:
    with PlayingHorde().running() as gone:
        url = gone.url
    result = run("caption", red, blue, "--url", url)
    assert result.exit_code == 1
    assert result.stderr.count("No answer from") == 1


def test_an_interrupt_cancels_all_requests(playing: PlayingHorde, red: str, blue: str) -> None:
    playing.alchemy.statuses = [status(form("caption", "processing"))]
    command = [sys.executable, "-m", "openhorde.cli.main", "caption", red, blue]
    command += ["--url", playing.url]
    with program(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_until(lambda: len(set(playing.alchemy.watched)) == 2, "both are watched")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130, rest
    assert set(playing.alchemy.cancelled) == set(playing.alchemy.asked)
    assert "interrupted" in rest
    assert "Traceback" not in rest


async def test_it_ends_only_when_all_requests_are_cancelled(
    playing: PlayingHorde, red: str, blue: str
) -> None:
    entered: list[str] = []
    cancelled: list[str] = []

    class Slow(AsyncHorde):
        """The first request is cancelled at once, the second after many a turn of the loop."""

        async def cancel_quietly(self, request_id: str, kind: Kind[Any, Any] = ALCHEMY) -> bool:
            entered.append(request_id)
            for _ in range(100 * (len(entered) - 1)):
                await asyncio.sleep(0)
            cancelled.append(request_id)
            return True

    playing.streams = [[Hold]]
    async with Slow(playing.url) as horde:
        looking = look_at(horde, [red, blue], AskedForm(name="caption"), Console(file=StringIO()))
        task = asyncio.create_task(looking)
        await asyncio.to_thread(
            wait_until, lambda: len(playing.calls("generate/events/{id}")) == 2, "both are watched"
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(cancelled) == sorted(playing.alchemy.asked)


def test_a_dry_run_tells_the_wait_or_that_nobody_can_do_it(
    run: Run, playing: PlayingHorde, red: str
) -> None:
    playing.alchemy.prospects = {
        "is_possible": True,
        "workers_fitting": 2,
        "eta": {"p50": 95.0, "p90": 9595.0},
    }
    told = run("caption", red, "--dry-run").stdout
    assert "would take about 1 min 35 s, 2 h 39 min if it goes badly" in told
    assert "workers online that could do it: 2" in told
    playing.alchemy.prospects = {"is_possible": False, "message": "No worker does captions."}
    assert "note: No worker does captions." in run("caption", red, "--dry-run").stdout
