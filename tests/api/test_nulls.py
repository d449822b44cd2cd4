# SPDX-License-Identifier: AGPL-3.0-or-later
"""A null never stands for a default where something moves, or where somebody's rights change."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from openhorde.server.api.operations import Operation, Who
from openhorde.server.api.table import OPERATIONS

CASES = Path(__file__).parents[1] / "cases"
COSTLY = [operation for operation in OPERATIONS if operation.refuses_null]


def test_whatever_changes_accounts_or_balances_refuses_null() -> None:
    changing = {
        operation.name
        for operation in OPERATIONS
        if operation.tag in ("kudos", "users")
        and operation.body is not None
        and operation.who is not Who.ANYONE
    }
    assert changing == {operation.name for operation in COSTLY}
    assert len(changing) >= 3


@pytest.mark.parametrize("operation", COSTLY, ids=lambda operation: operation.name)
async def test_every_field_refuses_null(
    operation: Operation, http: httpx.AsyncClient, join: Any
) -> None:
    boss = await join("Boss", moderator=True)
    victim = await join("Victim")
    path = operation.path.replace("{user_id}", str(victim.id))
    before = (await http.get(f"/api/v2/users/{victim.id}", headers=boss.headers)).json()
    valid = {"username": victim.alias, "amount": 5} if operation.tag == "kudos" else {}
    for field in operation.body.__struct_encode_fields__:
        answer = await http.request(
            operation.method, path, headers=boss.headers, json={**valid, field: None}
        )
        assert answer.status_code == 400, answer.text
        assert list(answer.json()["errors"]) == [field]
        assert "null" in answer.json()["errors"][field]
    after = (await http.get(f"/api/v2/users/{victim.id}", headers=boss.headers)).json()
    assert {**before, "account_age": 0} == {**after, "account_age": 0}


async def test_an_empty_field_of_a_form_moves_nothing(http: httpx.AsyncClient, join: Any) -> None:
    alice = await join("Alice")
    raw = (CASES / "transfer_amount_null.json").read_bytes()
    answer = await http.post("/api/v2/kudos/transfer", headers=alice.headers, content=raw)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["amount"]
