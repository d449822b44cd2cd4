# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts that processes share: exact, bounded, and no lock outlives who held it."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.kit import shared_counts
from openhorde.server.kit.shared_counts import SharedCounts, share_memory

COUNTING = """
import sys
from openhorde.server.kit.shared_counts import SharedCounts
counts = SharedCounts(int(sys.argv[1]), lambda: 1000.0)
for number in range(3000):
    counts.add(f"key {number % 3}", 60)
"""

HOLDING = """
import fcntl, sys, time
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


class Watch:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        """What it was set to."""
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    """Shows 1000 s."""
    return Watch()


@pytest.fixture
def counts(watch: Watch) -> SharedCounts:
    """New counts by that clock."""
    return SharedCounts(share_memory(), watch.now)


def test_a_window_counts_until_it_ends(counts: SharedCounts, watch: Watch) -> None:
    assert counts.add("alice", 60) == (1, 1060.0)
    watch.seconds = 1059.0
    assert counts.add("alice", 60) == (2, 1060.0)
    assert counts.count("alice") == 2
    watch.seconds = 1060.0
    assert counts.count("alice") == 0
    assert counts.add("alice", 60) == (1, 1120.0)


def test_keys_are_counted_apart(counts: SharedCounts) -> None:
    for _ in range(3):
        counts.add("alice", 60)
    assert counts.add("bob", 60)[0] == 1
    assert counts.count("charlie") == 0


def test_a_clock_that_was_set_back_opens_a_new_window(counts: SharedCounts, watch: Watch) -> None:
    counts.add("alice", 60)
    watch.seconds = 10.0
    assert counts.add("alice", 60) == (1, 70.0)


def test_who_has_the_memory_sees_the_counts(counts: SharedCounts, watch: Watch) -> None:
    other = SharedCounts(os.dup(counts.descriptor), watch.now)
    counts.add("alice", 60)
    assert other.add("alice", 60)[0] == 2


@pytest.fixture
def one_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table so small that all keys meet."""
    monkeypatch.setattr(shared_counts, "BUCKETS", 1)


@pytest.mark.usefixtures("one_bucket")
def test_a_full_bucket_gives_up_the_window_that_ends_soonest(watch: Watch) -> None:
    counts = SharedCounts(share_memory(), watch.now)
    for number in range(shared_counts.WAYS):
        counts.add(f"key {number}", 100 - number)
    counts.add("one more", 50)
    assert counts.count(f"key {shared_counts.WAYS - 1}") == 0
    kept = [f"key {number}" for number in range(shared_counts.WAYS - 1)] + ["one more"]
    assert [counts.count(key) for key in kept] == [1] * shared_counts.WAYS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60))
def test_it_counts_as_a_dictionary_does(calls: list[tuple[str, int]]) -> None:
    watch = Watch()
    counts = SharedCounts(share_memory(), watch.now)
    expected: dict[str, tuple[int, float]] = {}
    for key, pause in calls:
        watch.seconds += pause
        count, ends_at = expected.get(key, (0, 0.0))
        if ends_at <= watch.seconds:
            count, ends_at = 0, watch.seconds + 10
        expected[key] = count + 1, ends_at
        assert counts.add(key, 10) == expected[key]


def test_several_processes_count_exactly(counts: SharedCounts) -> None:
    command = [sys.executable, "-c", COUNTING, str(counts.descriptor)]
    started = [subprocess.Popen(command, pass_fds=(counts.descriptor,)) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert [counts.count(f"key {number}") for number in range(3)] == [3000] * 3


def test_a_killed_process_holds_no_lock(counts: SharedCounts) -> None:
    command = [sys.executable, "-c", HOLDING, str(counts.descriptor)]
    with subprocess.Popen(
        command, pass_fds=(counts.descriptor,), stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            fcntl.lockf(counts.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert counts.add("alice", 60)[0] == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_counts_that_nobody_uses_are_closed(watch: Watch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        SharedCounts(share_memory(), watch.now).add("alice", 60)
    assert len(os.listdir("/proc/self/fd")) <= before
