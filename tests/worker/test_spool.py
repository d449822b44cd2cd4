# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished results on disk: whole, private, bounded, and gone when they are delivered."""

import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from worker.fake_horde import OWNER_KEY

from openhorde.worker.agent import events
from openhorde.worker.agent import spool as spooling
from openhorde.worker.agent.api import HordeApi
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.deliver import Delivery
from openhorde.worker.agent.live import Live
from openhorde.worker.agent.spool import LATE_SECONDS_MAX, STALE_SECONDS, SUFFIX, Spool, open_spool
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Artifact, Note
from openhorde.worker.settings import load_settings

KIB = 1024


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def job(*ids: str, ttl_seconds: float = 100) -> Assignment:
    return Assignment(
        kind="image",
        ids=list(ids),
        uploads=[f"http://storage.test/{one}" for one in ids],
        model="a model",
        ttl_seconds=ttl_seconds,
        notes=[Note(type="lora", value="download_failed", ref="7")],
    )


def result(content: bytes = b"x" * KIB) -> Artifact:
    return Artifact(content=content, media_type="image/webp", seed=7)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=300), st.binary(max_size=4 * KIB))
async def test_what_was_kept_is_read_as_it_was(job_id: str, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        clock = Clock()
        assignment = job("another", job_id)
        before = Spool(Path(folder) / "own", 64 * KIB, clock)
        await before.keep(assignment, 1, result(content))
        clock.seconds += 10
        spool = Spool(Path(folder) / "own", 64 * KIB, clock)
        assert await spool.load() == [job_id]
        assert spool.job_ids == {job_id}
        kept = await spool.read(job_id)
        assert kept is not None
        assert (kept.artifact, kept.index) == (result(content), 1)
        again = kept.assignment(clock.seconds)
        assert (again.ids, again.model, again.notes) == (
            assignment.ids,
            "a model",
            assignment.notes,
        )
        assert again.uploads == [None, assignment.uploads[1]]
        assert 80 < again.ttl_seconds < 90.1
        await spool.forget(job_id)
        assert not spool.job_ids
        assert not files(Path(folder))


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "all" / "own", 64 * KIB)
    await spool.keep(job("a"), 0, result())
    (file,) = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_the_oldest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "own", 4 * KIB)
    for job_id in "abcdef":
        await spool.keep(job(job_id), 0, result())
    assert spool.job_ids == set("def")
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 4 * KIB
    await spool.keep(job("huge"), 0, result(b"x" * 5 * KIB))
    assert spool.job_ids == set("def")
    monkeypatch.setattr(spooling, "RESULTS_MAX", 2)
    await spool.keep(job("g"), 0, result())
    assert spool.job_ids == set("fg")
    assert len(await Spool(tmp_path / "own", 4 * KIB).load()) == 2
    assert len(await Spool(tmp_path / "own", 2 * KIB).load()) == 1
    assert len(files(tmp_path)) == 1


async def test_what_is_too_late_or_cannot_be_read_is_thrown_away(tmp_path: Path) -> None:
    clock = Clock()
    spool = Spool(tmp_path / "own", 64 * KIB, clock)
    for job_id in ("good", "late", "cut", "renamed"):
        seconds = 1.0 if job_id == "late" else 1000.0
        await spool.keep(job(job_id, ttl_seconds=seconds), 0, result())
    where = {job_id: spool._path(job_id) for job_id in spool.job_ids}
    where["cut"].write_bytes(where["cut"].read_bytes()[:-100])
    where["renamed"].rename(where["renamed"].with_stem("0" * 32))
    (tmp_path / "own" / f"{'1' * 32}.part").write_bytes(b"half")
    (tmp_path / "own" / f"{'2' * 32}{SUFFIX}").write_bytes(b"")
    clock.seconds += LATE_SECONDS_MAX + 500
    assert await Spool(tmp_path / "own", 64 * KIB, clock).load() == ["good"]
    assert files(tmp_path) == [where["good"]]


async def test_what_can_no_longer_be_read_is_not_held(tmp_path: Path) -> None:
    await Spool(tmp_path / "own", 64 * KIB).keep(job("lost"), 0, result())
    spool = Spool(tmp_path / "own", 64 * KIB)
    left = await spool.load()
    assert left == ["lost"]
    assert spool.job_ids == {"lost"}
    (file,) = files(tmp_path)
    file.write_bytes(b"damaged meanwhile")
    settings = load_settings(None, None, {})
    api, told = HordeApi(settings), list[events.Event]()
    await Delivery(Wishes(settings), api, told.append, spool).left(left)
    await api.close()
    assert not spool.job_ids
    assert not files(tmp_path)
    assert told == []


async def test_what_others_left_long_ago_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    own, other = tmp_path / ("0" * 32), tmp_path / ("1" * 32)
    await Spool(other, 64 * KIB).keep(job("a"), 0, result())
    (theirs,) = files(tmp_path)
    photographs = tmp_path / "photographs" / theirs.name
    photographs.parent.mkdir()
    photographs.write_bytes(b"of the owner")
    clock = Clock()
    clock.seconds = theirs.stat().st_mtime + STALE_SECONDS - 60
    assert await Spool(own, 64 * KIB, clock).load() == []
    assert theirs.exists()
    clock.seconds += 120
    await Spool(own, 64 * KIB, clock).load()
    assert files(tmp_path) == [photographs]


async def test_a_folder_that_cannot_be_written_is_told_once_and_borne(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    spool = Spool(tmp_path / "file" / "own", 64 * KIB)
    with capture_logs() as entries:
        for job_id in "ab":
            await spool.keep(job(job_id), 0, result())
    assert not spool.job_ids
    (entry,) = entries
    assert "spool_folder" in entry["event"]


async def test_each_worker_of_each_horde_has_its_own(tmp_path: Path) -> None:
    told = [
        {},
        {"horde_url": "http://another.test"},
        {"api_key": "another"},
        {"worker_name": "another"},
    ]
    for number, flags in enumerate(told):
        settings = load_settings(None, None, flags | {"cache_folder": tmp_path})
        assert await open_spool(settings).load() == []
        await open_spool(settings).keep(job(str(number)), 0, result())
    assert len({path.parent for path in files(tmp_path / "spool")}) == len(told)
    off = load_settings(None, None, {"spool_folder": tmp_path / "off", "spool_mib_max": 0})
    await open_spool(off).keep(job("a"), 0, result())
    assert not (tmp_path / "off").exists()


async def test_what_an_earlier_run_left_is_delivered_and_counts(
    horde: Any, start_worker: Any, tmp_path: Path
) -> None:
    told = {"horde_url": horde.url, "api_key": OWNER_KEY, "spool_folder": tmp_path}
    before = open_spool(load_settings(None, None, told))
    text = Assignment(kind="text", ids=["left"], uploads=[None], model="m", ttl_seconds=100)
    await before.keep(text, 0, Artifact(content=b"Once", media_type="text/plain", seed=7))
    worker = start_worker(spool_folder=tmp_path)
    assert await worker.heard(events.Delivered) == [events.Delivered("left", 12.5)]
    live = Live()
    for event in worker.events:
        live.hear(event)
    assert (live.state().done, live.state().kudos) == (1, 12.5)
    (submit,) = horde.submitted("left")
    assert (submit["generation"], submit["seed"]) == ("Once", 7)
    assert await worker.drained() == 0
    assert not files(tmp_path)
