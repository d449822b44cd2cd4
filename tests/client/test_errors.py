# SPDX-License-Identifier: AGPL-3.0-or-later
"""Refusals say what to change."""

import pytest
from client.playing_horde import PlayingHorde

from openhorde.client import AsyncHorde, HordeError, HordeUnreachable
from openhorde.client.advice import ADVICE, field_bounds
from openhorde.client.transport import horde_root

INVALID = "Input payload validation failed"


async def test_a_wrong_field_is_told_with_its_bounds(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    errors = {"params.width": "Expected `int` <= 3072", "params.sampler_name": "Invalid enum value"}
    playing.refuse("generate/async", 400, {"message": INVALID, "errors": errors})
    with pytest.raises(HordeError) as caught:
        await horde.generate_image("a fox", width=4096)
    assert caught.value.status == 400
    assert caught.value.rc is None
    assert caught.value.errors == errors
    assert caught.value.message == INVALID
    text = str(caught.value)
    assert INVALID not in text
    assert "params.width: Expected `int` <= 3072" in text
    assert "from 64 to 3072, a multiple of 64" in text
    assert "one of DDIM, dpmsolver" in text


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("params.width", "must be a whole number from 64 to 3072 and a multiple of 64, not 65"),
        ("prompt", 'must be text of 1 to 100000 characters, not ""'),
        ("models.0", 'must be text of 1 to 255 characters, not ""'),
        ("params.karras", 'must be true or false, not "yes"'),
    ],
)
async def test_bounds_are_not_told_twice(
    horde: AsyncHorde, playing: PlayingHorde, field: str, told: str
) -> None:
    playing.refuse("generate/async", 400, {"message": INVALID, "errors": {field: told}})
    with pytest.raises(HordeError) as caught:
        await horde.generate_image("a fox", width=65)
    assert str(caught.value).count("must be") == 1


async def test_unaffordable_requests_are_told_the_ways_out(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    refusal = {"message": "Due to heavy demand, 50 kudos are needed.", "rc": "KudosUpfront"}
    playing.refuse("generate/async", 403, refusal)
    with pytest.raises(HordeError, match="allow_downgrade") as caught:
        await horde.generate_image("a fox", width=2048)
    assert caught.value.rc == "KudosUpfront"
    assert "smaller picture (width, height)" in str(caught.value)
    assert "--allow-downgrade" in caught.value.explain({"allow_downgrade": "--allow-downgrade"})


async def test_too_many_requests_of_ones_own_are_not_waited_for(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    refusal = {"message": "Too many concurrent requests", "rc": "TooManyPrompts"}
    playing.refuse("generate/async", 429, refusal)
    with pytest.raises(HordeError, match="fewer pictures"):
        await horde.generate_image("a fox", n=20)
    assert pauses == []


async def test_a_rate_limit_says_when_to_come_back(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.refuse("find_user", 429, {"message": "90 per 1 minute"}, Retry_After="12")
    with pytest.raises(HordeError, match="Try again in 12 seconds"):
        await horde.find_user()


async def test_nobody_at_the_address() -> None:
    with PlayingHorde().running() as playing:
        url = playing.url
    async with AsyncHorde(url) as horde:
        with pytest.raises(HordeUnreachable, match="make up") as caught:
            await horde.heartbeat()
    assert url in str(caught.value)
    assert caught.value.status == 0


async def test_an_answer_that_is_not_json(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.refuse("find_user", 200, "a web page")
    with pytest.raises(HordeError, match="does not understand"):
        await horde.find_user()


async def test_a_refusal_without_a_message(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.refuse("find_user", 500, ["gone"])
    with pytest.raises(HordeError, match="HTTP 500"):
        await horde.find_user()


async def test_a_picture_that_is_gone(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.refuse("pictures", 404, {"message": "expired"})
    with pytest.raises(HordeError, match="could not be fetched"):
        await horde.image("a fox")


async def test_a_picture_that_is_neither_url_nor_base64(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.state = {"img": "?"}
    with pytest.raises(HordeError, match="neither a URL nor base64"):
        await horde.image("a fox")


@pytest.mark.parametrize("given", ["127.0.0.1:7001", "ftp://host", ""])
def test_a_url_without_a_scheme_is_explained(given: str) -> None:
    with pytest.raises(HordeError, match="must begin with http"):
        horde_root(given)


@pytest.mark.parametrize(
    "given", ["http://host", "http://host/", "http://host/api", "http://host/api/v2/"]
)
def test_urls_may_carry_the_path_of_the_api(given: str) -> None:
    assert horde_root(given) == "http://host"


@pytest.mark.parametrize(
    ("field", "bounds"),
    [
        ("params.steps", "a whole number from 1 to 500"),
        ("params.max_context_length", "a whole number from 80 to 1048576"),
        ("cfg_scale", "a number from 0 to 100"),
        ("params.karras", "true or false"),
        ("webhook", "a text of 10 to 1024 characters"),
        ("prompt", "a text of 1 to 100000 characters"),
        ("params.loras.0.name", "a text of 1 to 255 characters"),
        ("models", "a list, each a text"),
        ("source_image", "a text"),
        ("params.loras", "a list"),
        ("params", None),
        ("params.steps.deep", None),
        ("nothing", None),
    ],
)
def test_bounds_in_words(field: str, bounds: str | None) -> None:
    assert field_bounds(field.split(".")) == bounds


def test_every_piece_of_advice_can_be_said() -> None:
    for rc in ADVICE:
        assert "{" not in HordeError(400, rc, "refused").explain()


def test_a_passing_failure_is_a_matter_of_the_server() -> None:
    assert HordeError(503, None, "busy").passing
    assert not HordeError(400, None, "wrong").passing
    assert not HordeError(429, "TooManyPrompts", "full").passing
