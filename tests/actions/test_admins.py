# SPDX-License-Identifier: AGPL-3.0-or-later
"""Administrators are whom the operator names, and nobody can register into that."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cast import Cast

from openhorde.cli.private_horde import OPERATOR_IDENTITY, PrivateHorde
from openhorde.server.actions.admins import is_admin
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.user_edits import edit_user
from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings, SettingError, load_settings
from openhorde.server.store.users import account_by_id
from openhorde.server.tasks import DUTIES
from openhorde.server.tasks.rounds import keep
from openhorde.wire.users import UserEdit


def naming(horde: Horde, *admins: str) -> Horde:
    """The horde with these administrators."""
    return replace(horde, settings=replace(horde.settings, admins=admins))


async def test_an_account_is_named_by_number_or_provider_id(horde: Horde, cast: Cast) -> None:
    alice = await cast.make("Alice", provider_id="local_operator")
    # Named like an administrator's number, alias or provider id.
    names = ("Alice", f"{alice.id}", f"#{alice.id}", "provider:local_operator"[:30])
    others = [await cast.make(name) for name in names] + [await cast.anonymous()]
    for admin in (str(alice.id), alice.alias, f"renamed#{alice.id}", "provider:local_operator"):
        told = naming(horde, "another#99", admin)
        assert is_admin(told, alice)
        assert not any(is_admin(told, other) for other in others), admin
    for nobody in ("Alice", "local_operator", "", "0", "anon", "provider:anon", "Anonymous#0"):
        assert not any(is_admin(naming(horde, nobody), each) for each in (alice, *others)), nobody


@pytest.mark.parametrize(
    ("admins", "words"),
    [
        ("1", "no account '1' yet"),
        ("Alice#7", "no account 'Alice#7' yet"),
        ("Alice", "write NAME#ID"),
        ("0", "anonymous"),
        ("provider:local_operator,5", "no account '5' yet"),
    ],
)
async def test_a_server_does_not_start_while_an_administrator_is_nobody_yet(
    horde_database: str, tmp_path: Path, admins: str, words: str
) -> None:
    settings = load_settings(
        {"OPENHORDE_ADMINS": admins}, database_url=horde_database, data=tmp_path
    )
    with pytest.raises(SettingError, match="OPENHORDE_ADMINS") as refused:
        async with open_horde(settings, "http://horde.test"):
            pass
    assert words in str(refused.value)


async def test_a_server_starts_with_administrators_that_exist(
    horde: Horde, cast: Cast, horde_database: str, tmp_path: Path
) -> None:
    alice = await cast.alice()
    settings = ServerSettings(
        database_url=horde_database,
        data=tmp_path / "another",
        admins=(alice.alias, "provider:not_there_yet"),
    )
    async with open_horde(settings, "http://horde.test") as opened:
        assert is_admin(opened, alice)


@pytest.mark.parametrize("given", [{}, {"OPENHORDE_ADMINS": " "}, {"OPENHORDE_ADMINS": "7, Ann#8"}])
async def test_the_operator_of_a_private_horde_is_one(
    horde: Horde, cast: Cast, tmp_path: Path, given: Mapping[str, str]
) -> None:
    private = PrivateHorde(tmp_path, port=1, environment=given, say=print, note=print)
    told = naming(horde, *load_settings(private.environment).admins)
    operator = await cast.make("operator", provider_id=OPERATOR_IDENTITY)
    impostor = await cast.make("operator")
    assert (is_admin(told, operator), is_admin(told, impostor)) == (True, False)


async def test_what_an_administrator_promises_is_paid_at_once(
    horde: Horde, horde_database: str, cast: Cast
) -> None:
    alice, charlie = await cast.alice(), await cast.make("Charlie")
    settings = replace(horde.settings, admins=(alice.alias,), duty_seconds=3600.0)
    patient = replace(horde, settings=settings)
    (folding,) = [duty for duty in DUTIES if duty.name == "fold the ledger"]
    folded: asyncio.Queue[int] = asyncio.Queue()

    async def fold(horde: Horde) -> None:
        await folding.run(horde)
        account = await account_by_id(horde.statements, charlie.id)
        assert account is not None
        await folded.put(account.balance_milli)

    keeping = asyncio.create_task(keep(patient, horde_database, [replace(folding, run=fold)]))
    async with asyncio.timeout(60):
        assert await folded.get() == 0
        await edit_user(patient, alice, charlie.id, UserEdit(monthly_kudos=500), charlie.alias)
        while await folded.get() != 500_000:
            pass
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
