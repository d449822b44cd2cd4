# SPDX-License-Identifier: AGPL-3.0-or-later
"""Connections are bounded, and idle ones make room."""

import resource
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from openhorde.server.kit.open_files import connections_fitting, raise_open_files
from openhorde.server.kit.places import Places


class Connection:
    """One that leaves when it is ended."""

    def __init__(self, places: Places, address: str) -> None:
        self.places = places
        self.address = address
        self.ended = False
        self.welcome = places.come(self, address)
        if not self.welcome:
            self.end()

    def end(self) -> None:
        self.ended = True
        self.places.leave(self, self.address)

    def work(self) -> None:
        self.places.work(self, self.address)

    def rest(self) -> None:
        self.places.rest(self, self.address)


def test_the_longest_idle_of_an_address_makes_room_for_its_next() -> None:
    places = Places(100, of_address=3)
    first, second, third = (Connection(places, "1.1.1.1") for _ in range(3))
    other = Connection(places, "2.2.2.2")
    first.work()
    first.rest()
    fourth = Connection(places, "1.1.1.1")
    assert [each.ended for each in (first, second, third, fourth, other)] == [
        *(False, True, False, False, False)
    ]
    assert places.taken == 4


def test_nobody_at_work_is_ended() -> None:
    places = Places(100, of_address=2)
    busy = [Connection(places, "1.1.1.1") for _ in range(2)]
    for each in busy:
        each.work()
    assert not Connection(places, "1.1.1.1").welcome
    assert Connection(places, "2.2.2.2").welcome
    assert not any(each.ended for each in busy)
    assert places.taken == 3
    busy[0].rest()
    assert Connection(places, "1.1.1.1").welcome
    assert busy[0].ended


def test_an_ipv6_subscriber_is_one_address() -> None:
    places = Places(100, of_address=1)
    first = Connection(places, "2001:db8::1")
    Connection(places, "2001:db8::2")
    assert first.ended


def test_many_may_come_from_a_proxy() -> None:
    places = Places(100, of_address=1, is_many=lambda address: address == "127.0.0.1")
    assert not any(Connection(places, "127.0.0.1").ended for _ in range(50))
    assert places.taken == 50


def test_a_full_house_takes_from_whoever_has_most_idle_and_says_so_once() -> None:
    places = Places(10, of_address=100)
    few = [Connection(places, "2.2.2.2") for _ in range(2)]
    many = [Connection(places, "1.1.1.1") for _ in range(8)]
    with capture_logs() as logs:
        newcomers = [Connection(places, f"3.3.3.{number}") for number in range(6)]
    assert [each.ended for each in many] == [True] * 6 + [False] * 2
    assert not any(each.ended for each in (*few, *newcomers))
    assert places.taken == 10
    assert [(each["event"], each["most_from"]) for each in logs] == [
        ("connections_full", "1.1.1.1")
    ]


def test_what_is_left_leaves_no_trace() -> None:
    places = Places(10)
    guests = [Connection(places, f"1.1.1.{number}") for number in range(5)]
    for each in guests:
        each.work()
        each.end()
    assert places.taken == 0
    assert not places._parties


def test_open_files_are_raised_as_far_as_allowed() -> None:
    program = (
        "import resource\n"
        "from openhorde.server.kit.open_files import raise_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "print(raise_open_files(200), raise_open_files(1000), raise_open_files(50))\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["200", "300", "300", "300", "300"]
    assert raise_open_files(1) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize("limit", [64, 256, 1024, 65_536])
def test_some_files_are_left_beside_the_connections(limit: int) -> None:
    assert limit // 2 <= connections_fitting(limit) <= limit * 3 // 4
