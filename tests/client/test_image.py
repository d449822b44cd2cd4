# SPDX-License-Identifier: AGPL-3.0-or-later
"""A picture from prompt to bytes."""

import asyncio
import base64
from pathlib import Path

import pytest
from client.playing_horde import (
    DRAWING,
    GOOD_KEY,
    KUDOS,
    REQUEST_ID,
    PlayingHorde,
    check,
    webp,
)

from openhorde.client import AsyncHorde, HordeError
from openhorde.client.settings import ImageSettings
from openhorde.wire.image import ImageParams, Lora, SourceProcessing
from openhorde.wire.requests import ImageRequest


async def test_a_picture_is_asked_for_watched_and_fetched(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    [picture] = await horde.image("a fox", negative_prompt="text", seed=7, steps=12)
    assert picture.content == bytes(picture) == playing.pictures[0]
    assert picture.seed == "1000"
    assert picture.model == "openhorde_shapes"
    assert picture.worker_name == "Bob's machine"
    assert picture.kudos == KUDOS
    assert picture.request_id == REQUEST_ID
    assert not picture.censored
    [sent] = playing.calls("generate/async")
    assert sent.body == {
        "prompt": "a fox ### text",
        "models": [],
        "params": {"seed": "7", "steps": 12},
    }
    assert sent.headers["apikey"] == GOOD_KEY
    assert sent.headers["client-agent"].startswith("openhorde:")
    assert len(playing.calls("generate/check/{id}")) == 3


async def test_the_api_key_stays_away_from_object_storage(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    await horde.image("a fox")
    [download] = playing.calls("pictures")
    assert "apikey" not in download.headers


async def test_pictures_may_come_inline(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.inline = True
    [picture] = await horde.image("a fox", r2=False)
    assert picture.content == playing.pictures[0]


async def test_several_pictures_share_the_cost(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.pictures = [webp(colour="red"), webp(colour="blue"), webp(colour="green")]
    pictures = await horde.image("a fox", n=3)
    assert [picture.content for picture in pictures] == playing.pictures
    assert sum(picture.kudos for picture in pictures) == pytest.approx(KUDOS)


async def test_censored_pictures_are_kept_and_marked(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    note = {"type": "censorship", "value": "nsfw"}
    playing.state = {"state": "censored", "censored": True, "gen_metadata": [note]}
    [picture] = await horde.image("a fox")
    assert picture.censored
    assert picture.gen_metadata[0].value == "nsfw"


async def test_the_price_is_a_dry_run(horde: AsyncHorde, playing: PlayingHorde) -> None:
    priced = await horde.price("a fox", width=64)
    assert priced.kudos == KUDOS
    assert priced.lines is not None
    assert [line.label for line in priced.lines] == ["64x64, 20 steps", "tax"]
    [sent] = playing.calls("generate/async")
    assert sent.body["dry_run"] is True


async def test_source_images_may_be_bytes_paths_or_urls(
    horde: AsyncHorde, playing: PlayingHorde, tmp_path: Path
) -> None:
    file = tmp_path / "mask.webp"
    file.write_bytes(webp(colour="white"))
    await horde.generate_image("a fox", source_image=b"picture", source_mask=file)
    await horde.generate_image("a fox", source_image=f"{playing.url}/pictures/0")
    await horde.generate_image("a fox", source_image="data:image/webp;base64,AAAA")
    from_bytes, from_url, from_data = [one.body for one in playing.calls("generate/async")]
    assert base64.b64decode(from_bytes["source_image"]) == b"picture"
    assert base64.b64decode(from_bytes["source_mask"]) == file.read_bytes()
    assert base64.b64decode(from_url["source_image"]) == playing.pictures[0]
    assert from_data["source_image"] == "AAAA"


async def test_a_missing_source_image_is_named(horde: AsyncHorde, tmp_path: Path) -> None:
    with pytest.raises(HordeError, match=r"source_image .*fox\.png .*No such file") as caught:
        await horde.generate_image("a fox", source_image=tmp_path / "fox.png")
    assert caught.value.status == 0


async def test_a_misspelt_setting_is_told_the_right_one(horde: AsyncHorde) -> None:
    with pytest.raises(TypeError, match="did you mean width"):
        await horde.generate_image("a fox", widht=64)  # type: ignore[call-arg]


async def test_what_this_client_does_not_know_passes(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    await horde.generate_image(
        "a fox", extra_params={"scheduler": "beta"}, loras=[Lora(name="ink")], models=[]
    )
    [sent] = playing.calls("generate/async")
    assert sent.body["params"] == {"scheduler": "beta", "loras": [{"name": "ink"}]}
    assert sent.body["models"] == []


def test_every_field_of_the_wire_can_be_asked_for() -> None:
    wire = {*ImageRequest.__struct_fields__, *ImageParams.__struct_fields__}
    elsewhere = {"prompt", "params", "dry_run", "source_image", "source_mask"}
    own = {"negative_prompt", "extra_params"}
    assert set(ImageSettings.__annotations__) == wire - elsewhere | own


async def test_a_cancelled_task_cancels_its_request(playing: PlayingHorde) -> None:
    playing.checks = [DRAWING]
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    async with AsyncHorde(playing.url, sleep=sleep) as horde:
        task = asyncio.create_task(horde.image("a fox"))
        await asleep.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [one.method for one in playing.calls("generate/status/{id}")] == ["DELETE"]


async def test_a_faulted_request_says_what_to_try(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.checks = [check(faulted=True, done=True)]
    playing.pictures = []
    with pytest.raises(HordeError, match="another model"):
        await horde.image("a fox")


@pytest.mark.parametrize("processing", ["img2img", "inpainting", "outpainting"])
async def test_what_changes_a_picture_needs_one(
    processing: SourceProcessing, horde: AsyncHorde, playing: PlayingHorde
) -> None:
    with pytest.raises(HordeError, match=f"source_image: is missing: {processing}"):
        await horde.image("a fox", source_processing=processing)
    with pytest.raises(HordeError, match="source_image: is missing: the mask"):
        await horde.price("a fox", source_mask=webp())
    assert playing.heard == []
