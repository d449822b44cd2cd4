# SPDX-License-Identifier: AGPL-3.0-or-later
"""The embedded server outlives every way its users and itself can end."""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from openhorde.server.kit.postgres import EmbeddedPostgresFailure, start_embedded

USER_PROGRAM = """
import asyncio, sys
from pathlib import Path
from openhorde.server.kit.postgres import start_embedded

async def use():
    server = await start_embedded(Path(sys.argv[1]))
    print(server.dsn, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop()

asyncio.run(use())
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data folder, with no server running before and after each test."""
    path = Path(tempfile.mkdtemp(prefix="openhorde-postgres-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def another_user(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that uses the server until it reads a line; it is ready when we enter."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", USER_PROGRAM, str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).startswith(b"postgresql://")
        yield process
    finally:
        if process.returncode is None:
            await process.communicate(b"\n")


async def server_has_ended(folder: Path) -> None:
    """Return when no process of the server is left: they all hold this lock."""

    def wait() -> None:
        with (folder / "server.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    await asyncio.to_thread(wait)


def server_runs(folder: Path) -> bool:
    with (folder / "server.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def postmaster(folder: Path) -> int:
    return int((folder / "cluster" / "postmaster.pid").read_text().split()[0])


def keepers(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"postgres_keeper.py" in command and os.fsencode(folder) in command:
            found.append(int(process.name))
    return found


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_keeps_data_and_settings_over_a_restart(folder: Path) -> None:
    server = await start_embedded(folder)
    await query(server.dsn, "create table kept (number integer)")
    await query(server.dsn, "insert into kept values (42)")
    await query(server.dsn, "alter system set work_mem = '16MB'")
    await server.stop()
    await server.stop()
    await server_has_ended(folder)

    server = await start_embedded(folder)
    assert await query(server.dsn, "select number from kept") == 42
    assert await query(server.dsn, "show jit") == "off"
    assert await query(server.dsn, "show synchronous_commit") == "on"
    assert await query(server.dsn, "show max_connections") == "100"
    assert await query(server.dsn, "show server_encoding") == "UTF8"
    assert await query(server.dsn, "show work_mem") == "16MB"
    assert await query(server.dsn, "show listen_addresses") == ""
    await server.stop()


async def test_who_starts_at_the_same_time_shares_one_server(folder: Path) -> None:
    servers = await asyncio.gather(*(start_embedded(folder) for _ in range(4)))
    assert len({server.dsn for server in servers}) == 1
    first, *others = servers
    await first.stop()
    for other in others:
        assert await query(other.dsn, "select 1") == 1
        await other.stop()
    await server_has_ended(folder)


async def test_the_first_user_may_leave_before_the_second(folder: Path) -> None:
    server = await start_embedded(folder)
    async with another_user(folder):
        await server.stop()
        assert server_runs(folder)
        assert await query(server.dsn, "select 1") == 1
    await server_has_ended(folder)


async def test_a_visitor_leaves_the_server_running(folder: Path) -> None:
    server = await start_embedded(folder)
    async with another_user(folder):
        pass
    assert await query(server.dsn, "select 1") == 1
    await server.stop()


async def test_a_killed_user_leaves_no_server_behind(folder: Path) -> None:
    async with another_user(folder) as process:
        process.kill()
        await process.wait()
    await server_has_ended(folder)


async def test_a_killed_user_does_not_harm_the_other(folder: Path) -> None:
    async with another_user(folder) as process:
        server = await start_embedded(folder)
        process.kill()
        await process.wait()
    assert await query(server.dsn, "select 1") == 1
    await server.stop()
    await server_has_ended(folder)


async def test_starts_at_once_after_a_killed_user(folder: Path) -> None:
    async with another_user(folder) as process:
        process.kill()
        await process.wait()
    server = await start_embedded(folder)
    assert await query(server.dsn, "select 1") == 1
    await server.stop()


async def test_recovers_after_the_server_was_killed(folder: Path) -> None:
    first = await start_embedded(folder)
    await query(first.dsn, "create table if not exists survived (number integer)")
    await query(first.dsn, "insert into survived values (7)")
    os.kill(postmaster(folder), signal.SIGKILL)
    # The one whose server died is still there, and so is its keeper.
    second = await start_embedded(folder)
    assert await query(second.dsn, "select max(number) from survived") == 7
    await first.stop()
    assert await query(second.dsn, "select 1") == 1
    await second.stop()
    await server_has_ended(folder)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the keeper in /proc")
async def test_everything_killed_at_once_is_picked_up_again(folder: Path) -> None:
    async with another_user(folder) as process:
        (keeper,) = keepers(folder)
        os.kill(keeper, signal.SIGKILL)
        process.kill()
        await process.wait()
    assert server_runs(folder), "nobody is left to stop it"
    server = await start_embedded(folder)
    assert await query(server.dsn, "select 1") == 1
    assert len(keepers(folder)) == 1
    await server.stop()
    await server_has_ended(folder)


async def test_a_process_id_in_use_again_is_not_taken_for_the_server(folder: Path) -> None:
    server = await start_embedded(folder)
    pid_file = folder / "cluster" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    await server.stop()
    await server_has_ended(folder)
    lines[0] = str(os.getpid())
    pid_file.write_text("\n".join(lines) + "\n")

    server = await start_embedded(folder)
    assert await query(server.dsn, "select 1") == 1
    await server.stop()


async def test_a_stale_note_never_gets_another_process_stopped(folder: Path) -> None:
    server = await start_embedded(folder)
    bystander = await asyncio.create_subprocess_exec("sleep", "600")
    pid_file = folder / "cluster" / "postmaster.pid"
    os.kill(postmaster(folder), signal.SIGKILL)
    await server_has_ended(folder)
    lines = pid_file.read_text().splitlines()
    lines[0] = str(bystander.pid)
    pid_file.write_text("\n".join(lines) + "\n")
    await server.stop()

    server = await start_embedded(folder)
    await server.stop()
    assert bystander.returncode is None
    bystander.terminate()
    assert await bystander.wait() == -signal.SIGTERM


async def test_a_deep_folder_gets_its_socket_elsewhere() -> None:
    with tempfile.TemporaryDirectory(prefix="openhorde-postgres-") as top:
        deep = Path(top) / ("d" * 90) / "data"
        server = await start_embedded(deep)
        assert len(server.dsn) < 107
        assert await query(server.dsn, "select 1") == 1
        second = await start_embedded(deep)
        assert second.dsn == server.dsn
        await server.stop()
        await second.stop()


async def test_an_odd_folder_is_quoted() -> None:
    with tempfile.TemporaryDirectory(prefix="pg") as top:
        server = await start_embedded(Path(top) / 'it\'s, "odd" & $HOME 100%é')
        assert await query(server.dsn, "select 1") == 1
        await server.stop()


async def test_an_interrupted_first_start_is_made_again() -> None:
    with tempfile.TemporaryDirectory(prefix="openhorde-postgres-") as top:
        unfinished = Path(top) / "cluster.unfinished"
        unfinished.mkdir()
        (unfinished / "PG_VERSION").write_text("18\n")
        server = await start_embedded(Path(top))
        assert await query(server.dsn, "select 1") == 1
        await server.stop()


async def test_says_what_to_do_when_the_data_are_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresFailure, match=r"made by PostgreSQL 9.*pg_dump"):
        await start_embedded(tmp_path)


async def test_says_what_to_do_when_the_folder_holds_something_else() -> None:
    with tempfile.TemporaryDirectory(prefix="openhorde-postgres-") as top:
        (Path(top) / "cluster").mkdir()
        (Path(top) / "cluster" / "letter.txt").write_text("dear")
        with pytest.raises(EmbeddedPostgresFailure, match=r"holds no PostgreSQL data.*Move it"):
            await start_embedded(Path(top))


async def test_says_what_to_do_when_the_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresFailure, match="cannot use the data folder"):
        await start_embedded(tmp_path / "file" / "data")


async def test_says_the_servers_last_words_when_it_does_not_start(folder: Path) -> None:
    server = await start_embedded(folder)
    await server.stop()
    await server_has_ended(folder)
    configuration = folder / "cluster" / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text(before + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(EmbeddedPostgresFailure, match="no_such_setting"):
            await start_embedded(folder)
    finally:
        configuration.write_text(before)
    server = await start_embedded(folder)
    await server.stop()
