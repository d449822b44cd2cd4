# SPDX-License-Identifier: AGPL-3.0-or-later
"""Composition root: reads nothing but its settings, opens everything, and hands it down."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import structlog

from openhorde.incoming.texts import read_json_file
from openhorde.server.actions import users
from openhorde.server.actions.admins import UnknownAdmin, check_admins
from openhorde.server.actions.assignments import Assignments
from openhorde.server.actions.check_ins import CheckIns
from openhorde.server.actions.edits import forget_what_is_edited
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.skipped import Skips
from openhorde.server.actions.source_desk import SourceDesk
from openhorde.server.actions.steps import StepReports
from openhorde.server.actions.users import AddedUser
from openhorde.server.actions.verify_ledger import Progress, Report, verify
from openhorde.server.actions.waiting import Waiters
from openhorde.server.actions.watching import Watches
from openhorde.server.actions.workforce import Workforce
from openhorde.server.api.throttle import Counts
from openhorde.server.domain.reference import EVERY_NAME, Reference
from openhorde.server.domain.text_reference import TextReference
from openhorde.server.kit.clock import Clock, SystemClock
from openhorde.server.kit.database import connections_max, open_pool, prepare_connection
from openhorde.server.kit.disk import Disk
from openhorde.server.kit.distant_counts import DistantCounts
from openhorde.server.kit.fetch import Fetcher
from openhorde.server.kit.lending import Lender
from openhorde.server.kit.migrations import Phase, upgrade
from openhorde.server.kit.postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresFailure,
    start_embedded,
)
from openhorde.server.kit.queries import load_queries
from openhorde.server.kit.shared_counts import SharedCounts, share_memory
from openhorde.server.kit.signing import keep_signing_key
from openhorde.server.settings import ServerSettings, SettingError
from openhorde.server.store.blobs import Blobs, local_blobs, s3_blobs
from openhorde.server.store.chain import Root
from openhorde.server.store.signals import open_signals
from openhorde.server.store.statements import Statements
from openhorde.server.store.upkeep import keep_secret
from openhorde.server.store.users import Accounts
from openhorde.wire.kudos import LedgerRoot

STORE = "openhorde.server.store"
GUARD_SECONDS = 1.0
CONNECTIONS_BESIDE_POOL = 2
"""Each process has one for signals and one for the lead."""

WEBHOOK_SECONDS = 5.0

log = structlog.get_logger()


@asynccontextmanager
async def open_database(settings: ServerSettings) -> AsyncIterator[str]:
    """The DSN of the database, as long as it is needed; without one given, the embedded one.

    The embedded one is started again should it die meanwhile.
    """
    if settings.database_url:
        yield settings.database_url
        return
    make_private(settings.data)
    embedded = await start_embedded(settings.data / "postgres")
    guard = asyncio.create_task(_guard(embedded))
    try:
        yield embedded.dsn
    finally:
        guard.cancel()
        await asyncio.wait((guard,))
        await embedded.stop()


def make_private(folder: Path) -> None:
    """Make a folder that only this user looks into, unless it is there already: then who looks
    into it is up to the operator. (As root, the embedded database opens the way to its own folder.)

    Raises SettingError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"OPENHORDE_DATA: cannot make {folder} ({error.strerror})") from error


async def _guard(embedded: EmbeddedPostgres) -> None:
    told = False
    while True:
        await asyncio.sleep(GUARD_SECONDS)
        try:
            if await embedded.revive():
                log.warning("the embedded PostgreSQL had died and was started again")
            told = False
        except (EmbeddedPostgresFailure, OSError) as error:
            # It is tried again all the time, but one line of the log is enough.
            if not told:
                log.error("the embedded PostgreSQL died and cannot be started", reason=str(error))
            told = True


async def _upgrade(dsn: str, phase: Phase) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        await prepare_connection(connection)
        return await upgrade(connection, STORE, phase=phase)
    finally:
        await connection.close()


async def prepare_database(settings: ServerSettings, dsn: str) -> None:
    """Make a database ready for the server's processes; once, before the first of them.

    The embedded database is brought up to date. Another one gets what must come before this
    version runs; what comes after is up to its operator (`horde db upgrade`).

    Raises SettingError when PostgreSQL takes fewer connections than the processes may open.
    """
    await _upgrade(dsn, "before" if settings.database_url else "all")
    connection = await asyncpg.connect(dsn)
    try:
        taken_max = await connections_max(connection)
    finally:
        await connection.close()
    each = settings.database_connections + CONNECTIONS_BESIDE_POOL
    if settings.processes * each > taken_max:
        raise SettingError(
            f"OPENHORDE_DATABASE_CONNECTIONS: {settings.processes} processes with {each}"
            f" connections each ({settings.database_connections} in the pool,"
            f" {CONNECTIONS_BESIDE_POOL} beside it) are {settings.processes * each}, and this"
            f" PostgreSQL takes {taken_max}. Use fewer connections or processes, or raise its"
            " max_connections."
        )


async def upgrade_database(settings: ServerSettings, phase: Phase) -> list[str]:
    """Bring the database up to date; what was applied."""
    async with open_database(settings) as dsn:
        return await _upgrade(dsn, phase)


@asynccontextmanager
async def open_horde(settings: ServerSettings, public_url: str) -> AsyncIterator[Horde]:
    """A horde with its database, which is made ready first."""
    async with open_database(settings) as dsn:
        await prepare_database(settings, dsn)
        async with open_means(settings, dsn, public_url) as horde:
            yield horde


@asynccontextmanager
async def open_means(settings: ServerSettings, dsn: str, public_url: str) -> AsyncIterator[Horde]:
    """Everything that the actions of one process work with, on a database that is ready.
    Pictures are linked under `public_url` where the settings name none and nobody calls."""
    async with AsyncExitStack() as stack:
        pool = await open_pool(
            dsn, connections_min=2, connections_max=settings.database_connections
        )
        stack.push_async_callback(_close, pool)
        clock = SystemClock()
        queries = load_queries(STORE)
        lender = Lender(pool, settings.database_connections - 1)
        stack.push_async_callback(lender.close)
        statements = Statements(lender, queries)
        await _check_admins(settings, statements)
        salt = await keep_secret(statements, "key-salt", secrets.token_bytes(32))
        reference = _reference(settings)
        signals = await stack.enter_async_context(open_signals(dsn, queries))
        queue = Queue(statements, signals)
        await queue.start()
        workforce = Workforce(statements, reference)
        source_desk = _source_desk(settings, statements)
        stack.callback(source_desk.close)
        horde = Horde(
            settings=settings,
            pool=pool,
            queries=queries,
            statements=statements,
            blobs=await _blobs(settings, statements, public_url, clock),
            disk=Disk(None if settings.database_url and settings.s3_bucket else settings.data),
            fetcher=Fetcher(settings.fetch_allow),
            webhook_fetcher=Fetcher(settings.fetch_allow, timeout_seconds=WEBHOOK_SECONDS),
            webhook_secret=await keep_secret(statements, "webhooks", secrets.token_bytes(32)),
            clock=clock,
            salt=salt,
            ledger_key=keep_signing_key(ledger_key_path(settings)),
            reference=reference,
            accounts=Accounts(statements, salt, clock),
            signals=signals,
            queue=queue,
            waiters=Waiters(queue, signals),
            watches=Watches(
                statements,
                signals,
                queue,
                workforce,
                watchers_max=settings.watchers_max,
                watchers_per_address_max=(
                    settings.watchers_per_address_max if settings.rate_limits else None
                ),
            ),
            step_reports=StepReports(signals),
            workforce=workforce,
            assignments=Assignments(),
            check_ins=CheckIns(),
            skips=Skips(),
            source_desk=source_desk,
        )
        forget_what_is_edited(horde)
        yield horde


def _source_desk(settings: ServerSettings, statements: Statements) -> SourceDesk:
    return SourceDesk(
        statements,
        bytes_per_sender_max=settings.source_bytes_per_user,
        bytes_max=settings.source_bytes,
    )


@asynccontextmanager
async def open_counts(
    settings: ServerSettings, clock: Clock, memory: int | None = None
) -> AsyncIterator[Counts]:
    """Where calls are counted; `memory` is what the processes of this machine share, if there are
    several."""
    shared = SharedCounts(
        share_memory() if memory is None else memory, lambda: clock.now().timestamp()
    )
    distant = DistantCounts(settings.limits_url) if settings.limits_url else None
    try:
        yield Counts(shared, distant)
    finally:
        if distant is not None:
            await distant.close()


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), timeout=10)
    except TimeoutError:
        pool.terminate()


def ledger_key_path(settings: ServerSettings) -> Path:
    """Where the key is that signs the ledger."""
    return Path(settings.ledger_key) if settings.ledger_key else settings.data / "ledger.key"


def _reference(settings: ServerSettings) -> Reference:
    data = _described("OPENHORDE_MODEL_REFERENCE", settings.model_reference)
    texts = _described("OPENHORDE_TEXT_MODEL_REFERENCE", settings.text_model_reference)
    if settings.known_models is None or not (data or settings.known_models):
        data[EVERY_NAME] = None
    else:
        data |= {name: data.get(name) for name in settings.known_models}
    return Reference.from_json(data, TextReference.from_json(texts))


def _described(variable: str, path: str) -> dict[str, Any]:
    """What a file says of models, by name; nothing if there is no file."""
    if not path:
        return {}
    try:
        found = read_json_file(Path(path), dict[str, dict[str, Any] | None])
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingError(f"{variable}: {error}") from error
    return dict(found)


async def _check_admins(settings: ServerSettings, statements: Statements) -> None:
    try:
        await check_admins(statements, settings.admins)
    except UnknownAdmin as error:
        raise SettingError(f"OPENHORDE_ADMINS: {error}") from error


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
    folder = settings.data / "pictures"
    make_private(settings.data)
    make_private(folder)
    return local_blobs(folder, settings.public_url, secret, clock, own_url=public_url)


def root_of(shown: LedgerRoot) -> Root:
    """A root as it is kept outside. Raises ValueError where it is not one."""
    return Root(
        day=date.fromisoformat(shown.day),
        block=shown.block,
        hash=bytes.fromhex(shown.hash),
        public_key=bytes.fromhex(shown.public_key),
        signature=bytes.fromhex(shown.signature),
    )


async def verify_ledger(
    settings: ServerSettings, kept: Sequence[LedgerRoot] | None, progress: Progress
) -> Report:
    """Check the whole ledger, beside a running server or without one. `kept` are signed roots that
    somebody outside has kept."""
    try:
        roots = None if kept is None else [root_of(root) for root in kept]
    except ValueError as error:
        raise SettingError(f"a root that was kept cannot be read: {error}") from error
    path = ledger_key_path(settings)
    public_key = keep_signing_key(path).public if path.exists() else None
    async with open_database(settings) as dsn:
        await _upgrade(dsn, "before" if settings.database_url else "all")
        pool = await open_pool(dsn, connections_min=1, connections_max=1)
        try:
            statements = Statements(pool, load_queries(STORE))
            return await verify(statements, public_key=public_key, kept=roots, progress=progress)
        finally:
            await _close(pool)


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
