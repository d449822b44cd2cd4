# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde text`."""

import json
import signal
import subprocess
import sys

from cli.conftest import Run, program
from client.playing_horde import PlayingHorde, event
from client.playing_text import TEXT_ID, TEXT_KUDOS, TEXT_WAITING, TEXT_WRITING, text_check

ASYNC = "generate/text/async"


def test_a_text_with_everything_said(run: Run, playing: PlayingHorde) -> None:
    arguments = ["--max-length", "20", "--context", "1024", "--temperature", "0.7"]
    arguments += ["--top-p", "0.9", "--top-k", "40", "--min-p", "0.1", "--rep-pen", "1.1"]
    arguments += ["--stop", "THE END", "--stop", "\n", "--model", "tiny/storyteller", "-n", "1"]
    result = run("text", "Once upon a time", *arguments, "--trusted", "--allow-downgrade")
    assert result.exit_code == 0, result.output
    assert result.stdout == " there was a fox.\n"
    [sent] = playing.calls(ASYNC)
    assert sent.body == {
        "prompt": "Once upon a time",
        "models": ["tiny/storyteller"],
        "trusted_workers": True,
        "allow_downgrade": True,
        "params": {
            "max_length": 20,
            "max_context_length": 1024,
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.1,
            "rep_pen": 1.1,
            "stop_sequence": ["THE END", "\n"],
            "n": 1,
        },
    }


def test_only_the_text_goes_to_standard_output(run: Run, playing: PlayingHorde) -> None:
    job = {"id": "1", "worker_name": "Bob's scribe", "model": "tiny/storyteller"}
    playing.texts.warnings = [{"code": "Slow", "message": "no worker [yet]"}]
    playing.streams = [
        [
            event("queued", {"position": 4, "wait_time": 30, "is_possible": True}),
            event("started", job),
            event("done", text_check("a fox")),
        ]
    ]
    result = run("text", "Once")
    assert result.stdout == "a fox\n"
    assert result.stderr.splitlines()[:-1] == [
        "note: no worker [yet]",
        "place 4 in the queue, 0 of 1 finished, about 30 s to go",
        "writing by Bob's scribe, 0 of 1 finished, about 30 s to go",
        "1 of 1 finished",
        "written by Bob's scribe with tiny/storyteller",
    ]
    assert result.stderr.splitlines()[-1].startswith("cost 3 kudos, took ")


def test_nothing_said_is_left_to_the_horde(run: Run, playing: PlayingHorde) -> None:
    run("text", "Once")
    assert playing.calls(ASYNC)[0].body == {"prompt": "Once"}


def test_the_prompt_may_come_through_a_pipe(playing: PlayingHorde) -> None:
    command = [sys.executable, "-m", "openhorde.cli.main", "text", "-", "--url", playing.url]
    done = subprocess.run(command, input="Once\nupon", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == " there was a fox.\n"
    assert playing.calls(ASYNC)[0].body["prompt"] == "Once\nupon"


def test_several_texts_are_kept_apart(run: Run, playing: PlayingHorde) -> None:
    playing.texts.statuses = [text_check("a", "b")]
    assert run("text", "Once", "-n", "2").stdout == "a\n---\nb\n"


def test_texts_as_json(run: Run) -> None:
    facts = json.loads(run("text", "Once", "--json").stdout)
    assert facts["prompt"] == "Once"
    [text] = facts["texts"]
    assert (text["text"], text["seed"], text["kudos"]) == (" there was a fox.", 7, TEXT_KUDOS)


def test_a_dry_run_explains_the_price(run: Run, playing: PlayingHorde) -> None:
    result = run("text", "Once", "--dry-run")
    assert "would cost 3 kudos" in result.stdout
    assert "2.00  80 tokens" in result.stdout
    assert json.loads(run("text", "Once", "--dry-run", "--json").stdout)["kudos"] == TEXT_KUDOS
    assert not playing.calls("generate/text/status/{id}")


def test_a_wrong_field_is_called_by_its_option(run: Run, playing: PlayingHorde) -> None:
    errors = {"params.max_length": "Expected `int` >= 16"}
    playing.refuse(ASYNC, 400, {"message": "Input payload validation failed", "errors": errors})
    result = run("text", "Once", "--max-length", "4")
    assert result.exit_code == 1
    assert "--max-length: Expected `int` >= 16 (must be a whole number from 16 to 4096)" in (
        result.stderr
    )
    assert result.stdout == ""


def test_an_interrupt_cancels_the_request(playing: PlayingHorde) -> None:
    playing.texts.statuses = [TEXT_WAITING, TEXT_WRITING]
    command = [sys.executable, "-m", "openhorde.cli.main", "text", "Once", "--url", playing.url]
    with program(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("place 4")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130, rest
    assert playing.texts.cancelled == [TEXT_ID]
    assert "interrupted" in rest
    assert "Traceback" not in rest
