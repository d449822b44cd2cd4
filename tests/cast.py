# SPDX-License-Identifier: AGPL-3.0-or-later
"""The standing cast, and what they do: Alice pays, Bob works, Charlie is nobody."""

import base64
from io import BytesIO
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from PIL import Image

from openhorde.server.actions import requests, users, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Client, Queued
from openhorde.server.actions.work import Delivery
from openhorde.server.store.users import ANONYMOUS_KEY, Account
from openhorde.server.tasks import fold_ledger
from openhorde.wire.alchemy import AlchemyPop, AlchemyRequest, FormSubmit
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImagePop, ImageSubmit

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


def delivery(job_id: UUID, *, faulted: bool = False, **changes: Any) -> Delivery:
    """A small picture that comes along; `changes` are fields of the submit, as they travel."""
    body = {"id": str(job_id), "generation": picture_text(), "seed": 1}
    submit = msgspec.convert(body | changes, ImageSubmit)
    return Delivery(
        job_id=job_id,
        faulted=faulted,
        submit=submit,
        metadata=msgspec.to_builtins(submit.gen_metadata),
    )


def picture_bytes(width: int = 64, height: int = 64, color: str = "red") -> bytes:
    """A picture of that size, as a PNG file."""
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def picture_text(width: int = 64, height: int = 64) -> str:
    """A picture of that size in base64."""
    return base64.b64encode(picture_bytes(width, height)).decode()


def alchemy_request(*forms: str, **changes: Any) -> AlchemyRequest:
    """Forms asked of a small picture; `changes` are fields as they travel."""
    body = {"source_image": picture_text(), "forms": [{"name": name} for name in forms]}
    return msgspec.convert(body | changes, AlchemyRequest)


def alchemy_pop(*forms: str, **changes: Any) -> AlchemyPop:
    """A pop of an alchemist."""
    body = {"name": "Bob's alchemist", "forms": list(forms), "bridge_agent": AGENT}
    return msgspec.convert(body | changes, AlchemyPop)


async def ask_forms(horde: Horde, account: Account, *forms: str, **changes: Any) -> UUID:
    """Submit an alchemy request that is accepted."""
    outcome = await requests.submit(horde, account, alchemy_request(*forms, **changes), CLIENT)
    assert isinstance(outcome, Queued)
    return outcome.request_id


async def take_forms(
    horde: Horde, owner: Account, *forms: str, **changes: Any
) -> list[tuple[str, UUID]]:
    """The forms that a pop brings, each with its id."""
    popped = await work.pop(horde, owner, alchemy_pop(*forms, **changes), "127.0.0.1")
    return [(job.model, job.id) for job in popped.jobs]


def form_delivery(job_id: UUID, result: Any = None, **changes: Any) -> Delivery:
    """What came of a form; `changes` are fields of the submit, as they travel."""
    submit = msgspec.convert({"id": str(job_id), "result": result} | changes, FormSubmit)
    return Delivery(
        job_id=job_id,
        faulted=submit.state == "faulted",
        submit=submit,
        metadata=msgspec.to_builtins(submit.gen_metadata),
    )
