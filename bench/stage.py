# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where it all happens: a folder of its own with a database cluster, and a server beside it."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.calls import connect, request_bytes
from openhorde.server.kit.postgres import start_embedded

LIMITS_DATABASE = "limits"
START_SECONDS_MAX = 120


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running database cluster with a database for the server and one for pgbench."""

    folder: Path
    dsn: str
    limits_dsn: str
    process_id: int


@asynccontextmanager
async def open_cluster() -> AsyncIterator[Cluster]:
    """A new cluster in the temporary folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="openhorde-bench-"))
    try:
        embedded = await start_embedded(folder / "postgres")
        try:
            connection = await asyncpg.connect(embedded.dsn)
            await connection.execute(f"create database {LIMITS_DATABASE}")
            data = Path(await connection.fetchval("show data_directory"))
            await connection.close()
            yield Cluster(
                folder,
                embedded.dsn,
                embedded.dsn.replace("/postgres?", f"/{LIMITS_DATABASE}?", 1),
                int((data / "postmaster.pid").read_text().split("\n", 1)[0]),
            )
        finally:
            await embedded.stop()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port, and the process that was started (it may have children)."""

    port: int
    process_id: int


@asynccontextmanager
async def open_server(data: Path, *, processes: int = 1) -> AsyncIterator[Server]:
    """`horde serve` on a free port: default settings, no rate limits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    surroundings = {name: v for name, v in os.environ.items() if not name.startswith("OPENHORDE_")}
    options = ("--processes", str(processes)) if processes > 1 else ()
    words_file = data / f"server-{port}.log"
    with words_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openhorde.cli.main", "serve"),
            *("--port", str(port), "--data", str(data), *options),
            env=surroundings | {"OPENHORDE_KNOWN_MODELS": "*", "OPENHORDE_RATE_LIMITS": "off"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _until_it_answers(process, port)
        yield Server(port, process.pid)
    except Exception as error:
        words = await asyncio.to_thread(words_file.read_text, errors="replace")
        state = "runs" if process.returncode is None else f"ended with {process.returncode}"
        error.add_note(f"the server {state}; its last words: {words[-2000:]}")
        raise
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), timeout=30)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_it_answers(process: asyncio.subprocess.Process, port: int) -> None:
    heartbeat = request_bytes("GET", "/api/v2/status/heartbeat")
    for _ in range(START_SECONDS_MAX * 10):
        if process.returncode is not None:
            break
        try:
            connection = await connect(port)
            answer = await asyncio.wait_for(connection.call(heartbeat), timeout=10)
            connection.close()
        except (OSError, TimeoutError):
            await asyncio.sleep(0.1)
            continue
        if answer.status == 200:
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("the server did not start")
