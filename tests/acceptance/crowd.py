# SPDX-License-Identifier: AGPL-3.0-or-later
"""People and machines that use a horde as hard as they can and bear every outage of it.

They are honest: what was acknowledged they keep note of, what got no answer they promise nothing
about. Whatever they hear that may not be said, outage or not, is an AssertionError.
"""

import asyncio
import base64
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from PIL import Image

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.05
CALL_SECONDS_MAX = 30.0
WORK_SECONDS = (0.01, 0.1)
PICTURES = (1, 1, 2, 3)
AGENT = "AI Horde Worker reGen:13.0.0:https://example.org"
LOST_JOB = frozenset({"AbortedGen", "InvalidJobID"})
"""How a worker is told that its time was over and another has the job."""


async def eventually(
    happened: Callable[[], bool | Awaitable[bool]],
    what: str,
    seconds: float = PATIENCE_SECONDS,
) -> None:
    """Return as soon as it has happened; AssertionError when it never does."""
    deadline = time.monotonic() + seconds
    while True:
        found = happened()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(PAUSE_SECONDS)


@dataclass(slots=True)
class Crowd:
    """Everybody at one horde. `accepted` are the acknowledged requests with the number of their
    pictures, `delivered` the acknowledged jobs with the seed that was handed in, `seen` the
    generations that each request's event stream told of, in order; `resumed` counts the streams
    that were taken up where they had broken off."""

    url: str
    random: Random
    accepted: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    seen: dict[str, list[str]] = field(default_factory=dict)
    resumed: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    asking: bool = True
    working: bool = True

    def client(self, api_key: str = "") -> httpx.AsyncClient:
        """Connections to the horde for one of the crowd."""
        return httpx.AsyncClient(
            base_url=f"{self.url}/api/v2/",
            headers={"apikey": api_key} if api_key else {},
            timeout=CALL_SECONDS_MAX,
        )

    async def ask(self, api_key: str, *, by_stream: bool) -> None:
        """Ask for pictures, follow the request to its end, ask again."""
        async with self.client(api_key) as client:
            while self.asking:
                count = self.random.choice(PICTURES)
                params = {"width": 64, "height": 64, "steps": 4, "n": count}
                body = {"prompt": "a red circle", "params": params}
                answer = await self._call(client, "POST", "generate/async", body)
                if answer is None:
                    continue
                assert answer.status_code == 202, answer.text
                request_id = answer.json()["id"]
                self.accepted[request_id] = count
                if by_stream:
                    await self._watch(client, request_id)
                else:
                    await self._poll(client, request_id)

    async def _watch(self, client: httpx.AsyncClient, request_id: str) -> None:
        """Read the request's events to their end, taking them up again after each break."""
        seen = self.seen[request_id] = []
        last_event_id = ""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < deadline, f"request {request_id} never ends"
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            try:
                async with client.stream(
                    "GET", f"generate/events/{request_id}", headers=headers
                ) as answer:
                    if answer.status_code >= 500:
                        raise httpx.RemoteProtocolError(f"status {answer.status_code}")
                    assert answer.status_code == 200, await answer.aread()
                    self.resumed += bool(last_event_id)
                    async for name, event_id, data in _events(answer):
                        last_event_id = event_id or last_event_id
                        if name == "generation":
                            seen.append(json.loads(data)["id"])
                        if name == "done":
                            return
                self.troubles["stream ended early"] += 1
            except httpx.HTTPError as error:
                self._trouble("stream", error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _poll(self, client: httpx.AsyncClient, request_id: str) -> None:
        """Ask again and again how far the request is."""

        async def ended() -> bool:
            answer = await self._call(client, "GET", f"generate/check/{request_id}")
            if answer is None:
                return False
            assert answer.status_code == 200, answer.text
            check = answer.json()
            return bool(check["done"] or check["faulted"])

        await eventually(ended, f"request {request_id} ends")

    async def work(self, api_key: str, name: str, wait_seconds: float) -> None:
        """Pop, work, deliver. The picture is the same each time, the seed is not."""
        picture = _picture()
        pop = {
            "name": name,
            "models": ["stable_diffusion"],
            "bridge_agent": AGENT,
            "max_pixels": 4_194_304,
            "wait": wait_seconds,
        }
        async with self.client(api_key) as client:
            while self.working:
                popped = await self._call(client, "POST", "generate/pop", pop)
                if popped is None:
                    continue
                assert popped.status_code == 200, popped.text
                job_ids = popped.json()["ids"]
                for job_id in job_ids:
                    # This is the work, not a wait for anything.
                    await asyncio.sleep(self.random.uniform(*WORK_SECONDS))
                    await self._deliver(client, job_id, picture)
                if not (job_ids or wait_seconds):
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _deliver(self, client: httpx.AsyncClient, job_id: str, picture: str) -> None:
        """Hand a result in until there is an answer."""
        seed = self.random.getrandbits(31)
        body = {"id": job_id, "generation": picture, "state": "ok", "seed": seed}
        step = {"id": job_id, "step": 2, "steps": 4}
        stepped = await self._call(client, "POST", "generate/progress", step)
        # The job may be over: its time, or its request's.
        assert stepped is None or stepped.status_code in (200, 404, 400), stepped.text
        unanswered = 0
        while (answer := await self._call(client, "POST", "generate/submit", body)) is None:
            unanswered += 1
        if answer.status_code == 200:
            self.delivered[job_id] = seed
            return
        code = answer.json()["rc"]
        if code == "DuplicateGen" and unanswered:
            # An earlier try has arrived after all.
            self.delivered[job_id] = seed
            return
        assert code in LOST_JOB, f"{job_id}, {unanswered} without answer: {answer.text}"
        self.troubles[code] += 1

    async def _call(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any = None
    ) -> httpx.Response | None:
        """An answer, or None and a short pause when the horde is in trouble."""
        try:
            answer = await client.request(method, path, json=body)
        except httpx.HTTPError as error:
            self._trouble(path.split("/")[1], error)
        else:
            if answer.status_code < 500:
                return answer
            self.troubles[f"{path.split('/')[1]}: {answer.status_code}"] += 1
        await asyncio.sleep(PAUSE_SECONDS)
        return None

    def _trouble(self, where: str, error: httpx.HTTPError) -> None:
        self.troubles[f"{where}: {type(error).__name__}"] += 1


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    """Name, id and data of each whole event. One that breaks off has not happened."""
    fields = {"event": "", "id": "", "data": ""}
    async for line in answer.aiter_lines():
        if not line:
            if fields["event"]:
                yield fields["event"], fields["id"], fields["data"]
            fields = {"event": "", "id": "", "data": ""}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


def _picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "WEBP", lossless=True)
    return base64.b64encode(buffer.getvalue()).decode()
