# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker`, and children that end with their parent."""

import os
import signal
import subprocess
import sys

import pytest
from cli.conftest import Run
from client.playing_horde import PlayingHorde

from openhorde import __version__
from openhorde.cli.children import horde_command
from openhorde.cli.worker import worker_environment
from openhorde.cli.worker_log import WorkerLog
from openhorde.worker.agent import events
from openhorde.worker.settings import settings_fields


def test_every_setting_is_an_option(run: Run) -> None:
    text = run("worker", "--help").stdout
    for field in settings_fields():
        option = {"horde_url": "--url"}.get(field.name, "--" + field.name.replace("_", "-"))
        assert option in text


def test_a_wrong_setting_is_a_sentence(run: Run) -> None:
    result = run("worker", "--max-threads", "99")
    assert result.exit_code == 1
    assert "max_threads" in result.stderr
    assert "from 1 to 16" in result.stderr


def test_the_worker_reads_the_variables_of_all_commands() -> None:
    environ = {"OPENHORDE_URL": "http://horde", "OPENHORDE_API_KEY": "shared"}
    assert worker_environment(environ)["OPENHORDE_WORKER_HORDE_URL"] == "http://horde"
    own = {**environ, "OPENHORDE_WORKER_API_KEY": "own"}
    assert worker_environment(own)["OPENHORDE_WORKER_API_KEY"] == "own"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.Started(["a", "b"]), "ready, offering a, b"),
        (events.Popped(["1"], "a", "64x64"), "took 1 of a: 64x64"),
        (events.Progress("1", 1, 20), None),
        (events.Delivered("1", 6.5), "delivered 1, earned 6.5 kudos"),
        (events.Faulted("1", "no", reported=False), "could not do 1: no (not reported)"),
        (events.Undelivered("1", "gone"), "could not deliver 1: gone"),
        (events.Idle(), "idle: nothing is waiting"),
        (
            events.Idle({"models": 2, "nsfw": 0}),
            "idle: waiting requests do not fit this worker (models 2)",
        ),
        (events.Maintenance("later"), "in maintenance: later"),
        (events.Message("hello", "Dora"), "note from Dora: hello"),
        (events.Trouble("no horde"), "trouble: no horde"),
        (events.Draining(1), "draining: finishing 1 in hand"),
        (events.Stopped(0), "stopped"),
        (events.Stopped(1), "stopped with status 1"),
    ],
)
def test_events_are_lines(event: events.Event, line: str | None) -> None:
    assert WorkerLog().line(event) == line


def test_idling_on_is_not_news() -> None:
    log = WorkerLog()
    assert log.line(events.Idle()) is not None
    assert log.line(events.Idle()) is None
    log.line(events.Delivered("1", 1.0))
    assert log.line(events.Idle()) is not None


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
        "subprocess.run(horde_command('worker', '--backend', 'fake', '--url', sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, playing.url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr is not None
        assert any("ready" in line for line in parent.stderr)
        parent.send_signal(signal.SIGKILL)
        # The pipe ends when the last process that holds it is gone, the worker that is.
        assert "stopped" in parent.stderr.read()
