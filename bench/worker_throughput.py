# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of the time a worker's engine is busy: `python -m bench.worker_throughput`.

A real server, one worker with the fake engine, and more work than it can do. Each job takes its
engine a fixed time, so the jobs done say how long the engine worked: all the rest of the time, from
the first job begun to the last one made, it waited for the worker or the horde.
"""

import argparse
import asyncio
import base64
import json
import shutil
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import structlog
from PIL import Image
from rich.console import Console
from rich.table import Table

from bench.stage import open_server
from openhorde.worker.agent import events
from openhorde.worker.boot import run_worker
from openhorde.worker.settings import ANONYMOUS_KEY, load_settings

FORMS = ("caption", "nsfw", "interrogation")
SPARE = 1.5
"""How much more work is queued than can be done."""
WAITING_MAX = 500
"""How much one asker may have waiting: the most that a moderator can allow."""


class Told(NamedTuple):
    """What a worker told, and when (a clock of its own)."""

    at: float
    event: events.Event


class Busy(NamedTuple):
    """What came of a run: jobs made, how long it took, and the longest wait between two jobs."""

    jobs: int
    seconds: float
    gap_seconds: float
    delivered: int

    def share(self, job_seconds: float, engines: int) -> float:
        """How much of the time an engine worked."""
        return self.jobs * job_seconds / (self.seconds * engines)


class Askers:
    """Those who queue work: somebody anonymous, and as soon as they may not have more waiting, one
    more user after the other."""

    def __init__(self, url: str, data: Path) -> None:
        self.url = url
        self._data = data
        self._keys = [ANONYMOUS_KEY]
        self._moderator = ""

    async def ask(self, kind: str, jobs: int) -> None:
        """Queue so much work of a kind. Raises httpx.HTTPStatusError when the server does none."""
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v2", timeout=30) as client:
            while jobs > 0:
                path, body, asked = _request(kind, jobs)
                headers = {"apikey": self._keys[-1]}
                answer = await client.post(path, json=body, headers=headers)
                if answer.status_code == 429 and answer.json().get("rc") == "TooManyPrompts":
                    await self._one_more(client)
                    continue
                answer.raise_for_status()
                jobs -= asked

    async def _one_more(self, client: httpx.AsyncClient) -> None:
        if not self._moderator:
            self._moderator = await add_user(self._data, "Dora", "--moderator")
        name = f"Alice {len(self._keys)}"
        key = await add_user(self._data, name, "--kudos", "10000000", "--trusted")
        user = (await client.get("/find_user", headers={"apikey": key})).json()
        allowed = await client.put(
            f"/users/{user['id']}",
            headers={"apikey": self._moderator},
            json={"concurrency": WAITING_MAX},
        )
        allowed.raise_for_status()
        self._keys.append(key)


def _request(kind: str, jobs: int) -> tuple[str, dict[str, Any], int]:
    if kind == "alchemy":
        buffer = BytesIO()
        Image.new("RGB", (64, 64), "red").save(buffer, "WEBP")
        source = base64.b64encode(buffer.getvalue()).decode()
        forms = [{"name": name} for name in FORMS[:jobs]]
        return "/interrogate/async", {"source_image": source, "forms": forms}, len(forms)
    count = min(jobs, 20)
    if kind == "text":
        params = {"n": count, "max_length": 16, "max_context_length": 128}
        return "/generate/text/async", {"prompt": "Once", "params": params}, count
    picture = {"n": count, "width": 64, "height": 64, "steps": 1, "sampler_name": "k_euler"}
    return "/generate/async", {"prompt": "a red circle", "params": picture, "r2": True}, count


async def run(url: str, key: str, kinds: list[str], options: argparse.Namespace) -> Busy:
    """Let a worker work for so long."""
    told: list[Told] = []
    stop = asyncio.Event()
    settings = load_settings(
        None,
        None,
        {
            "horde_url": url,
            "api_key": key,
            "backends": ["fake"],
            "kinds": kinds,
            "worker_name": f"busy {' '.join(kinds)}",
            "max_threads": options.engines,
            "queue_size": options.queue_size,
            "fake_step_seconds": options.job_seconds,
        },
    )

    def observe(event: events.Event) -> None:
        told.append(Told(time.monotonic(), event))

    working = asyncio.create_task(run_worker(settings, stop=stop, observe=observe))
    await asyncio.wait((working,), timeout=options.seconds)
    stop.set()
    await working
    # While it drains there is nothing to be busy with: only jobs begun before count.
    end = next(one.at for one in told if isinstance(one.event, events.Draining))
    return _busy([one for one in told if one.at <= end])


def _busy(told: list[Told]) -> Busy:
    began = next(one.at for one in told if isinstance(one.event, events.Running))
    made = [one.at for one in told if isinstance(one.event, events.Made)]
    free_at: dict[str, float] = {}
    engine_of: dict[str, str] = {}
    gap_seconds = 0.0
    for at, event in told:
        match event:
            case events.Running(ids, backend, number):
                engine = events.engine_name(backend, number)
                engine_of[ids[0]] = engine
                gap_seconds = max(gap_seconds, at - free_at.get(engine, at))
            case events.Made(ids):
                free_at[engine_of[ids[0]]] = at
    delivered = sum(isinstance(one.event, events.Delivered) for one in told)
    return Busy(len(made), made[-1] - began, gap_seconds, delivered)


async def measure(options: argparse.Namespace, console: Console) -> None:
    """Each kind alone, then all that the server does at once."""
    table = Table("kind", "jobs", "delivered", "seconds", "longest wait", "engine busy")
    data = Path(tempfile.mkdtemp(prefix="openhorde-bench-"))
    try:
        async with open_server(data) as server:
            url = f"http://127.0.0.1:{server.port}"
            key = await add_user(data, "Bob", "--trusted")
            askers = Askers(url, data)
            jobs = round(options.seconds / options.job_seconds * options.engines * SPARE)
            able = []
            for kind in options.kinds:
                try:
                    await askers.ask(kind, jobs)
                except httpx.HTTPStatusError as error:
                    console.print(f"{kind}: the server answers {error.response.status_code}")
                    continue
                able.append(kind)
            runs = [[kind] for kind in able] + ([able] if len(able) > 1 else [])
            for kinds in runs:
                busy = await run(url, key, kinds, options)
                share = busy.share(options.job_seconds, options.engines)
                table.add_row(
                    " + ".join(kinds),
                    str(busy.jobs),
                    str(busy.delivered),
                    f"{busy.seconds:.1f}",
                    f"{busy.gap_seconds * 1000:.0f} ms",
                    f"{share:.1%}",
                )
                for kind in kinds if len(able) > 1 else ():
                    await askers.ask(kind, jobs)
    finally:
        await asyncio.to_thread(shutil.rmtree, data, ignore_errors=True)
    console.print(
        f"{options.engines} engine(s), {options.job_seconds:g} s a job, queue {options.queue_size}"
    )
    console.print(table)


async def add_user(data: Path, name: str, *options: str) -> str:
    """The key of a new account."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openhorde.cli.main", "user", "add", name),
        *(*options, "--json", "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
    )
    words, _ = await process.communicate()
    return str(json.loads(words)["api_key"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker_throughput", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each run (default 60)")
    parser.add_argument("--job-seconds", type=float, default=1, help="of each job (default 1)")
    parser.add_argument("--engines", type=int, default=1, help="side by side (default 1)")
    parser.add_argument("--queue-size", type=int, default=1, help="fetched ahead (default 1)")
    parser.add_argument(
        "--kinds",
        type=lambda text: text.split(","),
        default=["image", "alchemy", "text"],
        help="default image,alchemy,text",
    )
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(measure(parser.parse_args(), Console()))


if __name__ == "__main__":
    main()
