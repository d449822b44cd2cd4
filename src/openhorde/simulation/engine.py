# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulation itself: events in order of time, none of which asks the clock or the system."""

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from random import Random
from typing import Final

from msgspec import Struct

from openhorde.server.domain.lives import REQUEST_TTL_SECONDS
from openhorde.server.domain.rank import weight
from openhorde.simulation import measures
from openhorde.simulation.bank import Bank
from openhorde.simulation.catalogue import SHAPES, Catalogue, Shape
from openhorde.simulation.lanes import Order, Queue
from openhorde.simulation.population import (
    AVAILABILITY,
    MEAN_PICTURES,
    OVERHEAD_SECONDS,
    PICTURES,
    RHYTHM_DEPTH,
    User,
    machines,
    rhythm,
    users,
)

SAMPLE_SECONDS: Final = 60.0
FAVOURITE_SHARE: Final = 0.8
EXPIRY_SLACK_SECONDS: Final = 0.001


class Plan(Struct, frozen=True, kw_only=True):
    """What to simulate. `load` is the work asked for as a share of what all workers could do."""

    seed: int = 1
    users: int = 2000
    workers: int = 150
    hours: float = 12.0
    load: float = 0.85


class Demand(Struct, frozen=True):
    """Somebody asks for some jobs at a moment (seconds from the start).

    With `until` it keeps as many waiting as its account may have, up to that moment.
    """

    seconds: float
    user: User
    shape: Shape
    jobs: int
    until: float = 0.0


class World:
    """A horde before its first second: made from the seed alone, the same for every policy."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds = plan.hours * 3600
        self.catalogue = Catalogue(Random(f"{plan.seed} catalogue"))
        self.users = users(Random(f"{plan.seed} users"), plan.users, SHAPES)
        self.machines = machines(
            Random(f"{plan.seed} machines"),
            plan.workers,
            self.users[1:],
            self.catalogue,
            self.seconds,
        )

    def requests_per_second(self) -> float:
        """How often somebody asks, on average over a day."""
        mean = self.catalogue.mean_things()
        jobs = sum(
            AVAILABILITY / (OVERHEAD_SECONDS + mean / machine.speed_things_per_second)
            for machine in self.machines
        )
        return self.plan.load * jobs / MEAN_PICTURES


class Simulation:
    """One run of a world under one policy. `guests` are demands besides the world's own."""

    def __init__(
        self,
        world: World,
        policy: str,
        guests: Sequence[Demand] = (),
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._world = world
        self._policy = policy
        self._on_progress = on_progress
        people = {user.id: user for user in (*world.users, *(each.user for each in guests))}
        self.bank = Bank(people.values())
        self.served: list[measures.Served] = []
        self._queue = Queue(world.machines, policy)
        self._window = measures.Window()
        self._samples: list[measures.Sample] = []
        self._random = Random(f"{world.plan.seed} demand")
        self._shares = list(accumulate(user.demand for user in world.users))
        self._peak_per_second = world.requests_per_second() * (1 + RHYTHM_DEPTH)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._sequence = 0
        self._online: set[int] = set()
        self._idle: dict[int, None] = {}
        self._busy: set[int] = set()
        self._busy_seconds = self._online_seconds = 0.0
        self._waiting: dict[int, int] = dict.fromkeys(people, 0)
        self._asked = self._impossible = 0
        self._starved: dict[str, int] = {}
        self._turned_away: dict[str, int] = {}
        self._set_out(guests)

    def run(self) -> measures.Result:
        """Simulate to the end."""
        before, end = 0.0, self._world.seconds
        while self._events and self._events[0][0] <= end:
            now, _, happen = heapq.heappop(self._events)
            self._busy_seconds += len(self._busy) * (now - before)
            self._online_seconds += len(self._online) * (now - before)
            before = now
            happen(now)
        self.bank.fold()
        return self._result()

    def _set_out(self, guests: Sequence[Demand]) -> None:
        for machine in self._world.machines:
            for begin, end in machine.sessions:
                self._at(begin, partial(self._come, machine.number))
                self._at(end, partial(self._go, machine.number))
        for guest in guests:
            self._at(guest.seconds, partial(self._visit, guest))
        self._at(self._next_request(0.0), self._ask)
        self._at(SAMPLE_SECONDS, self._sample)
        self._at(measures.WINDOW_SECONDS, self._close_window)

    def _at(self, seconds: float, happen: Callable[[float], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (seconds, self._sequence, happen))

    def _next_request(self, now: float) -> float:
        """Poisson, thinned to the rhythm of the day."""
        peak = 1 + RHYTHM_DEPTH
        while True:
            now += self._random.expovariate(self._peak_per_second)
            if self._random.random() * peak < rhythm(now):
                return now

    def _ask(self, now: float) -> None:
        self._at(self._next_request(now), self._ask)
        draw = self._random
        (user,) = draw.choices(self._world.users, cum_weights=self._shares)
        (jobs,) = draw.choices([each[0] for each in PICTURES], [each[1] for each in PICTURES])
        if user.favourites and draw.random() < FAVOURITE_SHARE:
            shape = self._world.catalogue.shapes[draw.choice(user.favourites)]
        else:
            shape = self._world.catalogue.draw(draw)
        self._submit(now, user, shape, jobs)

    def _visit(self, guest: Demand, now: float) -> None:
        if not guest.until:
            self._submit(now, guest.user, guest.shape, guest.jobs)
            return
        room = guest.user.concurrency - self._waiting[guest.user.id]
        if room:
            self._submit(now, guest.user, guest.shape, room)
        if now < guest.until:
            self._at(now + 10.0, partial(self._visit, guest))

    def _submit(self, now: float, user: User, shape: Shape, jobs: int) -> None:
        self._asked += jobs
        if self._waiting[user.id] + jobs > user.concurrency:
            self._turned_away[user.tier] = self._turned_away.get(user.tier, 0) + jobs
            return
        paid = self.bank.spendable_milli(user) >= shape.price_each_milli
        lane = self._queue.lane(shape.needs if paid else shape.needs_unpaid)
        order = Order(
            user=user,
            shape=shape,
            lane=lane.number,
            asked=jobs,
            waiting=jobs,
            created=now,
            touched=now,
        )
        self._queue.join(order, self.bank.balance_milli(user))
        self.bank.accepted(user, shape)
        self._waiting[user.id] += jobs
        self._window.joined(user.id, shape.market, jobs)
        self._at(now + REQUEST_TTL_SECONDS, partial(self._expire, order))
        for machine in [each for each in lane.fitting if each in self._idle][:jobs]:
            self._serve(machine, now)

    def _serve(self, machine: int, now: float) -> None:
        """Give a machine the best job that it fits, or let it rest."""
        order = self._queue.take(machine)
        if order is None:
            self._idle[machine] = None
            return
        self._idle.pop(machine, None)
        self._busy.add(machine)
        user, shape = order.user, order.shape
        speed = self._world.machines[machine].speed_things_per_second
        service = OVERHEAD_SECONDS + shape.things / speed
        order.touched = now
        self._waiting[user.id] -= 1
        balance = self.bank.balance_milli(user)
        share = weight(min(balance, -1) if user.anonymous else balance, flagged=user.flagged)
        self._window.left(user.id, shape.market, 1, shape.things / share)
        wait = now - order.created
        self.served.append(
            measures.Served(user.id, user.tier, order.created, wait, service, shape.things)
        )
        self._at(now + service, partial(self._deliver, machine, order))

    def _deliver(self, machine: int, order: Order, now: float) -> None:
        self._busy.remove(machine)
        self.bank.delivered(order.user, order.shape, self._world.machines[machine])
        if machine in self._online:
            self._serve(machine, now)
        else:
            self._queue.gone(machine)

    def _expire(self, order: Order, now: float) -> None:
        """A request ends when nothing has happened to it for twenty minutes."""
        if not order.waiting:
            return
        due = order.touched + REQUEST_TTL_SECONDS
        if now < due - EXPIRY_SLACK_SECONDS:
            self._at(due, partial(self._expire, order))
            return
        jobs, user = order.waiting, order.user
        if self._online.isdisjoint(self._queue.fitting(order)):
            self._impossible += jobs
        else:
            self._starved[user.tier] = self._starved.get(user.tier, 0) + jobs
        self._queue.leave(order)
        self._waiting[user.id] -= jobs
        self._window.left(user.id, order.shape.market, jobs)

    def _come(self, machine: int, now: float) -> None:
        self._online.add(machine)
        if machine not in self._busy:
            self._serve(machine, now)

    def _go(self, machine: int, now: float) -> None:
        """It finishes the job in hand."""
        self._online.discard(machine)
        if machine in self._idle:
            del self._idle[machine]
            self._queue.gone(machine)

    def _sample(self, now: float) -> None:
        waiting = sum(self._waiting.values())
        self._samples.append(
            measures.Sample(
                seconds=now, waiting=waiting, busy=len(self._busy), online=len(self._online)
            )
        )
        self.bank.fold()
        self._on_progress(now / self._world.seconds)
        self._at(now + SAMPLE_SECONDS, self._sample)

    def _close_window(self, now: float) -> None:
        self._window.close(now)
        self._at(now + measures.WINDOW_SECONDS, self._close_window)

    def _result(self) -> measures.Result:
        return measures.Result(
            policy=self._policy,
            hours=self._world.plan.hours,
            jobs_asked=self._asked,
            jobs_served=len(self.served),
            jobs_starved=sum(self._starved.values()),
            jobs_impossible=self._impossible,
            jobs_turned_away=sum(self._turned_away.values()),
            jobs_waiting_at_end=sum(self._waiting.values()),
            kudos_total_milli=self.bank.total_milli(),
            utilisation=self._busy_seconds / (self._online_seconds or 1.0),
            jobs_per_second=len(self.served) / self._world.seconds,
            jain=self._window.mean(),
            tiers=measures.tier_figures(self.served, self._starved, self._turned_away),
            samples=tuple(self._samples),
            fairness=tuple(self._window.found),
        )
