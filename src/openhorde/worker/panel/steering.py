# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the panel's buttons do at the horde: maintenance, statistics, the pilot job."""

from collections.abc import AsyncIterator, Sequence
from html import escape

from openhorde.wire.users import UserDetails
from openhorde.wire.workers import WorkerDetails
from openhorde.worker.agent import events
from openhorde.worker.panel.calls import CallFailed, OwnerCalls
from openhorde.worker.panel.chart import number_text
from openhorde.worker.panel.pilot import Pilot, fly
from openhorde.worker.panel.views import duration_text, notice_html, table_html
from openhorde.worker.settings import WorkerSettings

REWARDS_MAX = 200
UNMET = "The horde has not met a worker of this name yet: {names}."


class Rewards:
    """Hears what each job has earned; of the last ones."""

    def __init__(self) -> None:
        self._kudos: dict[str, float] = {}

    def __call__(self, event: events.Event) -> None:
        """Hear one event."""
        if isinstance(event, events.Delivered):
            self._kudos[event.id] = event.reward
            while len(self._kudos) > REWARDS_MAX:
                del self._kudos[next(iter(self._kudos))]

    def of(self, job_ids: Sequence[str]) -> float | None:
        """The kudos for these jobs together, or None when none of them is known."""
        known = [self._kudos[one] for one in job_ids if one in self._kudos]
        return sum(known) if known else None


async def set_maintenance(
    settings: WorkerSettings, names: Sequence[str], wanted: bool
) -> tuple[bool, str]:
    """Put every kind's worker into maintenance, or take it out; whether that was done, and a notice
    of how it went."""
    try:
        async with OwnerCalls(settings) as calls:
            met, unmet = await _meet(calls, names)
            for worker in met:
                await calls.set_maintenance(worker.id, wanted)
    except CallFailed as failure:
        return False, notice_html(str(failure), "bad")
    if not met:
        return False, notice_html(UNMET.format(names=", ".join(unmet)), "bad")
    whom = ", ".join(worker.name for worker in met)
    done = "in maintenance: the horde gives it only your own requests" if wanted else "available"
    return True, notice_html(f"{whom}: {done}.")


async def statistics_html(settings: WorkerSettings, names: Sequence[str]) -> str:
    """The owner's account and workers, as the horde tells of them."""
    try:
        async with OwnerCalls(settings) as calls:
            account = await calls.account()
            met, unmet = await _meet(calls, names)
    except CallFailed as failure:
        return notice_html(str(failure), "bad")
    parts = [_account(account), *(_worker(worker) for worker in met)]
    if unmet:
        parts.append(notice_html(UNMET.format(names=", ".join(unmet)), "plain"))
    return f'<div class="tables">{"".join(parts)}</div>'


async def pilots_html(
    settings: WorkerSettings,
    names: Sequence[str],
    is_working: bool,
    side_pixels: int,
    rewards: Rewards,
) -> AsyncIterator[str]:
    """A pilot job for each kind of work, one after the other; what is seen meanwhile."""
    if not is_working:
        yield notice_html("The worker does not work now: start it first.", "bad")
        return
    yield notice_html("Looking for this worker at the horde ...", "plain")
    ended = ""
    try:
        async with OwnerCalls(settings) as calls:
            met, unmet = await _meet(calls, names)
            for worker in met:
                shown = ""
                async for pilot in fly(calls, worker, side_pixels):
                    shown = _pilot(pilot, worker, rewards)
                    yield ended + shown
                ended += shown
            if not met:
                ended = notice_html(UNMET.format(names=", ".join(unmet)), "bad")
    except CallFailed as failure:
        ended += notice_html(str(failure), "bad")
    yield ended


async def _meet(calls: OwnerCalls, names: Sequence[str]) -> tuple[list[WorkerDetails], list[str]]:
    """The workers of these names that the horde knows, and the names that it does not."""
    met, unmet = [], []
    for name in dict.fromkeys(names):
        worker = await calls.worker(name)
        if worker is None:
            unmet.append(name)
        else:
            met.append(worker)
    return met, unmet


def _account(account: UserDetails) -> str:
    roles = [role for role in ("trusted", "moderator", "flagged") if getattr(account, role)]
    done = account.records.fulfillment
    rows = [
        ("Kudos", number_text(account.kudos)),
        ("Roles", ", ".join(roles) or "none"),
        ("Workers", str(account.worker_count)),
        ("Pictures drawn for others", str(done.image)),
        ("Texts written for others", str(done.text)),
        ("Forms done for others", str(done.interrogation)),
        ("Megapixelsteps for others", number_text(account.records.contribution.megapixelsteps)),
        ("Age of the account", duration_text(account.account_age)),
    ]
    return table_html(f"Account {account.username}", rows)


def _worker(worker: WorkerDetails) -> str:
    state = "maintenance" if worker.maintenance_mode else "online" if worker.online else "away"
    rows = [
        ("Kind", worker.type),
        ("State", f"{state}, paused" if worker.paused else state),
        ("Jobs done", str(worker.requests_fulfilled)),
        ("Jobs given up", str(worker.uncompleted_jobs)),
        ("Kudos earned", number_text(worker.kudos_rewards)),
        ("Speed", worker.performance),
        ("Time online", duration_text(worker.uptime)),
        ("Trusted", "yes" if worker.trusted else "not yet"),
        ("Models", ", ".join(worker.models) or "none"),
    ]
    if worker.forms:
        rows.append(("Forms", ", ".join(worker.forms)))
    return table_html(f"Worker {worker.name}", rows)


def _pilot(pilot: Pilot, worker: WorkerDetails, rewards: Rewards) -> str:
    moods = {"waiting": "plain", "running": "plain", "done": "good", "failed": "bad"}
    told = [f"{pilot.state}, {duration_text(pilot.seconds)}"]
    if pilot.price_kudos is not None:
        told.append(f"price {number_text(pilot.price_kudos)} kudos a job")
    reward = rewards.of(pilot.job_ids)
    if reward is not None:
        told.append(f"reward {number_text(reward)} kudos")
    picture = (
        f'<img class="pilot" src="{escape(pilot.picture)}" alt="the picture of the pilot job">'
        if pilot.picture
        else ""
    )
    words = f"<pre>{escape(pilot.words)}</pre>" if pilot.words else ""
    obstacles = "".join(f"<li>{escape(one)}</li>" for one in pilot.obstacles)
    return (
        f'<section class="pilot-job {pilot.state}"><h3>{escape(worker.name)}: {pilot.kind}</h3>'
        f'<p class="dim">{escape(pilot.asked)}</p>{picture}{words}'
        f"{notice_html(pilot.says, moods[pilot.state])}"
        f'<p class="dim">{escape("; ".join(told))}</p>'
        f"{f'<ul class=obstacles>{obstacles}</ul>' if obstacles else ''}</section>"
    )
