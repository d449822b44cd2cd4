# SPDX-License-Identifier: AGPL-3.0-or-later
"""A horde inside this process: it makes accounts, and shows which statements a call sends.

So the limit (limits.py) always runs what the server runs, with the arguments that it sends.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from bench.demand import CLIENT_AGENT, complete_offer
from bench.load import PICTURE
from openhorde.server.actions import requests, users, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.pictures import upload_key
from openhorde.server.actions.work import Delivery
from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings
from openhorde.server.store.statements import Statements
from openhorde.server.tasks import fold_ledger
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImagePop, ImageSubmit

ADDRESS = "127.0.0.1"
KUDOS = 10_000_000
WORKERS_MAX = 1_000
_METHODS = ("rows", "row", "value", "run")


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement as it was sent."""

    name: str
    sql: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The statements of one lifecycle (but the claim), by call, and the ids they speak of."""

    ask: Sequence[Sent]
    submit: Sequence[Sent]
    status: Sequence[Sent]
    request_id: UUID
    job_id: UUID


class HordeInside:
    """Actions on a database, without HTTP."""

    def __init__(self, horde: Horde) -> None:
        self.horde = horde
        self._sent: list[Sent] = []
        self._listen(horde.statements)

    def _listen(self, statements: Statements) -> None:
        """Hear all that is sent, also within transactions."""
        for method in _METHODS:
            self._listen_to(statements, method)
        genuine = statements.transaction

        @asynccontextmanager
        async def transaction() -> AsyncIterator[Statements]:
            async with genuine() as inner:
                self._listen(inner)
                yield inner

        setattr(statements, "transaction", transaction)  # noqa: B010 - mypy minds the other way

    def _listen_to(self, statements: Statements, method: str) -> None:
        genuine = getattr(statements, method)

        async def listening(name: str, *arguments: object) -> Any:
            self._sent.append(Sent(name, self.horde.queries[name].sql, arguments))
            return await genuine(name, *arguments)

        setattr(statements, method, listening)

    def _heard(self) -> list[Sent]:
        sent, self._sent = self._sent, []
        return sent

    async def add_accounts(self, name: str, count: int) -> list[str]:
        """Trusted, wealthy accounts that may have many workers; their keys."""
        added = [
            await users.add_user(
                self.horde.statements,
                self.horde.salt,
                username=f"{name} {number}",
                trusted=True,
                kudos=KUDOS,
            )
            for number in range(count)
        ]
        await self.horde.pool.execute(
            "update users set worker_invited = $2 where id = any ($1::int[])",
            [account.user_id for account in added],
            WORKERS_MAX,
        )
        await fold_ledger.run(self.horde)
        return [account.api_key for account in added]

    async def ask(self, key: str, request: dict[str, Any]) -> UUID:
        """Submit a request."""
        account = await self.horde.accounts.by_key(key)
        assert account is not None
        queued = await requests.submit(
            self.horde,
            account,
            msgspec.convert(request, ImageRequest),
            requests.Client(CLIENT_AGENT, ADDRESS),
        )
        assert isinstance(queued, requests.Queued)
        return queued.request_id

    async def pop(self, key: str, offer: dict[str, Any]) -> UUID:
        """Take a job, which must be there."""
        account = await self.horde.accounts.by_key(key)
        assert account is not None
        popped = await work.pop(self.horde, account, msgspec.convert(offer, ImagePop), ADDRESS)
        return popped.jobs[0].id

    async def claim_for(self, key: str, offer: dict[str, Any]) -> Sent:
        """The statement with which this worker would now be given a job."""
        await self.horde.queue.start()
        self._heard()
        await self.pop(key, offer)
        return [sent for sent in self._heard() if sent.name == "claim_jobs"][-1]

    async def asking(self, key: str, request: dict[str, Any]) -> Lifecycle:
        """A submit alone, the second of two; the jobs are left to wait."""
        for _ in range(2):
            self._heard()
            request_id = await self.ask(key, request)
        ask = _of_every_call(self._heard())
        job_ids = next(
            argument
            for sent in ask
            if sent.name == "submit_request"
            for argument in sent.arguments
            if isinstance(argument, list) and argument and isinstance(argument[0], UUID)
        )
        return Lifecycle(ask, (), (), request_id, job_ids[0])

    async def check(self, request_id: UUID) -> Sent:
        """The statement that looks at a request."""
        self._heard()
        await requests.check(self.horde, request_id)
        return next(sent for sent in self._heard() if sent.name == "check_request")

    async def lifecycle(self, asker: str, owner: str, request: dict[str, Any]) -> Lifecycle:
        """One lifecycle on an empty queue; the second of two, when all is known that is kept."""
        account = await self.horde.accounts.by_key(owner)
        assert account is not None
        for _ in range(2):
            self._heard()
            request_id = await self.ask(asker, request)
            ask = self._heard()
            job_id = await self.pop(owner, complete_offer("inside"))
            self._heard()
            await self.horde.blobs.put(upload_key(job_id), PICTURE, "image/webp")
            picture = ImageSubmit(id=str(job_id), generation="R2", seed=1234)
            delivery = Delivery(job_id=job_id, faulted=False, submit=picture, metadata=[])
            await work.deliver(self.horde, account, delivery)
            submit = self._heard()
            await requests.read(self.horde, request_id)
            status = self._heard()
        keep = _of_every_call
        return Lifecycle(keep(ask), keep(submit), keep(status), request_id, job_id)


def _of_every_call(sent: Sequence[Sent]) -> list[Sent]:
    """Without what a call sends only now and then: depth of the queue, workers online, keys."""
    hot = {
        # Where a submit must be covered in advance, its payer's kudos are counted each time.
        "available_kudos",
        "lock_payer",
        "submit_request",
        "job_facts",
        "deliver_job",
        "check_request",
    }
    return [each for each in sent if each.name in hot]


@asynccontextmanager
async def open_inside(data: Path, dsn: str) -> AsyncIterator[HordeInside]:
    """A horde inside on the embedded database of a folder, or on another one."""
    settings = ServerSettings(data=data, database_url=dsn, known_models=None, rate_limits=False)
    async with open_horde(settings, "http://127.0.0.1:7001") as horde:
        yield HordeInside(horde)
