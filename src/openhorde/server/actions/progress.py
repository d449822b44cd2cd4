# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far a request is, worked out from its facts and from what the process knows of the queue."""

from dataclasses import dataclass

from openhorde.server.actions.queue import Queue
from openhorde.server.actions.workforce import Roster, Workforce
from openhorde.server.domain import lives
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.store.requests import RequestFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a request is: its counts, its place, and how long it may take (seconds)."""

    facts: RequestFacts
    life: lives.Progress
    queue_position: int
    wait_seconds: int
    is_possible: bool
    kudos_milli: int


async def measure(facts: RequestFacts, queue: Queue, workforce: Workforce) -> Progress:
    """The progress of a request. Most of the time without asking the database."""
    kind = KINDS[facts.kind]
    life = lives.check(
        lives.RequestCounts(
            asked=facts.asked,
            waiting=facts.waiting,
            running=facts.running,
            done=facts.done,
            faulted=facts.faulted,
        ),
        kind.faults,
    )
    position, wait = 0, 0
    possible = facts.running > 0 or life.done
    if facts.rank is not None:
        snapshot = await queue.snapshot()
        roster = await workforce.roster()
        requests, jobs, things = snapshot.depth(facts.kind).up_to(facts.rank)
        # What nobody can do holds nobody up.
        share = workforce.share(roster, snapshot, queue.needs, facts.kind)
        position = max(1, round(requests * share.requests))
        jobs_ahead = max(facts.waiting, round(jobs * share.jobs))
        wait = lives.wait_seconds(
            things_ahead=max(round(things * share.things), facts.things_waiting),
            mean_speed=roster.mean_speed(facts.kind),
            active_threads=roster.threads(facts.kind),
            jobs_ahead=jobs_ahead,
            remaining_running_seconds=facts.remaining_seconds,
            divisor=kind.divisor,
        )
        possible = possible or all(_is_served(lane, queue, roster) for lane in facts.lanes_waiting)
    elif facts.running:
        wait = round(facts.remaining_seconds)
    return Progress(
        facts=facts,
        life=life,
        queue_position=position,
        wait_seconds=wait,
        is_possible=possible,
        kudos_milli=facts.activation_milli + facts.paid_milli,
    )


def _is_served(lane: int, queue: Queue, roster: Roster) -> bool:
    needs = queue.needs(lane)
    return needs is not None and roster.serves(lane, needs)
