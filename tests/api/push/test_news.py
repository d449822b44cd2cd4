# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whoever breaks off at any point, any number of times, hears the whole story once."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.actions.progress import Progress
from openhorde.server.actions.watching import Story
from openhorde.server.api.push.events import news
from openhorde.server.domain import lives, marks
from openhorde.server.domain.marks import Mark
from openhorde.server.store.events import TakenJob
from openhorde.server.store.requests import RequestFacts

Heard = tuple[str, UUID, bool]


def story(attempts: list[list[bool]]) -> Story:
    """A story in which each job asked for had these attempts; True: it was done."""
    taken = tuple(
        TakenJob(
            ordinal=ordinal,
            id=UUID(int=100 * ordinal + number),
            state="done" if done else "faulted",
            model="stable_diffusion",
            worker_id=UUID(int=1),
            worker_name="Bob's machine",
            result={"seed": "1"} if done else None,
        )
        for ordinal, each in enumerate(attempts, start=1)
        for number, done in enumerate(each)
    )
    facts = RequestFacts(
        id=UUID(int=1),
        kind="image",
        user_id=1,
        state="active",
        asked=len(attempts),
        shared=False,
        inline_results=False,
        activation_milli=0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        waiting=0,
        running=0,
        done=0,
        faulted=0,
        rank=None,
        lanes_waiting=(),
        things_waiting=0,
        paid_milli=0,
        remaining_seconds=0.0,
    )
    progress = Progress(
        facts=facts,
        life=lives.check(lives.RequestCounts(asked=len(attempts), running=1)),
        queue_position=0,
        wait_seconds=0,
        is_possible=True,
        kudos_milli=0,
    )
    mark = marks.mark(
        len(attempts), [(job.ordinal, bool(job.result)) for job in taken], ended=False
    )
    return Story(progress, taken, mark, read_at=0.0)


def hear(told: Story, seen: Mark) -> list[Heard]:
    """What is told from a mark on, with the event ids."""
    return [
        (str(mark), job.id, result is not None)
        for mark, job, result in news(told, seen.within(told.mark))
    ]


@st.composite
def growing(draw: st.DrawFn) -> list[Story]:
    """A story at some moments, each time further than before."""
    asked = draw(st.integers(1, 5))
    whole = [
        [False] * draw(st.integers(0, 2)) + [True] * draw(st.integers(0, 1)) for _ in range(asked)
    ]
    shown: list[list[bool]] = [[] for _ in range(asked)]
    moments = [story(shown)]
    while shown != whole:
        place = draw(st.sampled_from([i for i in range(asked) if shown[i] != whole[i]]))
        shown[place] = whole[place][: len(shown[place]) + draw(st.integers(1, 3))]
        moments.append(story(shown))
    return moments


@given(growing(), st.data())
def test_any_way_of_breaking_off_hears_everything_once(
    moments: list[Story], data: st.DataObject
) -> None:
    seen = marks.nothing(len(moments[0].mark.started))
    heard: list[Heard] = []
    for moment in moments:
        told = hear(moment, seen)
        # The line breaks after some of the events, and another server goes on from the last id.
        kept = told[: data.draw(st.integers(0, len(told)))]
        heard += kept
        if kept:
            found = marks.read(kept[-1][0], len(seen.started))
            assert found is not None
            seen = found
    heard += hear(moments[-1], seen)
    whole = hear(moments[-1], marks.nothing(len(seen.started)))
    assert sorted((job, done) for _, job, done in heard) == sorted(
        (job, done) for _, job, done in whole
    )


@given(growing())
def test_every_event_id_of_a_story_names_the_rest_of_it(moments: list[Story]) -> None:
    last = moments[-1]
    whole = hear(last, marks.nothing(len(last.mark.started)))
    assert len({event_id for event_id, _, _ in whole}) == len(whole)
    for number, (event_id, _, _) in enumerate(whole):
        seen = marks.read(event_id, len(last.mark.started))
        assert seen is not None
        assert hear(last, seen) == whole[number + 1 :]
