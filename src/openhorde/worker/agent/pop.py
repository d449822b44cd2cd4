# SPDX-License-Identifier: AGPL-3.0-or-later
"""Popping: one call for work, what its answer means to the owner, and when to call again."""

import asyncio
import time

import structlog

from openhorde.worker.agent import events, image
from openhorde.worker.agent.api import Away, HordeApi, Refused
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.backoff import Backoff, wait_any
from openhorde.worker.agent.run import Breaker, Broken
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.settings import WorkerSettings

IDLE_FACTOR = 1.2
HELD_SHARE = 0.9
"""An empty answer sooner than after this share of the wait comes from a horde that holds none."""
PROMPT_SECONDS = 10.0
"""A horde that holds no calls answers within this time, and would lose a job if hung up on."""
PROMPT_SECONDS_UNTRIED = 2.0
LAST_WORD_SECONDS_MAX = 2.0

log = structlog.get_logger(__name__)


class Popper:
    """Asks for work. After a call, `pause_seconds` tells how long to wait before the next.

    `may_hurry` tells whether a job that ends meanwhile is reason to ask at once.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        api: HordeApi,
        capabilities: Capabilities,
        breaker: Breaker,
        observe: events.Observe,
    ) -> None:
        self._settings = settings
        self._api = api
        self._capabilities = capabilities
        self._breaker = breaker
        self._observe = observe
        self._idle = Backoff(settings.idle_seconds, settings.idle_seconds_max, IDLE_FACTOR)
        self._failing = Backoff(settings.retry_seconds, settings.retry_seconds_max)
        self._welcome = False
        self._messages_seen: set[str] = set()
        self._asked: list[str] = []
        self._asked_at = 0.0
        self._holds: bool | None = None
        self._hung_up = False
        self.pause_seconds = 0.0
        self.may_hurry = True

    @property
    def outdated(self) -> bool:
        """Whether the call under way asks for models that rest since."""
        return not self._breaker.resting.isdisjoint(self._asked)

    async def pop(self) -> Assignment | None:
        """Ask once. Raises Broken when no model is left, or the horde never knew the key."""
        body = image.pop_body(self._settings, self._capabilities, self._breaker.resting)
        if not body.models:
            raise Broken("every model killed its engine too often")
        self._asked, self._asked_at, self._hung_up = body.models, time.monotonic(), False
        try:
            answer = await self._api.pop(image.POP_PATH, body, body.wait)
        except Refused as error:
            self._refused(error)
            return None
        except Away as error:
            if self._hung_up:
                self.pause_seconds = 0.0
            else:
                self._trouble(str(error))
            return None
        self._welcome = True
        self._failing.reset()
        self.may_hurry = True
        self._show_messages(answer.get("messages"))
        assignment = image.read_pop(answer)
        if assignment is None:
            skipped = answer.get("skipped") or {}
            self._observe(events.Idle({name: count for name, count in skipped.items() if count}))
            self._empty(body.wait)
            return None
        self._idle.reset()
        self.pause_seconds = 0.0
        what = image.described(assignment)
        log.info("popped", jobs=assignment.ids, model=assignment.model, what=what)
        self._observe(events.Popped(assignment.ids, assignment.model, what))
        return assignment

    async def hang_up(self, asking: asyncio.Task[Assignment | None], abort: asyncio.Event) -> None:
        """End a call under way, `asking`, which then is done: with a job, if one was given out.

        Where the horde may be answering rather than waiting it gets the time for that, unless
        `abort` is set.
        """
        answered = asyncio.Event()
        asking.add_done_callback(lambda _: answered.set())
        await wait_any(self._prompt_seconds_left, answered, abort)
        if asking.done():
            return
        self._hung_up = True
        self._api.hang_up()
        await wait_any(LAST_WORD_SECONDS_MAX, answered)
        if not asking.done():
            asking.cancel()
            await asyncio.wait((asking,))

    @property
    def _prompt_seconds_left(self) -> float | None:
        """How long the call under way may yet be answered as a short one; None: to its end."""
        if not self._settings.pop_wait_seconds:
            return None
        if self._holds:
            return 0.0
        prompt_seconds = PROMPT_SECONDS_UNTRIED if self._holds is None else PROMPT_SECONDS
        return max(0.0, self._asked_at + prompt_seconds - time.monotonic())

    def _empty(self, wait_seconds: float) -> None:
        """A call that was held to its end is made again at once."""
        if self._hung_up:
            self.pause_seconds = 0.0
            return
        if wait_seconds:
            held_seconds = time.monotonic() - self._asked_at
            self._holds = held_seconds >= wait_seconds * HELD_SHARE
        if self._holds:
            self._idle.reset()
            self.pause_seconds = 0.0
        else:
            self.pause_seconds = self._idle.next_seconds()

    def _refused(self, error: Refused) -> None:
        self.may_hurry = False
        if error.status == 401 and not self._welcome:
            raise Broken(f"the horde does not know this API key: {error}") from error
        if error.maintenance:
            self._welcome = True
            self._observe(events.Maintenance(str(error)))
            self.pause_seconds = self._failing.next_seconds()
        else:
            self._trouble(str(error))
        self.pause_seconds = max(self.pause_seconds, error.retry_after_seconds or 0.0)

    def _trouble(self, message: str) -> None:
        self.may_hurry = False
        log.warning("no work", reason=message)
        self._observe(events.Trouble(message))
        self.pause_seconds = self._failing.next_seconds()

    def _show_messages(self, messages: object) -> None:
        for one in messages if isinstance(messages, list) else []:
            if isinstance(one, dict) and one.get("id") not in self._messages_seen:
                self._messages_seen.add(str(one.get("id")))
                message = events.Message(str(one.get("message")), str(one.get("origin")))
                log.info("a message", message=message.message, origin=message.origin)
                self._observe(message)
