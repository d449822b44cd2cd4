# SPDX-License-Identifier: AGPL-3.0-or-later
"""The async client: one object for one horde and one account."""

import asyncio
import uuid
from collections.abc import Awaitable
from typing import Self

from openhorde import __version__
from openhorde.client.asking_forms import AskingForms
from openhorde.client.asking_images import AskingImages
from openhorde.client.asking_texts import AskingTexts
from openhorde.client.transport import Sleep, Transport
from openhorde.wire.kudos import KudosHistory, KudosTransferred
from openhorde.wire.status import ActiveModel, Heartbeat, Performance
from openhorde.wire.users import UserDetails
from openhorde.wire.workers import WorkerDetails

DEFAULT_URL = "http://127.0.0.1:7001"
ANONYMOUS_KEY = "0000000000"
CLIENT_AGENT = f"openhorde:{__version__}:unknown"


class AsyncHorde(AskingImages, AskingTexts, AskingForms):
    """A client of one horde. Use it with `async with`, or call `close` at the end.

    `outage_seconds` is how long watching and fetching wait for a server that went away.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str = ANONYMOUS_KEY,
        client_agent: str = CLIENT_AGENT,
        *,
        outage_seconds: float = 60.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(
            Transport(url, api_key, client_agent, outage_seconds=outage_seconds, sleep=sleep)
        )

    @property
    def url(self) -> str:
        """The horde's address, without the API's path."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.close()

    async def find_user(self) -> UserDetails:
        """The account behind the API key."""
        return await self._get(UserDetails, "find_user")

    async def history(
        self, *, before: str | None = None, limit: int = 50, user: str | None = None
    ) -> KudosHistory:
        """What happened to the account's kudos, newest first; `before` is a page's `next`.

        Moderators may name another `user`.
        """
        query = {"limit": str(limit), "before": before or "", "user": user or ""}
        return await self._get(KudosHistory, "kudos/history", query)

    async def send_kudos(self, username: str, amount: int, *, key: str | None = None) -> float:
        """Send kudos to another user; what was sent.

        The same `key` sends once, however often it is tried; without one each call sends anew, and
        still only once however often it is repeated on the way.
        """
        body = {"username": username, "amount": amount}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}

        def attempt() -> Awaitable[KudosTransferred]:
            return self._transport.call(
                KudosTransferred, "POST", "kudos/transfer", body=body, headers=headers
            )

        return (await self._transport.patiently(attempt)).transferred

    async def heartbeat(self) -> Heartbeat:
        """Whether this node of the horde is alive."""
        return await self._get(Heartbeat, "status/heartbeat")

    async def performance(self) -> Performance:
        """Queue sizes, machines and speed of the whole horde."""
        return await self._get(Performance, "status/performance")

    async def models(self, kind: str = "image") -> list[ActiveModel]:
        """The models that are served now; `kind` is image or text."""
        return await self._get(list[ActiveModel], "status/models", {"type": kind})

    async def workers(self, kind: str | None = None) -> list[WorkerDetails]:
        """The workers that are online; `kind` is image, text or interrogation."""
        return await self._get(list[WorkerDetails], "workers", {"type": kind} if kind else None)
