# SPDX-License-Identifier: AGPL-3.0-or-later
"""The standing cast, and what they do: Alice pays, Bob works, Charlie is nobody."""

from time import monotonic
from typing import Any
from uuid import UUID

import msgspec

from openhorde.server.actions import requests, users, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Client, Queued
from openhorde.server.actions.work import Delivery
from openhorde.server.store.users import ANONYMOUS_KEY, Account
from openhorde.server.tasks import fold_ledger
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImagePop

AGENT = "AI Horde Worker reGen:13.0.0:https://example.org"
CLIENT = Client(agent="test:1:nobody", address="127.0.0.1")


class Cast:
    """The people of the tests, made when first called for."""

    def __init__(self, horde: Horde) -> None:
        self._horde = horde

    async def make(self, name: str, *, kudos: int = 0, **roles: Any) -> Account:
        """A new account with so many kudos in its balance."""
        added = await users.add_user(
            self._horde.statements, self._horde.salt, username=name, kudos=kudos, **roles
        )
        await fold_ledger.run(self._horde)
        account = await self._horde.accounts.by_key(added.api_key)
        assert account is not None
        return account

    async def alice(self) -> Account:
        """Pays."""
        return await self.make("Alice", kudos=100_000)

    async def bob(self) -> Account:
        """Works, and is trusted."""
        return await self.make("Bob", trusted=True)

    async def anonymous(self) -> Account:
        """Has no key of their own."""
        account = await self._horde.accounts.by_key(ANONYMOUS_KEY)
        assert account is not None
        return account


def image_request(**changes: Any) -> ImageRequest:
    """A small request; `changes` are fields as they travel."""
    body = {"prompt": "a red circle", "params": {"width": 64, "height": 64, "steps": 4}}
    return msgspec.convert(body | changes, ImageRequest)


def image_pop(**changes: Any) -> ImagePop:
    """A pop of an able worker."""
    body = {
        "name": "Bob's machine",
        "models": ["stable_diffusion"],
        "bridge_agent": AGENT,
        "max_pixels": 4_194_304,
    }
    return msgspec.convert(body | changes, ImagePop)


async def ask(horde: Horde, account: Account, **changes: Any) -> UUID:
    """Submit a request that is accepted."""
    outcome = await requests.submit(horde, account, image_request(**changes), CLIENT)
    assert isinstance(outcome, Queued)
    return outcome.request_id


async def take(horde: Horde, owner: Account, **changes: Any) -> list[UUID]:
    """The ids of the jobs that a pop brings."""
    popped = await work.pop(horde, owner, image_pop(**changes), "127.0.0.1")
    return [job.id for job in popped.jobs]


async def skips(horde: Horde, owner: Account, expected: dict[str, int], **changes: Any) -> bool:
    """Does a pop that finds nothing say just this of what waits? It may take a moment until the
    process has seen that something does."""
    deadline = monotonic() + 10
    while True:
        popped = await work.pop(horde, owner, image_pop(**changes), "127.0.0.1")
        assert not popped.jobs
        if popped.skipped == expected or monotonic() > deadline:
            return popped.skipped == expected


def delivery(job_id: UUID, **changes: Any) -> Delivery:
    """A result that the worker has uploaded itself."""
    fields: dict[str, Any] = {
        "job_id": job_id,
        "faulted": False,
        "picture": None,
        "seed": 1,
        "metadata": [],
    }
    return Delivery(**(fields | changes))
