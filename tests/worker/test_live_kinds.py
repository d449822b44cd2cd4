# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is shown of each kind of work is never older than the worker's own state."""

import pytest

from openhorde.worker.agent import events
from openhorde.worker.agent.live import Live
from openhorde.worker.settings import KindName

KINDS: tuple[KindName, ...] = ("image", "alchemy", "text")


def stages(live: Live) -> set[str]:
    return {kind.stage for kind in live.state().kinds}


@pytest.fixture
def live() -> Live:
    """A worker in maintenance."""
    live = Live()
    live.hear(events.Started([]))
    for kind in KINDS:
        live.hear(events.Maintenance("This worker is in maintenance mode.", kind))
    assert stages(live) == {"maintenance"}
    assert live.state().maintenance
    return live


def test_a_worker_that_stopped_rests_in_every_kind(live: Live) -> None:
    live.hear(events.Stopped(0))
    assert stages(live) == {"resting"}
    assert {kind.message for kind in live.state().kinds} == {""}
    assert live.state().maintenance  # as far as is known
    live.phase("opening")
    live.hear(events.Started([]))
    assert stages(live) == {"working"}


def test_what_the_owner_had_the_horde_do_is_seen_at_once(live: Live) -> None:
    live.maintenance(False)
    assert stages(live) == {"working"}
    assert not live.state().maintenance
    live.maintenance(True)
    assert stages(live) == {"maintenance"}


def test_a_worker_at_rest_stays_so_when_its_maintenance_changes(live: Live) -> None:
    live.hear(events.Stopped(0))
    for wanted in (False, True):
        live.maintenance(wanted)
        assert stages(live) == {"resting"}
        assert live.state().maintenance is wanted


def test_work_ends_what_is_shown_of_maintenance(live: Live) -> None:
    for kind in KINDS:
        live.hear(events.Idle({}, kind))
    assert stages(live) == {"idle"}
    assert not live.state().maintenance
