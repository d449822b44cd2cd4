# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished results on disk until they are delivered: a worker that was killed does it later."""

import asyncio
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import platformdirs
import structlog
from msgspec import Struct

from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.backends.base import Artifact, Note
from openhorde.worker.settings import KindName, WorkerSettings

RESULTS_MAX = 1000
LATE_SECONDS_MAX = 3600.0
"""How long after its time a result may still be worth a try."""
STALE_SECONDS = 86_400.0
"""After this time what other workers have left behind is swept away."""
SUFFIX = ".result"
BEING_WRITTEN = ".part"
OUR_NAME = re.compile("[0-9a-f]{32}")

log = structlog.get_logger(__name__)


class Spooled(Struct, kw_only=True, frozen=True):
    """A result, and what delivering it takes. `expires_at` in seconds of Unix time."""

    kind: KindName
    ids: list[str]
    index: int
    upload: str | None
    model: str
    notes: list[Note]
    artifact: Artifact
    expires_at: float

    @property
    def job_id(self) -> str:
        """Which job's result this is."""
        return self.ids[self.index]

    def assignment(self, now: float) -> Assignment:
        """The jobs that it belongs to, with the time that is left for them."""
        return Assignment(
            kind=self.kind,
            ids=self.ids,
            uploads=[self.upload if at == self.index else None for at in range(len(self.ids))],
            model=self.model,
            ttl_seconds=self.expires_at - now,
            notes=self.notes,
        )


class Spool:
    """A folder of results, private to its owner. Without a folder nothing is kept.

    What does not fit into `bytes_max` pushes out the oldest. `clock` gives Unix time in seconds.
    """

    def __init__(
        self, folder: Path | None, bytes_max: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._clock = clock
        self._sizes: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._works = True

    @property
    def job_ids(self) -> frozenset[str]:
        """The jobs whose results are kept and not handed in yet."""
        return frozenset(self._sizes)

    async def keep(self, assignment: Assignment, index: int, artifact: Artifact) -> None:
        """Write a result down, whole or not at all. Where that fails the worker goes on without."""
        if self._folder is None:
            return
        now = self._clock()
        spooled = Spooled(
            kind=assignment.kind,
            ids=assignment.ids,
            index=index,
            upload=assignment.uploads[index],
            model=assignment.model,
            notes=assignment.notes,
            artifact=artifact,
            expires_at=now + assignment.seconds_left,
        )
        content = msgspec.msgpack.encode(spooled)
        if len(content) > self._bytes_max:
            return
        async with self._lock:
            await self._make_room(len(content))
            self._sizes[spooled.job_id] = len(content)
            try:
                await asyncio.to_thread(self._write, self._path(spooled.job_id), content)
            except OSError as error:
                del self._sizes[spooled.job_id]
                self._broken(error)

    async def forget(self, job_id: str) -> None:
        """A result was handed in, or nobody wants it any more."""
        if self._folder is not None and self._sizes.pop(job_id, None) is not None:
            await asyncio.to_thread(_remove, self._path(job_id))

    async def load(self) -> list[str]:
        """See what an earlier run has left: the ids of its jobs, the oldest first.

        What cannot be read, is too late for certain or was left long ago by others is thrown away.
        """
        if self._folder is None:
            return []
        try:
            self._sizes = await asyncio.to_thread(self._found)
        except OSError as error:
            self._broken(error)
        return list(self._sizes)

    async def read(self, job_id: str) -> Spooled | None:
        """A kept result, if it is still there."""
        return await asyncio.to_thread(self._read, self._path(job_id))

    def _found(self) -> dict[str, int]:
        """The sizes in bytes of the results in the folder, by job."""
        assert self._folder is not None
        self._sweep(self._folder)
        files = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
        found: dict[str, int] = {}
        for path in reversed(files):
            spooled = self._read(path)
            size = path.stat().st_size
            fits = len(found) < RESULTS_MAX and sum(found.values()) + size <= self._bytes_max
            if spooled is not None and fits:
                found[spooled.job_id] = size
            else:
                _remove(path)
        return dict(reversed(found.items()))

    def _sweep(self, own: Path) -> None:
        stale_before = self._clock() - STALE_SECONDS
        for unfinished in own.glob(f"*{BEING_WRITTEN}"):
            _remove(unfinished)
        for path in own.parent.glob(f"*/*{SUFFIX}"):
            # Whatever else lies here is not ours to judge.
            ours = OUR_NAME.fullmatch(path.parent.name) and OUR_NAME.fullmatch(path.stem)
            if ours and path.stat().st_mtime < stale_before:
                _remove(path)

    def _read(self, path: Path) -> Spooled | None:
        try:
            if path.stat().st_size > self._bytes_max:
                return None
            spooled = msgspec.msgpack.decode(path.read_bytes(), type=Spooled)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("a kept result cannot be read", file=str(path), reason=str(error))
            return None
        if not 0 <= spooled.index < len(spooled.ids) or path != self._path(spooled.job_id):
            return None
        return spooled if self._clock() < spooled.expires_at + LATE_SECONDS_MAX else None

    async def _make_room(self, bytes_wanted: int) -> None:
        while self._sizes and (
            len(self._sizes) >= RESULTS_MAX
            or sum(self._sizes.values()) + bytes_wanted > self._bytes_max
        ):
            await self.forget(next(iter(self._sizes)))

    def _path(self, job_id: str) -> Path:
        """Where a job's result is kept; its id is the horde's, and may be any text."""
        assert self._folder is not None
        return self._folder / (_digest(job_id) + SUFFIX)

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all. A power cut may leave nonsense, which is thrown away when read."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        unfinished = path.with_suffix(BEING_WRITTEN)
        _remove(unfinished)
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            unfinished.replace(path)
        except OSError:
            _remove(unfinished)
            raise

    def _broken(self, error: OSError) -> None:
        if self._works:
            self._works = False
            log.warning(
                "results are not kept on disk: set spool_folder to a folder that can be written",
                folder=str(self._folder),
                reason=str(error),
            )


def open_spool(settings: WorkerSettings) -> Spool:
    """The spool of this worker of this horde: where the settings say, in the cache folder, or else
    where this system keeps such things."""
    if not settings.spool_mib_max:
        return Spool(None, 0)
    folder = settings.spool_folder
    if folder is None and settings.cache_folder is not None:
        folder = settings.cache_folder / "spool"
    if folder is None:
        folder = platformdirs.user_state_path("openhorde", appauthor=False) / "spool"
    whose = "\n".join((settings.horde_url, settings.api_key, settings.worker_name))
    return Spool(folder.absolute() / _digest(whose), settings.spool_mib_max << 20)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
