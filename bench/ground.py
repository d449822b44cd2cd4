# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ground that all phases stand on: two databases filled alike, a server, load processes."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, ParamSpec, TypeVar

import asyncpg

from bench import load
from bench.calls import request_bytes
from bench.demand import Shape, shapes
from bench.filling import Queue
from bench.limits import Pgbench, ScriptWriter
from bench.machine import family_seconds
from bench.plan import Plan
from bench.recording import HordeInside, open_inside
from bench.stage import Cluster, Server, open_cluster, open_server
from bench.variety import Variety, varied
from openhorde.server.actions.requests import as_requester
from openhorde.server.boot import upgrade_database
from openhorde.server.settings import ServerSettings

ASKERS = 64
OWNERS = 4
HOT_ASKER = 0
"""This one may have a million jobs waiting."""

LOAD_PROCESSES = 2

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(slots=True)
class Ground:
    """Everything that a phase needs. `askers` and `owners` are keys of accounts at the server,
    `inside_askers` and `inside_owners` those in pgbench's database. `show` takes the share of the
    current phase that is done."""

    plan: Plan
    random: Random
    shapes: tuple[Shape, ...]
    variety: Variety
    cluster: Cluster
    connection: asyncpg.Connection
    queue: Queue
    limits_queue: Queue
    askers: list[str]
    owners: list[str]
    inside: HordeInside
    inside_askers: list[str]
    inside_owners: list[str]
    pgbench: Pgbench
    scripts: ScriptWriter
    pool: ProcessPoolExecutor
    show: Callable[[float], None]
    _server: Server | None = None
    _serving: AsyncExitStack = field(default_factory=AsyncExitStack)
    _processes: int = 0

    async def serve(self, processes: int | None = None) -> None:
        """Have the server run with so many processes; another one is stopped first."""
        processes = processes or self.plan.served_by
        if self._processes != processes:
            await self.stop_serving()
            self._server = await self._serving.enter_async_context(
                open_server(self.cluster.folder, processes=processes)
            )
            self._processes = processes

    async def serve_anew(self) -> None:
        """Have a new server run. One that was there while SQL filled the queue behind its back
        would be busy for half a minute with learning thousands of lanes, which in life come one by
        one."""
        await self.stop_serving()
        await self.serve()

    async def stop_serving(self) -> None:
        """Stop the server, if one runs."""
        self._server, self._processes = None, 0
        await self._serving.aclose()

    @property
    def server(self) -> Server:
        """The server that runs."""
        assert self._server is not None
        return self._server

    async def load(
        self,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **_named: Arguments.kwargs,
    ) -> Result:
        """Run a function of load.py in a process of its own; arguments by place only."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    def cpu_seconds(self) -> tuple[float, float]:
        """What the server and the database have used so far."""
        return (
            family_seconds(self.server.process_id),
            family_seconds(self.cluster.process_id),
        )

    def database_seconds(self) -> float:
        """What the database has used so far."""
        return family_seconds(self.cluster.process_id)

    def pop_bytes(self, offer: dict[str, Any], owner: int = 0) -> bytes:
        """A prepared pop."""
        key = self.owners[owner % len(self.owners)]
        return request_bytes("POST", "/api/v2/generate/pop", api_key=key, body=offer)

    def ask_bytes(self, shape: int, asker: int) -> bytes:
        """A prepared request."""
        body = self.shapes[shape % len(self.shapes)].request
        key = self.askers[asker % len(self.askers)]
        return request_bytes("POST", "/api/v2/generate/async", api_key=key, body=body)

    async def calm(self) -> None:
        """Wait until the server's standing duties have nothing left to do."""
        for _ in range(self.plan.calm_seconds_max):
            left = await self.connection.fetchval(
                "select exists (select from transfers_unfolded)"
                " or exists (select from deliveries_uncounted)"
            )
            if not left:
                return
            await asyncio.sleep(1)

    async def empty(self) -> None:
        """Clear both queues."""
        await self.queue.clear()
        await self.limits_queue.clear()

    async def vary(
        self, waiting: int, lanes: int, *, hot: tuple[int, int] | None = None
    ) -> list[int]:
        """Fill both queues, emptied before, with requests in so many lanes; the lane of each, as
        a place in `variety`. With `hot` (user, requests) so many are that user's."""
        await self.empty()
        await self.calm()
        turns = self.variety.turns(waiting, lanes)
        rows = (*self.variety.lanes, *self.variety.rare)
        used = sorted(set(turns))

        async def fill(queue: Queue) -> None:
            numbers = dict(zip(used, await queue.open_lanes([rows[n] for n in used]), strict=True))
            await queue.fill(waiting, [numbers[turn] for turn in turns], hot=hot)

        await asyncio.gather(fill(self.queue), fill(self.limits_queue))
        return turns


@asynccontextmanager
async def open_ground(
    plan: Plan, seed: int, tell: Callable[[str], None], show: Callable[[float], None]
) -> AsyncIterator[Ground]:
    """Build it all; gone without trace afterwards."""
    random = Random(seed)
    asked = shapes(random)
    async with AsyncExitStack() as stack:
        tell("starting a database")
        cluster = await stack.enter_async_context(open_cluster())
        tell("making accounts and lanes")
        data = cluster.folder
        for dsn in (cluster.dsn, cluster.limits_dsn):
            await upgrade_database(ServerSettings(data=data, database_url=dsn), phase="all")
        async with open_inside(data, cluster.dsn) as there:
            askers, owners = await _accounts(there, asked)
            await _unbind(there, [f"Asker {HOT_ASKER}"])
        inside = await stack.enter_async_context(open_inside(data, cluster.limits_dsn))
        inside_askers, inside_owners = await _accounts(inside, asked)
        # pgbench asks as one and the same user, where the load asks as many.
        await _unbind(inside, [f"Asker {number}" for number in range(ASKERS)])
        queues = []
        for dsn in (cluster.dsn, cluster.limits_dsn):
            connection = await asyncpg.connect(dsn)
            stack.push_async_callback(connection.close)
            queue = Queue(connection)
            await queue.keep_templates([shape.weight for shape in asked])
            queues.append((connection, queue))
        (connection, queue), (limits_connection, limits_queue) = queues
        pool = stack.enter_context(
            ProcessPoolExecutor(LOAD_PROCESSES, multiprocessing.get_context("spawn"))
        )
        # Processes are started when they are first needed: not when a clock runs already.
        await asyncio.gather(
            *(asyncio.to_thread(pool.submit(load.ready).result) for _ in range(LOAD_PROCESSES))
        )
        ground = Ground(
            plan=plan,
            random=random,
            shapes=asked,
            variety=await _variety(plan, random, asked, inside, inside_askers[0]),
            cluster=cluster,
            connection=connection,
            queue=queue,
            limits_queue=limits_queue,
            askers=askers,
            owners=owners,
            inside=inside,
            inside_askers=inside_askers,
            inside_owners=inside_owners,
            pgbench=Pgbench(cluster.limits_dsn, cluster.folder),
            scripts=ScriptWriter(limits_connection),
            pool=pool,
            show=show,
        )
        stack.push_async_callback(ground.stop_serving)
        yield ground


async def _unbind(inside: HordeInside, usernames: Sequence[str]) -> None:
    """Let users have a million jobs waiting."""
    await inside.horde.pool.execute(
        "update users set concurrency = 1000000 where username = any ($1)", usernames
    )


async def _variety(
    plan: Plan, random: Random, asked: Sequence[Shape], inside: HordeInside, asker: str
) -> Variety:
    account = await inside.horde.accounts.by_key(asker)
    assert account is not None
    lanes_max = max(depth.lanes for depth in (*plan.depths, plan.hot))
    return varied(random, asked, lanes_max, as_requester(account), inside.horde.reference)


async def _accounts(inside: HordeInside, asked: Sequence[Shape]) -> tuple[list[str], list[str]]:
    """Accounts, and one request of each shape, which opens its lane and will be a template."""
    askers = await inside.add_accounts("Asker", ASKERS)
    owners = await inside.add_accounts("Owner", OWNERS)
    for number, shape in enumerate(asked):
        await inside.ask(askers[number % ASKERS], shape.request)
    return askers, owners
