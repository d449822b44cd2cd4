# SPDX-License-Identifier: AGPL-3.0-or-later
"""Composition root: reads nothing but its settings, opens everything, and hands it down."""

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import structlog
import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from openhorde.server.actions import users
from openhorde.server.actions.check_ins import CheckIns
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.users import AddedUser
from openhorde.server.actions.workforce import Workforce
from openhorde.server.api.app import create_app
from openhorde.server.domain.reference import EVERY_NAME, Reference
from openhorde.server.kit.clock import Clock, SystemClock
from openhorde.server.kit.database import open_pool, prepare_connection
from openhorde.server.kit.fetch import Fetcher
from openhorde.server.kit.logs import configure_logs
from openhorde.server.kit.migrations import Phase, upgrade
from openhorde.server.kit.postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresFailure,
    start_embedded,
)
from openhorde.server.kit.queries import load_queries
from openhorde.server.settings import ServerSettings, SettingError
from openhorde.server.store.blobs import Blobs, local_blobs, s3_blobs
from openhorde.server.store.statements import Statements
from openhorde.server.store.upkeep import keep_secret
from openhorde.server.store.users import Accounts
from openhorde.server.tasks import DUTIES
from openhorde.server.tasks.rounds import keep

if TYPE_CHECKING:
    from collections.abc import Iterator

STORE = "openhorde.server.store"
KEEP_ALIVE_SECONDS = 75
GUARD_SECONDS = 1.0

log = structlog.get_logger()


@asynccontextmanager
async def open_database(settings: ServerSettings) -> AsyncIterator[str]:
    """The DSN of the database, as long as it is needed; without one given, the embedded one.

    The embedded one is started again should it die meanwhile.
    """
    if settings.database_url:
        yield settings.database_url
        return
    embedded = await start_embedded(settings.data / "postgres")
    guard = asyncio.create_task(_guard(embedded))
    try:
        yield embedded.dsn
    finally:
        guard.cancel()
        await asyncio.wait((guard,))
        await embedded.stop()


async def _guard(embedded: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(GUARD_SECONDS)
        try:
            if await embedded.revive():
                log.warning("the embedded PostgreSQL had died and was started again")
        except EmbeddedPostgresFailure:
            log.exception("the embedded PostgreSQL died and cannot be started")


async def _upgrade(dsn: str, phase: Phase) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        await prepare_connection(connection)
        return await upgrade(connection, STORE, phase=phase)
    finally:
        await connection.close()


async def upgrade_database(settings: ServerSettings, phase: Phase) -> list[str]:
    """Bring the database up to date; what was applied."""
    async with open_database(settings) as dsn:
        return await _upgrade(dsn, phase)


@asynccontextmanager
async def open_horde(settings: ServerSettings, public_url: str) -> AsyncIterator[Horde]:
    """Everything that the actions work with. Pictures are linked under `public_url`.

    The embedded database is brought up to date. Another one gets what must come before this
    version runs; what comes after is up to its operator (`horde db upgrade`).
    """
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(open_database(settings))
        await _upgrade(dsn, "before" if settings.database_url else "all")
        pool = await open_pool(
            dsn, connections_min=2, connections_max=settings.database_connections
        )
        stack.push_async_callback(_close, pool)
        clock = SystemClock()
        queries = load_queries(STORE)
        statements = Statements(pool, queries)
        salt = await keep_secret(statements, "key-salt", secrets.token_bytes(32))
        reference = _reference(settings)
        queue = Queue(statements)
        await queue.start()
        yield Horde(
            settings=settings,
            pool=pool,
            queries=queries,
            statements=statements,
            blobs=await _blobs(settings, statements, public_url, clock),
            fetcher=Fetcher(settings.fetch_allow),
            clock=clock,
            salt=salt,
            reference=reference,
            accounts=Accounts(statements, salt, clock),
            queue=queue,
            workforce=Workforce(statements, reference),
            check_ins=CheckIns(),
        )


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), timeout=10)
    except TimeoutError:
        pool.terminate()


def _reference(settings: ServerSettings) -> Reference:
    data: dict[str, object] = {}
    if settings.model_reference:
        try:
            data = msgspec.json.decode(Path(settings.model_reference).read_bytes(), type=dict)
        except (OSError, msgspec.MsgspecError) as error:
            raise SettingError(f"OPENHORDE_MODEL_REFERENCE: {error}") from error
    if settings.known_models is None or not (data or settings.known_models):
        data[EVERY_NAME] = None
    else:
        data |= {name: data.get(name) for name in settings.known_models}
    return Reference.from_json(data)


async def _blobs(
    settings: ServerSettings, statements: Statements, public_url: str, clock: Clock
) -> Blobs:
    if settings.s3_bucket:
        return s3_blobs(
            settings.s3_bucket,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
            allow_http=settings.s3_endpoint.startswith("http://"),
        )
    secret = await keep_secret(statements, "blob-links", secrets.token_bytes(32))
    return local_blobs(settings.data / "pictures", public_url, secret, clock)


async def add_user(
    settings: ServerSettings,
    *,
    username: str,
    provider_id: str | None,
    moderator: bool,
    trusted: bool,
    kudos: int,
) -> AddedUser:
    """Make or update an account, beside a running server or without one."""
    async with open_database(settings) as dsn:
        await _upgrade(dsn, "before" if settings.database_url else "all")
        pool = await open_pool(dsn, connections_min=1, connections_max=1)
        try:
            statements = Statements(pool, load_queries(STORE))
            salt = await keep_secret(statements, "key-salt", secrets.token_bytes(32))
            return await users.add_user(
                statements,
                salt,
                username=username,
                provider_id=provider_id,
                moderator=moderator,
                trusted=trusted,
                kudos=kudos,
            )
        finally:
            await _close(pool)


class _WebServer(uvicorn.Server):
    """uvicorn's server, stopped by whoever runs it instead of by signal handlers of its own."""

    @contextmanager
    def capture_signals(self) -> "Iterator[None]":
        yield


def run(settings: ServerSettings) -> None:
    """Serve a horde in an event loop of its own, the fastest there is here (uvloop)."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(serve(settings))


async def serve(settings: ServerSettings) -> None:
    """Serve a horde until SIGTERM or SIGINT; calls in progress are finished."""
    configure_logs(json=settings.log_json)
    with socket.create_server(
        (settings.host, settings.port),
        family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
        backlog=2048,
    ) as listener:
        # Head and body of an answer are sent apart; without this the body would wait for an echo.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = listener.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        public_url = settings.public_url or f"http://{host}:{port}"
        async with open_horde(settings, public_url) as horde:
            server = _WebServer(
                uvicorn.Config(
                    create_app(horde),
                    access_log=False,
                    log_config=None,
                    lifespan="off",
                    proxy_headers=False,
                    server_header=False,
                    timeout_keep_alive=KEEP_ALIVE_SECONDS,
                    timeout_graceful_shutdown=20,
                )
            )
            duties = asyncio.create_task(keep(horde, DUTIES))
            _stop_on_signals(server)
            log.info("serving", url=public_url)
            try:
                await server.serve(sockets=[listener])
            finally:
                duties.cancel()
                with suppress(asyncio.CancelledError):
                    await duties


def _stop_on_signals(server: uvicorn.Server) -> None:
    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
