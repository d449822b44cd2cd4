# SPDX-License-Identifier: AGPL-3.0-or-later
"""The end of the log is kept, without keys and prompts."""

import structlog

from openhorde.worker.panel.log_tail import HIDDEN, LogTail

KEY = "a-secret-key"


def logged(tail: LogTail, **facts: object) -> None:
    detach = tail.attach()
    try:
        structlog.get_logger().info("popped", **facts)
    finally:
        detach()


def test_lines_are_kept_with_their_facts() -> None:
    tail = LogTail(lambda: [])
    logged(tail, model="stable_diffusion", jobs=["a", "b"])
    (line,) = tail.lines
    assert (line.level, line.text) == ("info", "popped")
    assert line.facts == {"model": "stable_diffusion", "jobs": "['a', 'b']"}


def test_the_key_is_hidden_wherever_it_turns_up() -> None:
    tail = LogTail(lambda: [KEY, ""])
    detach = tail.attach()
    structlog.get_logger().warning(f"refused {KEY}", headers={"apikey": KEY})
    detach()
    assert KEY not in repr(tail.lines)
    assert HIDDEN in tail.lines[0].text


def test_prompts_are_hidden_whatever_they_are() -> None:
    tail = LogTail(lambda: [])
    logged(tail, prompt="a secret wish", payload={"prompt": "a secret wish"})
    assert "secret wish" not in repr(tail.lines)


def test_it_is_bounded_and_stops_when_told() -> None:
    tail = LogTail(lambda: [], lines_max=2)
    for number in range(4):
        logged(tail, number=number)
    structlog.get_logger().info("after the end")
    assert [line.facts["number"] for line in tail.lines] == ["2", "3"]


def test_long_facts_are_cut() -> None:
    tail = LogTail(lambda: [])
    logged(tail, text="x" * 10_000)
    assert len(tail.lines[0].facts["text"]) < 1000
