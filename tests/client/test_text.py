# SPDX-License-Identifier: AGPL-3.0-or-later
"""A text from prompt to words."""

import asyncio

import pytest
from client.playing_horde import GOOD_KEY, Hold, PlayingHorde, event
from client.playing_text import (
    TEXT_ID,
    TEXT_KUDOS,
    TEXT_WAITING,
    TEXT_WRITING,
    text_check,
)

from openhorde.client import AsyncHorde, Horde, HordeError, Look
from openhorde.client.texts import TextSettings
from openhorde.wire.text import TextParams, TextRequest

ASYNC, STATUS = "generate/text/async", "generate/text/status/{id}"


async def test_a_text_is_asked_for_watched_and_heard(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    playing.texts.statuses = [TEXT_WAITING, TEXT_WRITING, text_check(" there was a fox.")]
    looks: list[Look] = []
    [text] = await horde.text(
        "Once upon a time",
        max_length=20,
        temperature=0.7,
        stop_sequence=["\n"],
        models=["tiny/storyteller"],
        progress=looks.append,
    )
    assert text.text == str(text) == " there was a fox."
    assert (text.seed, text.model, text.worker_name) == (7, "tiny/storyteller", "Bob's scribe")
    assert (text.kudos, text.request_id, text.censored) == (TEXT_KUDOS, TEXT_ID, False)
    [sent] = playing.calls(ASYNC)
    assert sent.body == {
        "prompt": "Once upon a time",
        "models": ["tiny/storyteller"],
        "params": {"max_length": 20, "temperature": 0.7, "stop_sequence": ["\n"]},
    }
    assert [(look.queue_position, look.processing) for look in looks] == [(4, 0), (0, 1), (0, 0)]
    # What came along with the last look is not asked for again.
    assert len(playing.calls(STATUS)) == 3
    assert pauses == [1.0, 1.0]


async def test_several_texts_share_the_cost(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.texts.statuses = [text_check("a", "b", "c")]
    texts = await horde.text("Once", n=3)
    assert [one.text for one in texts] == ["a", "b", "c"]
    assert sum(one.kudos for one in texts) == pytest.approx(TEXT_KUDOS)


async def test_a_stream_is_followed_where_there_is_one(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    job = {"id": "1", "worker_name": "Bob's scribe", "model": "tiny/storyteller"}
    playing.streams = [
        [
            event("queued", {"position": 1, "wait_time": 9, "is_possible": True}),
            event("started", job),
            event("progress", {"id": "1", "step": 5, "steps": 80}),
            event("done", text_check("a fox")),
        ]
    ]
    looks: list[Look] = []
    [text] = await horde.text("Once", progress=looks.append)
    assert text.text == "a fox"
    assert looks[2].drawings[0].step == 5
    assert not playing.calls(STATUS)


async def test_censored_texts_are_kept_and_marked(horde: AsyncHorde, playing: PlayingHorde) -> None:
    told = text_check("")
    told["generations"][0] |= {
        "state": "censored",
        "gen_metadata": [{"type": "censorship", "value": "csam"}],
    }
    playing.texts.statuses = [told]
    [text] = await horde.text("Once")
    assert text.censored
    assert text.gen_metadata[0].value == "csam"


async def test_the_price_is_a_dry_run(horde: AsyncHorde, playing: PlayingHorde) -> None:
    priced = await horde.price_text("Once", max_length=512)
    assert priced.kudos == TEXT_KUDOS
    [sent] = playing.calls(ASYNC)
    assert sent.body == {"prompt": "Once", "params": {"max_length": 512}, "dry_run": True}


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"faulted": True}, "another model"), ({}, "cancelled or is not done")],
)
async def test_a_request_without_texts_says_why(
    horde: AsyncHorde, playing: PlayingHorde, changes: dict[str, bool], words: str
) -> None:
    playing.texts.statuses = [text_check(**changes)]
    with pytest.raises(HordeError, match=f"has no texts: .*{words}"):
        await horde.text("Once")


async def test_a_wrong_field_is_told_with_its_bounds(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    errors = {"params.temperature": "Expected `float` <= 5.0", "params.top_k": "wrong"}
    playing.refuse(ASYNC, 400, {"message": "Input payload validation failed", "errors": errors})
    with pytest.raises(HordeError) as caught:
        await horde.text("Once", temperature=9)
    assert "params.temperature: Expected `float` <= 5.0 (must be a number from 0 to 5)" in str(
        caught.value
    )
    assert "a whole number from 0 to 200" in str(caught.value)


async def test_an_unaffordable_text_is_told_the_ways_out(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.refuse(ASYNC, 403, {"message": "50 kudos are needed.", "rc": "KudosUpfront"})
    with pytest.raises(HordeError, match=r"allow_downgrade.* shorter text \(max_length\)"):
        await horde.text("Once", max_length=4096)


async def test_a_misspelt_setting_is_told_the_right_one(horde: AsyncHorde) -> None:
    with pytest.raises(TypeError, match="did you mean temperature"):
        await horde.text("Once", temprature=1)  # type: ignore[call-arg]


async def test_what_this_client_does_not_know_passes(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    await horde.generate_text("Once", extra_params={"mirostat": 2}, temperature=None)
    [sent] = playing.calls(ASYNC)
    assert sent.body == {"prompt": "Once", "params": {"mirostat": 2}}


def test_every_field_of_the_wire_can_be_asked_for() -> None:
    wire = {*TextRequest.__struct_fields__, *TextParams.__struct_fields__}
    elsewhere = {"prompt", "params", "dry_run"}
    assert set(TextSettings.__annotations__) == wire - elsewhere | {"extra_params"}


async def test_a_cancelled_task_cancels_its_request(playing: PlayingHorde) -> None:
    waiting = {"position": 1, "wait_time": 4, "is_possible": True}
    playing.streams = [[event("queued", waiting), Hold]]
    seen = asyncio.Event()
    async with AsyncHorde(playing.url, GOOD_KEY) as horde:
        task = asyncio.create_task(horde.text("Once", progress=lambda look: seen.set()))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert playing.texts.cancelled == [TEXT_ID]


def test_the_blocking_twin(playing: PlayingHorde) -> None:
    with Horde(playing.url, GOOD_KEY) as horde:
        [text] = horde.text("Once")
        assert text.text == " there was a fox."
        queued = horde.generate_text("Once", n=1)
        assert [look.done for look in horde.watch_text(queued.id)] == [True]
        assert horde.texts(queued) == [text]
        assert horde.text_status(queued.id).generations[0].seed == 7
        assert horde.price_text("Once").kudos == TEXT_KUDOS
        assert horde.cancel_text(queued.id).done
    assert playing.texts.cancelled == [TEXT_ID]
