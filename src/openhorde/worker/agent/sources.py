# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source images: from a URL or base64 to bytes, within bounds."""

import asyncio
from typing import Literal

from openhorde.incoming.base64_text import Base64Refused, decode_base64
from openhorde.worker.agent.api import Away, HordeApi
from openhorde.worker.agent.assignment import Assignment, Unfit
from openhorde.worker.backends.base import Note

SOURCE_BYTES_MAX = 20 * 1024 * 1024
TRIES = 3

Role = Literal["source_image", "source_mask"]


class Sources:
    """The sources of the jobs of one pop. What several of them name is downloaded once."""

    def __init__(self, api: HordeApi) -> None:
        self._api = api
        self._downloads: dict[str, asyncio.Task[bytes]] = {}

    async def fetch(self, assignment: Assignment, given: str, role: Role) -> bytes:
        """The bytes of a source. Raises Unfit, with a note for the requester, if there are none."""
        if not given[:8].lower().startswith(("http://", "https://")):
            return _decoded(given, role)
        if given not in self._downloads:
            seconds_max = assignment.reserve_seconds / TRIES
            self._downloads[given] = asyncio.create_task(self._download(given, seconds_max))
        try:
            return await asyncio.shield(self._downloads[given])
        except Away as error:
            raise _unfit(role, "download_failed", str(error)) from error

    async def _download(self, url: str, seconds_max: float) -> bytes:
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._api.get(url, SOURCE_BYTES_MAX, seconds_max)
            except Away:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")


def _decoded(given: str, role: Role) -> bytes:
    """Base64, in whichever dress."""
    try:
        return decode_base64(given, SOURCE_BYTES_MAX)
    except Base64Refused as refused:
        raise _unfit(role, "parse_failed", f"base64 is expected: {refused}") from refused


def _unfit(role: Role, value: Literal["parse_failed", "download_failed"], reason: str) -> Unfit:
    return Unfit(f"{role}: {reason}", [Note(type=role, value=value)])
