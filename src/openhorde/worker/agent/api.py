# SPDX-License-Identifier: AGPL-3.0-or-later
"""The horde as a worker calls it: one attempt a call, and what a refusal means."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from openhorde import __version__
from openhorde.incoming.answers import AnswerRefused, bounded_client, retry_after_seconds
from openhorde.incoming.texts import decode_json, encode_json
from openhorde.wire.errors import Error
from openhorde.wire.work import Rewarded, StepsHeard
from openhorde.worker.agent import events
from openhorde.worker.agent.doors import Doors, Shut
from openhorde.worker.agent.line import Line
from openhorde.worker.agent.presence import Presence
from openhorde.worker.settings import WorkerSettings, networks

CALL_SECONDS_MAX = 40.0
REPORT_SECONDS_MAX = 5.0
FIRST_WORD_SECONDS_MAX = 10.0
TRANSFER_SECONDS_MAX = 30.0
RETRY_AFTER_SECONDS_MAX = 3600.0
TRY_AGAIN_STATUSES = (408, 425, 429)
FINAL_TEXTS = ("does not exist", "already submitted")


class Away(Exception):
    """No answer, or none that can be read; the message says what happened."""


class Unreached(Away):
    """The horde did not answer at all; `why` has the reason alone."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the horde cannot be reached: {why}")
        self.why = why


class Refused(Exception):
    """The horde answered with an error."""

    def __init__(self, status: int, error: Error, retry_after_seconds: float | None = None) -> None:
        details = "; ".join(f"{name}: {text}" for name, text in (error.errors or {}).items())
        super().__init__(f"{error.message} ({details})" if details else error.message)
        self.status = status
        self.rc = error.rc
        self.retry_after_seconds = retry_after_seconds

    @property
    def final(self) -> bool:
        """Whether asking again is useless."""
        if any(text in str(self) for text in FINAL_TEXTS):
            return True
        return 400 <= self.status < 500 and self.status not in TRY_AGAIN_STATUSES

    @property
    def maintenance(self) -> bool:
        """Whether the owner, or the horde, put this worker to rest."""
        return self.rc == "WorkerMaintenance" or "maintenance mode" in str(self).lower()


def bridge_agent(settings: WorkerSettings) -> str:
    """What software it says it is when it asks for work."""
    return settings.bridge_agent or agent_words(settings)


def agent_words(settings: WorkerSettings) -> str:
    """How this software names itself: `name:version:url`."""
    url = settings.worker_url or f"{settings.horde_url}/source"
    return f"openhorde worker:{__version__}:{url}"


class HordeApi:
    """The calls a worker makes. Each is tried once; raises Away or Refused.

    `observe` hears when the horde cannot be reached, and when it is back.
    """

    def __init__(self, settings: WorkerSettings, observe: events.Observe = events.ignore) -> None:
        self._root, self._base = settings.horde_url, settings.api_url
        self._presence = Presence(settings.horde_url, observe)
        headers = {"apikey": settings.api_key, "Client-Agent": agent_words(settings)}
        self._headers = headers
        self._horde = bounded_client(headers=headers, timeout=CALL_SECONDS_MAX)
        self._lines: dict[str, Line] = {}
        self._doors = Doors(settings.horde_url, networks(settings.storage_networks))
        # Storage must see neither the key nor anything that its signature does not cover.
        self._storage = bounded_client(timeout=TRANSFER_SECONDS_MAX)

    async def close(self) -> None:
        """Close the connections."""
        await self._horde.aclose()
        for line in self._lines.values():
            await line.close()
        await self._storage.aclose()

    async def pop(self, path: str, body: msgspec.Struct, held_seconds: float) -> dict[str, Any]:
        """`POST` for work, one call a path at a time; the horde may hold it for `held_seconds`.

        The answer is undecoded, because a job may be odd and yet has ids.
        """
        url = f"{self._base}/{path}"
        seconds_max = CALL_SECONDS_MAX + held_seconds
        line = self._lines.setdefault(path, Line(self._headers))
        calling = _answer(line.post(url, encode_json(body), seconds_max))
        answer: dict[str, Any] = await self._noticed(calling, line)
        return answer

    def hang_up(self, path: str) -> None:
        """End the pop under way: it answers what is on its way already, or raises Away soon."""
        if path in self._lines:
            self._lines[path].hang_up()

    async def introduce(self) -> None:
        """See whether the horde knows the key, in not much time. Refused where it does not."""
        url = f"{self._base}/find_user"
        await self._noticed(_answer(self._horde.get(url, timeout=FIRST_WORD_SECONDS_MAX), Any))

    async def software(self) -> str:
        """The name of the horde's software; empty when it does not say."""
        try:
            info = await _answer(self._horde.get(f"{self._root}/.well-known/serviceinfo"), Any)
            return str(info["software"]["name"])
        except (Away, Refused, KeyError, TypeError):
            return ""

    async def look(self, path: str) -> Any:
        """`GET` something that is shown, such as `find_user`."""
        return await _answer(self._horde.get(f"{self._base}/{path}"), Any)

    async def forget_worker(self, worker_id: str) -> None:
        """Have the horde forget a worker of this owner."""
        await _answer(self._horde.delete(f"{self._base}/workers/{worker_id}"), Any)

    async def report_steps(self, path: str, body: msgspec.Struct) -> StepsHeard:
        """Tell how far a job is; the answer is whether and how long it is waited for."""
        answer = await self._post(path, body, REPORT_SECONDS_MAX)
        try:
            return msgspec.convert(answer, StepsHeard)
        except msgspec.ValidationError as error:
            raise Away(f"the horde's answer to a progress report is odd: {error}") from error

    async def submit(self, path: str, body: msgspec.Struct) -> float:
        """Hand a result in; the answer is the reward in kudos."""
        answer = await self._noticed(self._post(path, body, CALL_SECONDS_MAX))
        try:
            return msgspec.convert(answer, Rewarded).reward
        except msgspec.ValidationError as error:
            raise Away(f"the horde's answer to a submit is odd: {error}") from error

    async def put(self, url: str, content: bytes) -> None:
        """Upload to a presigned address, exactly as it is given. Only status 200 is success.

        The horde names the address: see Doors. Raises Away.
        """
        try:
            async with asyncio.timeout(TRANSFER_SECONDS_MAX):
                called, options = await self._through_door(url)
                answer = await self._storage.put(called, content=content, **options)
        except (httpx.HTTPError, httpx.InvalidURL, Shut, TimeoutError) as error:
            raise Away(f"upload: {_described(error)}") from error
        if answer.status_code != 200:
            raise Away(f"upload: the storage answered {answer.status_code}")

    async def get(self, url: str, bytes_max: int, seconds_max: float) -> bytes:
        """Download at most so many bytes in at most so many seconds. Raises Away.

        The address is a stranger's: see Doors.
        """
        content = bytearray()
        try:
            async with asyncio.timeout(seconds_max):
                called, options = await self._through_door(url)
                async with self._storage.stream("GET", called, **options) as answer:
                    if answer.status_code != 200:
                        raise Away(f"download: status {answer.status_code}")
                    async for chunk in answer.aiter_bytes():
                        content += chunk
                        if len(content) > bytes_max:
                            raise Away(f"download: more than {bytes_max} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, Shut, TimeoutError) as error:
            raise Away(f"download: {_described(error)}") from error
        return bytes(content)

    async def _noticed(self, calling: Awaitable[Any], line: Line | None = None) -> Any:
        """What a call brings, while it is noticed whether the horde is there. Nothing follows from
        a call on a `line` that was hung up."""
        try:
            answer = await calling
        except Unreached as error:
            if line is None or not line.hung_up:
                self._presence.away(error.why)
            raise
        except (Away, Refused):
            self._presence.here()
            raise
        self._presence.here()
        return answer

    async def _through_door(self, url: str) -> tuple[httpx.URL, dict[str, Any]]:
        """The very address to call, and how to call it in the name of its host. Raises Shut."""
        named = httpx.URL(url)
        address = await self._doors.address(url)
        called = named if address is None else named.copy_with(host=address)
        extensions = {**_exact(url), "sni_hostname": named.raw_host.decode("ascii")}
        return called, {"headers": {"Host": named.netloc.decode("ascii")}, "extensions": extensions}

    async def _post(self, path: str, body: msgspec.Struct, seconds_max: float) -> dict[str, Any]:
        answer: dict[str, Any] = await _answer(
            self._horde.post(
                f"{self._base}/{path}",
                content=encode_json(body),
                headers={"Content-Type": "application/json"},
                timeout=seconds_max,
            )
        )
        return answer


async def _answer(calling: Awaitable[httpx.Response], kind: Any = dict[str, Any]) -> Any:
    """The JSON that a call brings, an object unless said. Raises Away or Refused."""
    try:
        answer = await calling
    except AnswerRefused as error:
        raise Away(f"the horde's answer cannot be read: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreached(_described(error)) from error
    if answer.status_code != 200:
        raise _refusal(answer)
    try:
        return decode_json(answer.content, kind)
    except msgspec.DecodeError as error:
        raise Away(f"the horde's answer is not JSON: {error}") from error


def _exact(url: str) -> dict[str, Any]:
    """Keep the path and query as they are: a signature covers every character of them."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return {"target": f"{parts.path or '/'}{query}".encode()}


def _refusal(answer: httpx.Response) -> Refused | Away:
    try:
        error = decode_json(answer.content, Error, strict=False)
    except msgspec.DecodeError:
        if answer.status_code < 500 and answer.status_code not in TRY_AGAIN_STATUSES:
            return Refused(answer.status_code, Error(message=f"status {answer.status_code}"))
        error = Error(message=f"the horde answered {answer.status_code}")
    wait_seconds = retry_after_seconds(answer, RETRY_AFTER_SECONDS_MAX)
    return Refused(answer.status_code, error, wait_seconds)


def _described(error: Exception) -> str:
    return str(error) or type(error).__name__
