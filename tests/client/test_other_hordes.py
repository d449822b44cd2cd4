# SPDX-License-Identifier: AGPL-3.0-or-later
"""Other hordes of the v2 API answer as the public one does: no streams, nothing held, no prices of
forms, `result` left out, fields that nobody here knows, and nulls for what is left open."""

from typing import Any

import pytest
from client.playing_alchemy import done, form, status
from client.playing_horde import DONE, PlayingHorde, webp, worker
from client.playing_text import text_check

from openhorde.client import AsyncHorde, HordeError

UNKNOWN: dict[str, Any] = {"from_the_future": {"id": 1}, "shared": None}


@pytest.fixture
def public(playing: PlayingHorde) -> PlayingHorde:
    playing.alchemy.kudos = None
    playing.alchemy.extra = UNKNOWN
    return playing


async def test_forms(horde: AsyncHorde, public: PlayingHorde, pauses: list[float]) -> None:
    public.alchemy.statuses = [
        status(form("caption"), form("nsfw")),
        status(form("caption", "processing", result=None), form("nsfw", **UNKNOWN)),
        status(done("caption", "a fox"), form("nsfw", "processing")),
        status(done("caption", "a fox"), form("nsfw", "faulted", result=None, reason=None)),
    ]
    seen = [(one.form, one.value) async for one in horde.forms(webp(), ["caption", "nsfw"])]
    assert seen == [("caption", "a fox"), ("nsfw", None)]
    assert pauses == [0.5, 0.5, 0.5]
    # Asking is not held, which the horde shows by not saying what state it has told.
    assert [one.query for one in public.calls("interrogate/status/{id}")] == [{"wait": "0"}] * 4


async def test_a_queued_request_for_forms_has_no_price(
    horde: AsyncHorde, public: PlayingHorde
) -> None:
    assert (await horde.queue_forms(webp(), ["caption"])).kudos is None


@pytest.mark.parametrize("forms", [None, []])
async def test_forms_may_not_be_listed_yet(
    horde: AsyncHorde, public: PlayingHorde, forms: list[Any] | None
) -> None:
    public.alchemy.statuses = [
        {"state": "waiting", "forms": forms},
        status(done("nsfw", False)),
    ]
    assert await horde.nsfw(webp()) is False


async def test_texts(horde: AsyncHorde, public: PlayingHorde, pauses: list[float]) -> None:
    told = text_check("a fox", **UNKNOWN)
    told["generations"][0] |= {"gen_metadata": None, "state": None, "seed": None, **UNKNOWN}
    waiting = text_check(done=False, waiting=1, generations=None)
    public.texts.statuses = [waiting, told]
    [text] = await horde.text("Once")
    assert (text.text, text.gen_metadata, text.censored, text.seed) == ("a fox", [], False, 0)
    # 60 questions a minute are allowed there.
    assert pauses == [1.0]


async def test_pictures(horde: AsyncHorde, public: PlayingHorde) -> None:
    public.checks = [DONE]
    public.state = {"gen_metadata": None, "censored": None, **UNKNOWN}
    [picture] = await horde.image("a fox")
    assert picture.content == public.pictures[0]
    assert not picture.censored


async def test_workers(horde: AsyncHorde, public: PlayingHorde) -> None:
    nulls = {"kudos_details": {"generated": 3.5, "uptime": None}, "models": None, "team": None}
    public.workers = [worker(type="interrogation", forms=["caption"], **nulls)]
    [found] = await horde.workers()
    assert (found.forms, found.models, found.kudos_details.uptime) == (["caption"], [], 0)


async def test_what_is_missing_is_still_missed(horde: AsyncHorde, public: PlayingHorde) -> None:
    public.texts.statuses = [text_check("a fox", done=None)]
    with pytest.raises(HordeError, match="does not understand"):
        await horde.text("Once")
