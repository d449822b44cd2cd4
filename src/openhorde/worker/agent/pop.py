# SPDX-License-Identifier: AGPL-3.0-or-later
"""Popping: one call for work, what its answer means to the owner, and when to call again."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from openhorde.wire.work import HOLDING_MAX
from openhorde.worker.agent import events
from openhorde.worker.agent.api import Away, HordeApi, Refused, Unreached
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.backoff import Backoff, wait_any
from openhorde.worker.agent.kinds.base import Offer
from openhorde.worker.agent.kinds.table import KINDS
from openhorde.worker.agent.refusals import mistake
from openhorde.worker.agent.run import Misconfigured
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.settings import KindName

IDLE_FACTOR = 1.2
HELD_SHARE = 0.9
"""An empty answer sooner than after this share of the wait comes from a horde that holds none."""
PROMPT_SECONDS = 10.0
"""A horde that holds no calls answers within this time, and would lose a job if hung up on."""
PROMPT_SECONDS_UNTRIED = 2.0
LAST_WORD_SECONDS_MAX = 2.0

NOTHING_LEFT = "the settings leave nothing of what the engines offer"

log = structlog.get_logger(__name__)


class Exhausted(Exception):
    """There is nothing of a kind left to offer; the message is for the owner."""


class Popper:
    """Asks for work of one kind. After a call, `pause_seconds` tells how long to wait for the next.

    `may_hurry` tells whether a job that ends meanwhile is reason to ask at once.
    """

    def __init__(
        self,
        kind: KindName,
        wishes: Wishes,
        api: HordeApi,
        offer: Callable[[], Offer],
        observe: events.Observe,
        holding: Callable[[], frozenset[str] | None] = lambda: None,
    ) -> None:
        """`offer` tells what the engines can do and how many places are free, now; `holding` which
        jobs the worker has, or None to say nothing of it."""
        settings = wishes.now
        self._kind_name = kind
        self._kind = KINDS[kind]
        self._wishes = wishes
        self._api = api
        self._offer = offer
        self._holding = holding
        self._observe = observe
        self._idle = Backoff(settings.idle_seconds, settings.idle_seconds_max, IDLE_FACTOR)
        self._failing = Backoff(settings.retry_seconds, settings.retry_seconds_max)
        self._welcome = False
        self._told = ""
        self._messages_seen: set[str] = set()
        self._asked: msgspec.Struct | None = None
        self._asked_at = 0.0
        self._holds: bool | None = None
        self._hung_up = False
        self._empty_handed = False
        self.pause_seconds = 0.0
        self.may_hurry = True

    @property
    def outdated(self) -> bool:
        """Whether the call under way asks for something else than would be asked for now."""
        asked = self._asked
        return asked is not None and _terms(self._body()) != _terms(asked)

    async def pop(self) -> list[Assignment]:
        """Ask once. Raises Exhausted when nothing is left to offer, Misconfigured when the horde
        will never give anything to this key or name."""
        if not self._something_left():
            return []
        body = self._body()
        wait_seconds = self._wishes.now.pop_wait_seconds
        self._asked, self._asked_at, self._hung_up = body, time.monotonic(), False
        try:
            told = msgspec.structs.replace(body, holding=self._held())
            answer = await self._api.pop(self._kind.POP_PATH, told, wait_seconds)
            assignments = self._kind.read_pop(answer)
        except Refused as error:
            self._refused(error)
            return []
        except Away as error:
            if self._hung_up:
                self.pause_seconds = 0.0
            elif isinstance(error, Unreached):
                self._unanswered(str(error))
            else:
                self._trouble(str(error))
            return []
        finally:
            self._asked = None
        self._well()
        self._failing.reset()
        self.may_hurry = True
        self._show_messages(answer.get("messages"))
        if not assignments:
            self._observe(events.Idle(skipped_counts(answer), self._kind_name))
            self._empty(wait_seconds)
            return []
        self._idle.reset()
        self.pause_seconds = 0.0
        for one in assignments:
            one.asked_at = self._asked_at
            what = self._kind.described(one)
            log.info("popped", jobs=one.ids, model=one.model, what=what)
            self._observe(events.Popped(one.ids, one.model, what, self._kind_name))
        return assignments

    async def hang_up(self, asking: asyncio.Task[list[Assignment]], abort: asyncio.Event) -> None:
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
        self._api.hang_up(self._kind.POP_PATH)
        await wait_any(LAST_WORD_SECONDS_MAX, answered)
        if not asking.done():
            asking.cancel()
            await asyncio.wait((asking,))

    def _held(self) -> list[str] | None:
        held = self._holding()
        return None if held is None or len(held) > HOLDING_MAX else sorted(held)

    def _body(self) -> msgspec.Struct:
        return self._kind.pop_body(self._wishes.now, self._offer())

    def _something_left(self) -> bool:
        """Whether there is anything to ask for. Settings may change yet; what rests, rests."""
        offer = self._offer()
        names = self._kind.wanted(self._wishes.now, self._kind.offered(offer.capabilities))
        if not names:
            if not self._empty_handed:
                self._trouble(NOTHING_LEFT)
            self._empty_handed, self.may_hurry = True, True
            self.pause_seconds = self._wishes.now.retry_seconds_max
            return False
        self._empty_handed = False
        if offer.resting.issuperset(names):
            raise Exhausted("every model killed its engine too often")
        return True

    @property
    def _prompt_seconds_left(self) -> float | None:
        """How long the call under way may yet be answered as a short one; None: to its end."""
        if not self._wishes.now.pop_wait_seconds:
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
        wrong = mistake(error, self._wishes.now, self._kind_name)
        # A key that was good yesterday is good tomorrow, whatever ails the horde just now.
        if wrong is not None and not (error.status == 401 and self._welcome):
            raise Misconfigured(wrong) from error
        if error.maintenance:
            self._well()
            self._observe(events.Maintenance(str(error), self._kind_name))
            self.pause_seconds = self._failing.next_seconds()
        else:
            self._trouble(str(error))
        self.pause_seconds = max(self.pause_seconds, error.retry_after_seconds or 0.0)

    def _well(self) -> None:
        """The horde knows this worker and has nothing against it."""
        self._welcome = True
        if self._told:
            log.info("work is asked for again", kind=self._kind_name)
        self._told = ""

    def _trouble(self, message: str) -> None:
        """Tell what is wrong; in the log once, however often it happens in a row."""
        self.may_hurry = False
        if message != self._told:
            log.warning("no work", kind=self._kind_name, reason=message)
            self._told = message
        self._observe(events.Trouble(message, self._kind_name))
        self.pause_seconds = self._failing.next_seconds()

    def _unanswered(self, message: str) -> None:
        """The horde is away, which is told for all kinds of work together."""
        self.may_hurry = False
        self._observe(events.Unanswered(message, self._kind_name))
        self.pause_seconds = self._failing.next_seconds()

    def _show_messages(self, messages: object) -> None:
        for one in messages if isinstance(messages, list) else []:
            if isinstance(one, dict) and one.get("id") not in self._messages_seen:
                self._messages_seen.add(str(one.get("id")))
                message = events.Message(str(one.get("message")), str(one.get("origin")))
                log.info("a message", message=message.message, origin=message.origin)
                self._observe(message)


def _terms(body: msgspec.Struct) -> dict[str, Any]:
    """What is asked for, but for how much of it and how patiently."""
    terms = msgspec.structs.asdict(body)
    for name in ("amount", "threads", "wait"):
        terms.pop(name, None)
    return terms


def skipped_counts(answer: dict[str, Any]) -> dict[str, int]:
    """The counts of what was skipped; the horde's word for it, as far as it makes sense."""
    skipped = answer.get("skipped")
    counts = skipped.items() if isinstance(skipped, dict) else ()
    return {str(name): count for name, count in counts if isinstance(count, int) and count > 0}
