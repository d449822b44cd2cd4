# SPDX-License-Identifier: AGPL-3.0-or-later
"""What no worker online can do is said at once, and waited for only if that is asked for."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from client.playing_horde import DONE, GOOD_KEY, PlayingHorde, webp, worker

from openhorde.client import AsyncHorde, Horde, HordeError, Impossible

Ask = Callable[..., Awaitable[Any]]

NOT_SERVED = "1 of 1 worker online does not serve any of the models asked for."
NEAREST = "It would be possible with openhorde_shapes."
OUTLOOKS: dict[str, dict[str, Any]] = {
    "told why": {
        "is_possible": False,
        "ruled_out": [{"reason": "models", "workers": 1, "alone": 1, "sentence": NOT_SERVED}],
        "nearest": {"changes": {"models": ["openhorde_shapes"]}, "sentence": NEAREST},
    },
    "nobody is online": {"is_possible": False},
}
ANOTHER_HORDE = {"warnings": [{"code": "NoAvailableWorker", "message": "No workers for this."}]}
SUBMITTED = {
    "image": ("generate/async", "generate/status/{id}"),
    "text": ("generate/text/async", "generate/text/status/{id}"),
    "caption": ("interrogate/async", "interrogate/status/{id}"),
    "nsfw": ("interrogate/async", "interrogate/status/{id}"),
    "interrogate": ("interrogate/async", "interrogate/status/{id}"),
    "post_process": ("interrogate/async", "interrogate/status/{id}"),
}


def arguments(method: str) -> tuple[Any, ...]:
    if method in ("image", "text"):
        return ("a fox",)
    return (webp(), ["GFPGAN"]) if method == "post_process" else (webp(),)


@pytest.fixture
def served(playing: PlayingHorde) -> None:
    """What the horde does serve."""
    playing.models = [
        {"name": name, "count": 1, "performance": 1, "queued": 0, "eta": 0, "type": kind, "jobs": 0}
        for kind, name in (("image", "openhorde_shapes"), ("text", "openhorde/stories"))
    ]
    playing.workers = [worker(type="interrogation", forms=["palette", "caption"])]


@pytest.mark.parametrize("method", SUBMITTED)
@pytest.mark.parametrize("outlook", OUTLOOKS)
async def test_it_is_cancelled_and_told(
    method: str, outlook: str, horde: AsyncHorde, playing: PlayingHorde, served: None
) -> None:
    playing.outlook = OUTLOOKS[outlook]
    with pytest.raises(Impossible) as caught:
        await getattr(horde, method)(*arguments(method))
    submit, cancel = SUBMITTED[method]
    assert len(playing.calls(submit)) == 1
    assert [one.method for one in playing.calls(cancel)] == ["DELETE"]
    error = caught.value
    assert error.rc == "NoAvailableWorker"
    told = str(error)
    assert "cancelled and costs nothing" in told
    assert "wait_for_workers" in told
    if outlook == "told why":
        assert NOT_SERVED in told
        assert NEAREST in told
    online = {"image": ["openhorde_shapes"], "text": ["openhorde/stories"]}
    assert error.online == online.get(method, ["caption", "palette"])
    assert ", ".join(error.online) in told


@pytest.mark.parametrize("method", ["image", "text"])
async def test_other_hordes_warn_of_it(
    method: str, horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.outlook = ANOTHER_HORDE
    with pytest.raises(Impossible, match="No workers for this"):
        await getattr(horde, method)("a fox")


@pytest.mark.parametrize("method", SUBMITTED)
def test_the_blocking_client_says_so_too(method: str, playing: PlayingHorde) -> None:
    playing.outlook = OUTLOOKS["told why"]
    with Horde(playing.url, GOOD_KEY) as horde, pytest.raises(Impossible, match="does not serve"):
        getattr(horde, method)(*arguments(method))


@pytest.mark.parametrize("method", SUBMITTED)
async def test_one_may_wait(method: str, horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.outlook = OUTLOOKS["told why"]
    playing.alchemy.results = {"GFPGAN": f"{playing.url}/pictures/0"}
    assert await getattr(horde, method)(*arguments(method), wait_for_workers=True) is not None
    assert not [one for one in playing.heard if one.method == "DELETE"]


async def test_who_only_submits_waits_unless_told_otherwise(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.outlook = OUTLOOKS["told why"]
    submits: list[tuple[Ask, tuple[Any, ...]]] = [
        (horde.generate_image, ("a fox",)),
        (horde.generate_text, ("a fox",)),
        (horde.queue_forms, (webp(), ["caption"])),
    ]
    for submit, given in submits:
        assert (await submit(*given)).id
        with pytest.raises(Impossible):
            await submit(*given, wait_for_workers=False)


async def test_a_horde_that_cannot_cancel_or_list_is_no_second_failure(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.outlook = OUTLOOKS["told why"]
    playing.refuse("generate/status/{id}", 500, {"message": "broken"})
    playing.refuse("status/models", 500, {"message": "broken"})
    with pytest.raises(Impossible, match="could not be cancelled") as caught:
        await horde.image("a fox")
    assert caught.value.online == []


async def test_other_warnings_are_logged_where_only_results_are_returned(
    horde: AsyncHorde, playing: PlayingHorde, caplog: pytest.LogCaptureFixture
) -> None:
    playing.warnings = [{"code": "StepsTooFew", "message": "Few steps look rough."}]
    playing.texts.warnings = playing.warnings
    with caplog.at_level(logging.WARNING, "openhorde.client"):
        await horde.image("a fox")
        await horde.text("a fox")
    assert [record.message for record in caplog.records] == ["Few steps look rough."] * 2


async def test_a_possible_request_asks_nothing_more(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.outlook = {"is_possible": True, "workers_fitting": 1}
    playing.checks = [DONE]
    await horde.image("a fox")
    assert not playing.calls("status/models")


def test_it_is_an_error_of_the_horde() -> None:
    assert issubclass(Impossible, HordeError)
