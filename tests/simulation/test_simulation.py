# SPDX-License-Identifier: AGPL-3.0-or-later

import msgspec
import pytest

from openhorde.server.domain import rank
from openhorde.simulation.engine import Plan, Simulation, World
from openhorde.simulation.experiments import attempts, small
from openhorde.simulation.measures import Window, jain, percentile

BUSY = Plan(seed=7, users=60, workers=12, hours=0.6, load=1.5)
ROOMY = msgspec.structs.replace(BUSY, workers=30, load=0.7)


@pytest.mark.parametrize("policy", sorted(rank.POLICIES))
def test_every_job_is_accounted_for_and_no_kudos_are_lost(policy: str) -> None:
    simulation = Simulation(World(BUSY), policy)
    result = simulation.run()
    ends = (
        result.jobs_served,
        result.jobs_starved,
        result.jobs_impossible,
        result.jobs_turned_away,
        result.jobs_waiting_at_end,
    )
    assert sum(ends) == result.jobs_asked
    assert result.jobs_served == len(simulation.served) == sum(t.served for t in result.tiers)
    assert result.jobs_starved + result.jobs_impossible > 0
    assert result.jobs_turned_away > 0
    assert result.kudos_total_milli == 0
    assert min(job.wait_seconds for job in simulation.served) == 0


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    def run(seed: int) -> bytes:
        plan = msgspec.structs.replace(BUSY, seed=seed)
        return msgspec.json.encode(Simulation(World(plan), "fair").run())

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_both_policies_meet_the_same_people() -> None:
    results = [Simulation(World(BUSY), policy).run() for policy in ("fair", "ageing")]
    assert results[0].jobs_asked == results[1].jobs_asked
    assert [s.online for s in results[0].samples] == [s.online for s in results[1].samples]
    assert results[0].tiers != results[1].tiers


def test_splitting_gains_nothing() -> None:
    tried = {attempt.name: attempt for attempt in attempts(small(ROOMY), "fair", lambda _: None)}
    one, many = tried["20 jobs, 1 request"], tried["20 jobs, 20 requests"]
    assert one.served > 0
    assert (one.served, one.mean_wait) == (many.served, many.mean_wait)
    assert tried["none"].served == 0
    assert tried["30 at once, 50 accounts"].served > tried["30 at once"].served


def test_jain_and_percentiles() -> None:
    assert jain([3, 3, 3]) == 1
    assert jain([5, 0, 0, 0]) == 0.25
    assert jain([0, 0]) == 1
    assert percentile([1, 2, 3, 4], 0.5) == 3
    assert percentile([1, 2, 3, 4], 1.0) == 4
    assert percentile([], 0.5) == 0


def test_only_those_who_waited_all_the_time_are_compared() -> None:
    window = Window()
    for user in (1, 2, 3):
        window.joined(user, "a model", 5)
    window.joined(4, "another model", 5)
    window.close(600.0)
    window.left(1, "a model", 1, 10.0)
    window.left(2, "a model", 1, 10.0)
    window.left(3, "a model", 5, 99.0)
    window.joined(3, "a model", 5)
    window.close(1200.0)
    assert [(each.seconds, each.index, each.users) for each in window.found] == [(1200.0, 1.0, 2)]
    assert window.mean() == 1.0
