# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker`, and children that end with their parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import Run, program
from client.playing_horde import GOOD_KEY, PlayingHorde

from openhorde import __version__
from openhorde.cli.children import horde_command
from openhorde.cli.worker import worker_environment
from openhorde.cli.worker_log import WorkerLog
from openhorde.worker.agent import events
from openhorde.worker.settings import MISCONFIGURED_STATUS, settings_fields


def test_every_setting_is_an_option(run: Run) -> None:
    text = run("worker", "run", "--help").stdout
    for field in settings_fields():
        option = {"horde_url": "--url"}.get(field.name, "--" + field.name.replace("_", "-"))
        assert option in text


def test_a_wrong_setting_is_a_sentence(run: Run) -> None:
    result = run("worker", "--max-threads", "99")
    assert result.exit_code == MISCONFIGURED_STATUS
    assert "max_threads" in result.stderr
    assert "from 1 to 16" in result.stderr


def test_the_worker_reads_the_variables_of_all_commands() -> None:
    environ = {"OPENHORDE_URL": "http://horde", "OPENHORDE_API_KEY": "shared"}
    assert worker_environment(environ)["OPENHORDE_WORKER_HORDE_URL"] == "http://horde"
    own = {**environ, "OPENHORDE_WORKER_API_KEY": "own"}
    assert worker_environment(own)["OPENHORDE_WORKER_API_KEY"] == "own"


@pytest.mark.parametrize(
    ("event", "entry"),
    [
        (events.Delivered("1", 6.5), ("delivered", {"job": "1", "kudos": 6.5})),
        (events.Idle(kind="text"), ("idle", {"kind": "text"})),
        (
            events.Idle({"models": 2, "nsfw": 0}),
            ("idle", {"kind": "image", "waiting_but_unfit": {"models": 2}}),
        ),
        (
            events.Maintenance("by its owner", "text"),
            ("in maintenance", {"kind": "text", "message": "by its owner"}),
        ),
        (events.Stopped(1), ("stopped", {"status": 1})),
        (events.Progress("1", 1, 20), None),
    ],
)
def test_events_become_log_entries(event: events.Event, entry: object) -> None:
    assert WorkerLog().entry(event) == entry


def test_idling_on_is_not_news() -> None:
    log = WorkerLog()
    assert log.entry(events.Idle()) is not None
    assert log.entry(events.Idle()) is None
    assert log.entry(events.Idle(kind="text")) is not None
    log.entry(events.Popped(["1"], "a model", "a picture"))
    assert log.entry(events.Idle()) is not None
    assert log.entry(events.Idle(kind="text")) is None


def test_staying_in_maintenance_is_not_news() -> None:
    log = WorkerLog()
    resting = events.Maintenance("in maintenance")
    assert log.entry(resting) is not None
    assert log.entry(resting) is None
    assert log.entry(events.Maintenance("in maintenance", "text")) is not None
    log.entry(events.Idle())
    assert log.entry(resting) is not None
    assert log.entry(events.Idle()) is not None


def test_a_child_is_the_command_it_was_told_to_be() -> None:
    done = subprocess.run(horde_command("--version"), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"openhorde {__version__}"


def test_a_child_of_nobody_does_not_start() -> None:
    command = horde_command("--version")
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is gone" in done.stderr


def test_children_end_when_their_parent_is_killed(playing: PlayingHorde) -> None:
    script = (
        "import subprocess, sys; from openhorde.cli.children import horde_command; "
        f"options = ('--url', sys.argv[1], '--api-key', '{GOOD_KEY}'); "
        "subprocess.run(horde_command('worker', '--backends', 'fake', *options))"
    )
    command = [sys.executable, "-c", script, playing.url]
    with program(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as parent:
        assert parent.stdout is not None
        assert any("idle" in line for line in parent.stdout)
        parent.send_signal(signal.SIGKILL)
        # The pipe ends when the last process that holds it is gone, the worker that is.
        assert "stopped" in parent.stdout.read()


@pytest.mark.parametrize("console", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C"}])
def test_a_model_named_by_an_emoji_does_not_end_a_worker(
    tmp_path: Path, console: dict[str, str]
) -> None:
    settings = tmp_path / "worker.yaml"
    settings.write_text(
        'horde_url: http://127.0.0.1:1\nbackends: [fake]\nmodels_to_load: ["\U0001f98a fox"]\n',
        encoding="utf-16",
    )
    done = subprocess.run(
        [sys.executable, "-m", "openhorde.cli.main", "worker", "check", "--config", str(settings)],
        capture_output=True,
        check=False,
        env=os.environ | console,
    )
    assert b"Traceback" not in done.stderr
    assert b"fox" in done.stdout
