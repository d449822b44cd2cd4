# SPDX-License-Identifier: AGPL-3.0-or-later
"""What tests of all rooms share."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from cast import Cast

from openhorde.server.actions.horde import Horde
from openhorde.server.boot import STORE, open_horde
from openhorde.server.kit.migrations import upgrade
from openhorde.server.kit.postgres import start_embedded
from openhorde.server.settings import ServerSettings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a skipped test is a failure: what it needs should have been there."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """What programs keep for their user goes into a folder of the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_dsn() -> AsyncIterator[str]:
    """One embedded PostgreSQL for the whole session: the DSN of its database `postgres`."""
    # Not pytest's own temporary folder: a second session beside this one closes that to others,
    # and as root the server is another user.
    folder = Path(tempfile.mkdtemp(prefix="openhorde-tests-"))
    server = await start_embedded(folder)
    connection = await asyncpg.connect(server.dsn)
    # Nobody needs these data after a power cut.
    await connection.execute("alter system set fsync = off")
    await connection.execute("select pg_reload_conf()")
    await connection.close()
    yield server.dsn
    await server.stop()
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(postgres_dsn: str) -> str:
    """The name of a database that is up to date and empty: a clone is quicker than a new one."""
    name = "template_horde"
    await _administer(postgres_dsn, f"create database {name}")
    connection = await asyncpg.connect(_dsn_of(postgres_dsn, name))
    await upgrade(connection, STORE)
    await connection.close()
    return name


def _dsn_of(postgres_dsn: str, database: str) -> str:
    return postgres_dsn.replace("/postgres?", f"/{database}?", 1)


async def _administer(postgres_dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(statement)
    await connection.close()


@asynccontextmanager
async def _new_database(postgres_dsn: str, template: str = "template1") -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    await _administer(postgres_dsn, f"create database {name} template {template}")
    yield _dsn_of(postgres_dsn, name)
    await _administer(postgres_dsn, f"drop database {name} with (force)")


@pytest_asyncio.fixture
async def fresh_database(postgres_dsn: str) -> AsyncIterator[str]:
    """The DSN of a new, empty database."""
    async with _new_database(postgres_dsn) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def another_database(postgres_dsn: str) -> AsyncIterator[str]:
    """The DSN of one more new, empty database."""
    async with _new_database(postgres_dsn) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def horde_database(postgres_dsn: str, template_database: str) -> AsyncIterator[str]:
    """The DSN of a new database of a horde in which nothing has happened."""
    async with _new_database(postgres_dsn, template_database) as dsn:
        yield dsn


@pytest.fixture
async def horde(horde_database: str, tmp_path: Path) -> AsyncIterator[Horde]:
    """A horde without HTTP on an empty database, that knows every model and sets no limits."""
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, known_models=None, rate_limits=False
    )
    async with open_horde(settings, "http://horde.test") as opened:
        yield opened


@pytest.fixture
def cast(horde: Horde) -> Cast:
    """The standing cast of this horde."""
    return Cast(horde)
