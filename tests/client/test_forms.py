# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures that are looked at: forms from the picture to their results."""

import asyncio
import base64
from contextlib import aclosing
from io import BytesIO
from pathlib import Path

import pytest
from client.playing_alchemy import done, form, status
from client.playing_horde import GOOD_KEY, Hold, PlayingHorde, event, webp
from PIL import Image

from openhorde.client import AskedForm, AsyncHorde, FormFault, FormResult, Horde, HordeError, Look
from openhorde.client.forms import SETTINGS, FormSettings
from openhorde.wire.alchemy import AlchemyRequest

ASYNC, STATUS = "interrogate/async", "interrogate/status/{id}"


async def results(horde: AsyncHorde, *forms: str) -> list[FormResult]:
    return [one async for one in horde.forms(webp(), list(forms))]  # type: ignore[arg-type]


async def test_a_caption_is_asked_for_and_heard(horde: AsyncHorde, playing: PlayingHorde) -> None:
    assert await horde.caption(webp(), payload={"max_length": 20}) == "a red picture"
    [sent] = playing.calls(ASYNC)
    assert sent.body.pop("source_image") == base64.b64encode(webp()).decode()
    assert sent.body == {"forms": [{"name": "caption", "payload": {"max_length": 20}}]}
    assert sent.headers["apikey"] == GOOD_KEY


async def test_a_verdict_is_true_or_false(horde: AsyncHorde, playing: PlayingHorde) -> None:
    assert await horde.nsfw(webp()) is False
    playing.alchemy.results["nsfw"] = True
    assert await horde.nsfw(webp(), trusted_workers=True, slow_workers=False) is True
    assert playing.calls(ASYNC)[0].body["forms"] == [{"name": "nsfw"}]
    assert playing.calls(ASYNC)[1].body["trusted_workers"] is True
    assert playing.calls(ASYNC)[1].body["slow_workers"] is False


async def test_keywords_come_with_the_surest_first(horde: AsyncHorde) -> None:
    found = await horde.interrogate(webp())
    assert list(found) == ["colors", "mediums"]
    assert [(one.text, one.confidence) for one in found["colors"]] == [
        ("red [circle]", 75.25),
        ("blue background", 20.5),
    ]


async def test_post_processed_pictures_come_downloaded(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    found = await horde.post_process(webp(), ["RealESRGAN_x4plus", "GFPGAN"])
    assert found == {"RealESRGAN_x4plus": playing.pictures[0], "GFPGAN": playing.pictures[0]}
    assert all("apikey" not in one.headers for one in playing.calls("pictures"))


async def test_each_result_comes_as_soon_as_it_is_there(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    """And a fault does not keep the others from arriving."""
    fault = form("nsfw", "faulted", reason="out of memory")
    playing.alchemy.statuses = [
        status(form("caption"), form("nsfw"), form("palette")),
        status(done("caption", "a fox"), form("nsfw", "processing"), form("palette")),
        status(done("caption", "a fox"), fault, form("palette", "processing")),
        status(done("caption", "a fox"), fault, done("palette", ["#ff0000"])),
    ]
    looks: list[Look] = []
    seen = []
    forms = horde.forms(
        webp(), ["caption", "nsfw", AskedForm(name="palette")], progress=looks.append
    )
    async for result in forms:
        seen.append((len(playing.calls(STATUS)), result.form, result.state, result.value))
    assert seen == [
        (2, "caption", "done", "a fox"),
        (3, "nsfw", "faulted", None),
        (4, "palette", "done", ["#ff0000"]),
    ]
    assert [(look.processing, look.finished, look.done) for look in looks] == [
        (0, 0, False),
        (1, 1, False),
        (1, 2, False),
        (0, 3, True),
    ]


async def test_a_fault_tells_its_reason(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.alchemy.faults = {"caption": "the picture is all noise"}
    with pytest.raises(
        FormFault, match=r"caption was not done: the picture is all noise\."
    ) as caught:
        await horde.caption(webp())
    assert (caught.value.form, caught.value.reason) == ("caption", "the picture is all noise")


@pytest.mark.parametrize(
    ("state", "words"), [("faulted", "tried it failed"), ("cancelled", "cancel")]
)
async def test_a_fault_without_a_reason_is_told_as_well(
    horde: AsyncHorde, playing: PlayingHorde, state: str, words: str
) -> None:
    playing.alchemy.statuses = [status(form("caption", state))]
    with pytest.raises(FormFault, match=words):
        await horde.caption(webp())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("caption", 7),
        ("nsfw", "perhaps"),
        ("interrogation", {"mediums": ["a drawing"]}),
        ("GFPGAN", True),
        ("GFPGAN", "?"),
        ("caption", None),
    ],
)
async def test_a_result_of_another_shape_is_a_fault_of_its_form(
    horde: AsyncHorde, playing: PlayingHorde, name: str, value: object
) -> None:
    playing.alchemy.results = {name: value, "palette": []}
    broken, sound = await results(horde, name, "palette")
    assert (broken.state, sound.state) == ("faulted", "done")
    with pytest.raises(FormFault, match=name):
        broken.expect()
    assert sound.expect() == []


async def test_a_picture_that_is_gone_is_a_fault_of_its_form(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.refuse("pictures", 404, {"message": "expired"})
    drawn, caption = await results(horde, "GFPGAN", "caption")
    assert drawn.reason is not None
    assert "could not be fetched" in drawn.reason
    assert caption.value == "a red picture"


async def test_an_end_without_the_form_is_an_error(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.alchemy.statuses = [{"state": "cancelled", "forms": []}]
    with pytest.raises(HordeError, match="without the form caption"):
        await horde.caption(webp())


async def test_a_stream_is_followed_where_there_is_one(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    job = {"id": "1", "worker_name": "Bob's machine", "model": "caption"}
    waiting = {"position": 2, "wait_time": 9, "is_possible": True}
    both = status(done("caption", "a fox"), done("nsfw", False))
    playing.alchemy.statuses = [status(done("caption", "a fox"), form("nsfw"))]
    playing.streams = [
        [
            event("queued", waiting),
            event("started", job),
            event("generation", {"id": "1"}),
            event("started", {**job, "id": "2"}),
            event("done", both),
        ]
    ]
    looks: list[Look] = []
    seen = []
    async for result in horde.forms(webp(), ["caption", "nsfw"], progress=looks.append):
        seen.append((result.form, len(looks)))
    assert seen == [("caption", 3), ("nsfw", 5)]
    assert looks[0].queue_position == 2
    assert looks[1].drawings[0].worker_name == "Bob's machine"
    assert len(playing.calls(STATUS)) == 1


async def test_the_price_is_a_dry_run(horde: AsyncHorde, playing: PlayingHorde) -> None:
    priced = await horde.price_forms(webp(), ["caption", "nsfw"])
    assert priced.kudos == 2
    assert priced.lines is not None
    assert [line.label for line in priced.lines] == ["caption", "nsfw"]
    assert playing.calls(ASYNC)[0].body["dry_run"] is True


async def test_where_a_dry_run_is_unknown_nothing_is_left_behind(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.alchemy.priced = False
    with pytest.raises(HordeError, match="does not tell what forms would cost"):
        await horde.price_forms(webp(), ["caption"])
    assert len(playing.alchemy.cancelled) == 1


async def test_a_picture_may_be_given_in_many_ways(
    horde: AsyncHorde, playing: PlayingHorde, tmp_path: Path
) -> None:
    file = tmp_path / "blue.webp"
    file.write_bytes(webp(colour="blue"))
    data = "data:image/webp;base64," + base64.b64encode(webp(colour="green")).decode()
    shown = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    captions = [
        await horde.caption(one)
        for one in (file, str(file), f"{playing.url}/pictures/0", data, shown)
    ]
    assert captions == [f"a {one} picture" for one in ("blue", "blue", "red", "green", "red")]
    sent = base64.b64decode(playing.calls(ASYNC)[-1].body["source_image"])
    with Image.open(BytesIO(sent)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGBA", (8, 8))


def bitmap_header(width: int, height: int) -> bytes:
    """Says how large the picture is, and goes no further."""
    size = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return b"BM" + bytes(8) + b"\x36\0\0\0" + b"\x28\0\0\0" + size + b"\1\0\x18\0" + bytes(24)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "of 0 bytes: no picture can be read from it"),
        (b"not a picture", r"of 13 bytes: no picture can be read from it \(.*\). Give PNG, JPEG"),
        (webp((256, 256))[:100], "no picture can be read from it"),
        (bytes(17 << 20), "more than 16 MiB"),
        (
            bitmap_header(8193, 8193),
            "8193x8193 pixels, 289 squares of 512x512. Shrink it to at most 255",
        ),
    ],
    ids=["empty", "text", "cut off", "too many bytes", "too many squares"],
)
async def test_what_cannot_be_looked_at_is_refused_before_it_is_sent(
    horde: AsyncHorde, playing: PlayingHorde, content: bytes, words: str
) -> None:
    with pytest.raises(HordeError, match=words) as caught:
        await horde.caption(content)
    assert str(caught.value).startswith("Cannot use source_image")
    assert playing.heard == []


@pytest.mark.parametrize("side", [10_000, 60_000])
async def test_what_pillow_itself_refuses_is_too_large(
    horde: AsyncHorde, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """Other parts of a program may have taken Pillow's own bound away, or not."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1 << 26)
    with pytest.raises(HordeError, match=r"Cannot use source_image .* too large"):
        await horde.caption(bitmap_header(side, side))


async def test_a_file_that_is_not_there_is_named(
    horde: AsyncHorde, playing: PlayingHorde, tmp_path: Path
) -> None:
    with pytest.raises(HordeError, match=r"source_image .*fox\.png \(No such file"):
        await horde.caption(tmp_path / "fox.png")
    with pytest.raises(HordeError, match=r"source_image .* \(Is a directory"):
        await horde.caption(tmp_path)
    with pytest.raises(HordeError, match="as data: URL: it is not base64"):
        await horde.caption("data:image/png;base64,?")
    assert playing.heard == []


async def test_a_url_that_leads_nowhere_is_not_blamed_on_the_horde(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    with PlayingHorde().running() as gone:
        url = f"{gone.url}/pictures/0"
    with pytest.raises(HordeError, match=f"No answer from {url}: the picture is out of reach"):
        await horde.caption(url)
    playing.refuse("pictures", 404, {"message": "gone"})
    with pytest.raises(HordeError, match="could not be fetched"):
        await horde.caption(f"{playing.url}/pictures/0")
    playing.pictures = [bytes(17 << 20)]
    with pytest.raises(HordeError, match="more than 16 MiB"):
        await horde.caption(f"{playing.url}/pictures/0")
    with pytest.raises(HordeError, match="is not a URL"):
        await horde.caption("HTTPS://xn--.example/0")
    assert not playing.calls(ASYNC)


async def test_a_wrong_form_is_told_the_right_ones(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    errors = {"forms.0.name": "Invalid enum value 'captoin'"}
    playing.refuse(ASYNC, 400, {"message": "Input payload validation failed", "errors": errors})
    with pytest.raises(HordeError, match=r"forms\.0\.name: .*must be one of .*caption.*GFPGAN"):
        await results(horde, "captoin")


async def test_a_misspelt_setting_is_told_the_right_one(horde: AsyncHorde) -> None:
    with pytest.raises(TypeError, match="did you mean trusted_workers"):
        await horde.caption(webp(), trusted_worker=True)  # type: ignore[call-arg]


def test_every_field_of_the_wire_can_be_asked_for() -> None:
    elsewhere = {"source_image", "forms", "dry_run"}
    settings = set(FormSettings.__annotations__) - {"wait_for_workers"}
    assert settings == {*AlchemyRequest.__struct_fields__} - elsewhere
    assert settings == SETTINGS


async def test_a_request_can_be_handed_in_watched_and_taken_back(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    queued = await horde.queue_forms(webp(), ["caption", "nsfw"])
    assert (queued.kudos, queued.forms) == (2, ["caption", "nsfw"])
    assert [look.done async for look in horde.watch_forms(queued.id)] == [True]
    assert (await horde.forms_status(queued.id)).state == "done"
    assert [one.form async for one in horde.form_results(queued.id)] == ["caption", "nsfw"]
    assert (await horde.cancel_forms(queued.id)).forms[0].form == "caption"
    assert playing.alchemy.cancelled == [queued.id]


async def test_who_stops_early_cancels_the_rest(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.alchemy.statuses = [status(done("caption", "a fox"), form("nsfw"))]
    async with aclosing(horde.forms(webp(), ["caption", "nsfw"])) as forms:
        async for result in forms:
            assert result.value == "a fox"
            break
    assert len(playing.alchemy.cancelled) == 1


async def test_a_cancelled_task_cancels_its_request(playing: PlayingHorde) -> None:
    waiting = {"position": 1, "wait_time": 4, "is_possible": True}
    playing.streams = [[event("queued", waiting), Hold]]
    seen = asyncio.Event()
    async with AsyncHorde(playing.url, GOOD_KEY) as horde:
        task = asyncio.create_task(horde.caption(webp(), progress=lambda look: seen.set()))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(playing.alchemy.cancelled) == 1


def test_the_blocking_twin(playing: PlayingHorde) -> None:
    with Horde(playing.url, GOOD_KEY) as horde:
        assert horde.caption(webp()) == "a red picture"
        assert horde.nsfw(webp()) is False
        assert horde.interrogate(webp())["mediums"][0].text == "a drawing"
        assert [one.form for one in horde.forms(webp(), ["caption", "nsfw"])] == ["caption", "nsfw"]
        assert horde.post_process(webp(), ["GFPGAN"]) == {"GFPGAN": playing.pictures[0]}
        assert horde.price_forms(webp(), ["caption"]).kudos == 1
        queued = horde.queue_forms(webp(), ["caption"])
        assert [look.done for look in horde.watch_forms(queued.id)] == [True]
        assert [one.value for one in horde.form_results(queued.id)] == ["a red picture"]
        assert horde.forms_status(queued.id).state == "done"
        assert horde.cancel_forms(queued.id).state == "done"
