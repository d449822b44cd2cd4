# SPDX-License-Identifier: AGPL-3.0-or-later
"""A private horde of playing parts: started, used, restarted and stopped in order."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli import playing_parts as playing
from cli.conftest import program
from client.playing_horde import GOOD_KEY, KUDOS

from openhorde.cli.children import Child
from openhorde.cli.demo import demo_environment, run_demo
from openhorde.cli.private_horde import PrivateHorde, PrivateHordeFailure, free_port
from openhorde.cli.readiness import EnginesReady, ReadyLine, tell_ready
from openhorde.cli.signals import Stopped, until_stopped
from openhorde.client import read_facts
from openhorde.worker.agent.events import EngineChanged, EngineState

DIES = [sys.executable, "-c", "import sys; sys.exit('no torch here')"]


def private_horde(data: Path, notes: list[str], **changes: list[str]) -> PrivateHorde:
    return PrivateHorde(
        data,
        port=free_port(),
        environment=os.environ,
        say=lambda step: None,
        note=notes.append,
        parts=playing.playing_parts(**changes),
    )


async def test_it_is_online_inside_and_drained_afterwards(tmp_path: Path) -> None:
    async with private_horde(tmp_path, []) as horde:
        assert horde.api_key == GOOD_KEY
        assert "checked in" in (tmp_path / "logs" / "worker.log").read_text()
    assert (tmp_path / "logs" / "worker.log").read_text().endswith("drained\n")
    operator = tmp_path / "operator.json"
    assert stat.S_IMODE(operator.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert json.loads(operator.read_text())["api_key"] == GOOD_KEY


async def test_a_second_start_keeps_the_key(tmp_path: Path) -> None:
    for _ in range(2):
        async with private_horde(tmp_path, []) as horde:
            assert horde.api_key == GOOD_KEY
    assert (tmp_path / "operators-made").read_text() == "one\n"


async def test_the_worker_of_an_earlier_run_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server lists it as online for five minutes more; only this run's own word counts."""
    monkeypatch.setenv("PLAYING_WORKERS", "image,interrogation,text")
    horde = private_horde(tmp_path, [], worker=DIES)
    with pytest.raises(PrivateHordeFailure, match="worker does not start"):
        await horde.__aenter__()


def test_ready_is_said_once_every_backend_has_settled() -> None:
    with ReadyLine() as line:
        environment = {"NOTIFY_SOCKET": line.address}
        engines = EnginesReady(["diffusers", "transformers"], environment)
        told = []
        happens: list[tuple[str, EngineState]] = [
            ("diffusers", "opening"),
            ("diffusers", "open"),
            ("transformers", "opening"),
            ("transformers", "lost"),
            ("diffusers", "open"),
        ]
        for backend, state in happens:
            engines(EngineChanged(backend, 0, state))
            told.append(line.is_ready())
    assert told == [False, False, False, True, True]
    assert environment == {}


def test_nobody_who_listens_is_no_failure(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "gone"), "@nobody-listens-here"):
        tell_ready({"NOTIFY_SOCKET": address})
    tell_ready({})


def test_readiness_that_nobody_reads_holds_nobody_up() -> None:
    def fill(address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling:
            filling.setblocking(False)
            while True:
                filling.sendto(b"STATUS=starting", address)

    with ReadyLine() as line:
        with pytest.raises(BlockingIOError):
            fill(line.address)
        tell_ready({"NOTIFY_SOCKET": line.address})


async def test_a_key_the_horde_forgot_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "operator.json").write_text('{"api_key": "of another life"}')
    async with private_horde(tmp_path, []) as horde:
        assert horde.api_key == GOOD_KEY
    assert (tmp_path / "operators-made").exists()


async def test_a_worker_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    notes: list[str] = []
    horde = private_horde(tmp_path, notes, worker=DIES)
    with pytest.raises(PrivateHordeFailure, match="worker does not start") as caught:
        await horde.__aenter__()
    assert "no torch here" in caught.value.log_tail
    assert "exit code 1" in notes[0]


async def test_two_hordes_cannot_share_a_folder(tmp_path: Path) -> None:
    async with private_horde(tmp_path, []):
        with pytest.raises(PrivateHordeFailure, match="--data"):
            await private_horde(tmp_path, []).__aenter__()


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    async with private_horde(tmp_path / "one", []) as first:
        second = PrivateHorde(
            tmp_path / "two",
            port=int(first.url.rpartition(":")[2]),
            environment=os.environ,
            say=print,
            note=print,
        )
        with pytest.raises(PrivateHordeFailure, match=r"--port, .*PORT="):
            await second.__aenter__()


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivateHordeFailure, match="--data"):
        await private_horde(tmp_path / "file", []).__aenter__()


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    child = Child(
        "worker",
        command,
        os.environ,
        tmp_path / "worker.log",
        told.put_nowait,
        restart_seconds=(0.0,),
    )
    child.start()
    for _ in range(2):
        await child.running.wait()
        child.signal(signal.SIGKILL)
        assert "killed by signal 9" in await told.get()
        assert await told.get() == "starting the worker again"
    await child.running.wait()
    assert child.crashes == 2
    await child.stop(60)
    assert not child.running.is_set()


async def test_a_child_that_ignores_being_asked_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "open('ready', 'w').write('.'); print('deaf', flush=True); signal.pause(); signal.pause()"
    )
    os.mkfifo(tmp_path / "ready")
    command = [sys.executable, "-c", script.replace("'ready'", repr(str(tmp_path / "ready")))]
    child = Child("worker", command, os.environ, tmp_path / "worker.log", lambda text: None)
    child.start()
    # Opening the other end of the pipe waits until the child is deaf.
    assert await asyncio.to_thread((tmp_path / "ready").read_text) == "."
    await child.stop(0.0)
    assert child.log_tail() in ("", "deaf")


async def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("wb") as written:
        written.truncate(9 * 1024 * 1024)
    child = Child("worker", ["sleep", "600"], os.environ, log, lambda text: None)
    child.start()
    await child.running.wait()
    await child.stop(60)
    assert (tmp_path / "worker.log.1").exists()
    assert log.stat().st_size == 0


async def test_a_signal_stops_work_after_its_cleaning_up() -> None:
    steps: list[str] = []
    insisted = asyncio.Event()

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            steps.append("cleaning")
            os.kill(os.getpid(), signal.SIGINT)
            await insisted.wait()
            steps.append("clean")

    with pytest.raises(Stopped):
        await until_stopped(work(), insisted.set)
    assert steps == ["cleaning", "clean"]


async def test_the_demo_draws_a_picture_and_tells_what_it_shows(tmp_path: Path) -> None:
    out = tmp_path / "circle.png"
    shown = await run_demo("a red circle", out, None, playing.playing_parts())
    assert shown.drawn.files == [out]
    assert list(shown.drawn.seconds) == ["start-up", "queue", "drawing", "download", "looking"]
    assert shown.drawn.kudos == KUDOS + 1
    assert shown.caption == "a red picture"
    assert read_facts(out)["steps"] == "20"


async def test_a_failing_demo_shows_the_logs(tmp_path: Path) -> None:
    with pytest.raises(PrivateHordeFailure) as caught:
        await run_demo("a red circle", tmp_path / "o.png", None, playing.playing_parts(server=DIES))
    assert "no torch here" in caught.value.log_tail


def test_a_demo_knows_nothing_of_other_hordes() -> None:
    environment = demo_environment({"OPENHORDE_DATABASE_URL": "postgresql://", "HOME": "/root"})
    assert environment == {"HOME": "/root", "OPENHORDE_RATE_LIMITS": "off"}


@contextmanager
def up(data: Path) -> Iterator[subprocess.Popen[str]]:
    """`horde up` as a program, once it has said everything."""
    script = str(Path(playing.__file__))
    command = [sys.executable, script, str(data), str(free_port())]
    with program(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        process.said = "".join(said)  # type: ignore[attr-defined]
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_stays_until_a_signal_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    with up(tmp_path) as process:
        said = process.said  # type: ignore[attr-defined]
        assert "horde image 'a red circle on a blue background' --width 64" in said
        assert f"--api-key={GOOD_KEY}" in said
        assert "horde caption circle.webp" in said
        assert "horde text 'One day a red circle'" in said
        assert "horde worker --worker-name" in said
        [add_worker] = [line for line in said.splitlines() if "horde worker" in line]
        assert GOOD_KEY not in add_worker
        for page in ("/ ", "/register", "/api"):
            assert re.search(rf"http://127\.0\.0\.1:\d+{page}", said), page
        assert str(tmp_path / "logs" / "worker.log") in said
        process.send_signal(number)
        rest, _ = process.communicate()
    assert process.returncode == 0
    assert rest == "stopped\n"
    assert (tmp_path / "logs" / "worker.log").read_text().endswith("drained\n")
