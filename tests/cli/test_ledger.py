# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde ledger verify`, with the real database."""

import asyncio
from pathlib import Path

import asyncpg
import msgspec
import pytest
from cli.conftest import Run

from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings
from openhorde.server.store import chain
from openhorde.server.tasks import fold_ledger, sign_ledger


@pytest.fixture
def verify(run: Run, horde_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `horde ledger verify` on a ledger with some transfers."""
    monkeypatch.setenv("OPENHORDE_DATABASE_URL", horde_database)
    monkeypatch.setenv("OPENHORDE_DATA", str(tmp_path))
    for name in ("Alice", "Bob"):
        assert run("user", "add", name, "--kudos", "50").exit_code == 0
    asyncio.run(fold(ServerSettings(database_url=horde_database, data=tmp_path)))
    return lambda *arguments: run("ledger", "verify", *arguments)


async def fold(settings: ServerSettings) -> None:
    """Do the duties of a day."""
    async with open_horde(settings, "http://horde.test") as horde:
        await fold_ledger.run(horde)
        await sign_ledger.run(horde)
        roots = [
            {
                "day": str(root.day),
                "block": root.block,
                "hash": root.hash.hex(),
                "public_key": root.public_key.hex(),
                "signature": root.signature.hex(),
            }
            for root in await chain.roots(horde.statements, None, 10)
        ]
        (settings.data / "roots.json").write_bytes(msgspec.json.encode(roots))


async def tamper(dsn: str, statement: str) -> None:
    """Change what nobody may."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"set session_replication_role = replica; {statement}")
    await connection.close()


def test_a_sound_ledger(verify: Run, tmp_path: Path) -> None:
    result = verify("--roots", str(tmp_path / "roots.json"))
    assert result.exit_code == 0, result.output
    assert "the ledger is sound" in result.stdout
    assert "checked 2 transfers" in result.stdout
    assert "1 blocks" in result.stdout
    assert "1 roots kept elsewhere" in result.stdout
    assert "2 of 2 transfers" in result.stderr


def test_a_ledger_that_was_changed(verify: Run, horde_database: str, tmp_path: Path) -> None:
    asyncio.run(tamper(horde_database, "update transfers set amount_milli = 7 where credit = 2"))
    result = verify()
    assert result.exit_code == 1
    assert "The balance of user 1 is 50 kudos, but its transfers make 0.007 kudos." in result.stdout
    assert "Block 1 does not have the hash of its transfers" in result.stdout
    assert "not what it was" in result.stderr
    asyncio.run(tamper(horde_database, "delete from ledger_roots"))
    result = verify("--roots", str(tmp_path / "roots.json"))
    assert "was kept elsewhere, but is gone here" in result.stdout


def test_roots_that_are_none(verify: Run, tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    for content in ("{}", "[1]", '[{"day": 1}]', "nothing"):
        file.write_text(content)
        result = verify("--roots", str(file))
        assert result.exit_code == 1
        assert "--roots" in result.stderr
    root = {"day": "x", "block": 1, "hash": "x", "public_key": "x", "signature": "x"}
    file.write_bytes(msgspec.json.encode([root]))
    assert "a root that was kept cannot be read" in verify("--roots", str(file)).stderr
    assert verify("--roots", str(tmp_path / "absent.json")).exit_code == 1


def test_a_key_that_is_none_is_a_sentence(verify: Run, tmp_path: Path) -> None:
    (tmp_path / "ledger.key").write_text("x")
    result = verify()
    assert result.exit_code == 1
    assert "ledger.key" in result.stderr
