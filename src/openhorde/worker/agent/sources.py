# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source images: from a URL or base64 to bytes, within bounds."""

import base64
import binascii
from typing import Literal

from openhorde.worker.agent.api import Away, HordeApi
from openhorde.worker.agent.assignment import Assignment, Unfit
from openhorde.worker.backends.base import Note

SOURCE_BYTES_MAX = 20 * 1024 * 1024
TRIES = 3

Role = Literal["source_image", "source_mask"]


async def fetch_source(api: HordeApi, assignment: Assignment, given: str, role: Role) -> bytes:
    """The bytes of a source. Raises Unfit, with a note for the requester, when there are none."""
    if given.startswith(("http://", "https://")):
        return await _download(api, assignment, given, role)
    encoded = given.partition(",")[2] if given.startswith("data:") else given
    if len(encoded) > SOURCE_BYTES_MAX * 4 // 3 + 4:
        raise _unfit(role, "parse_failed", f"more than {SOURCE_BYTES_MAX} bytes")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unfit(role, "parse_failed", f"it is not base64: {error}") from error


async def _download(api: HordeApi, assignment: Assignment, url: str, role: Role) -> bytes:
    for tries_left in reversed(range(TRIES)):
        try:
            return await api.get(url, SOURCE_BYTES_MAX, assignment.reserve_seconds / TRIES)
        except Away as error:
            if not tries_left:
                raise _unfit(role, "download_failed", str(error)) from error
    raise AssertionError("the last try returns or raises")


def _unfit(role: Role, value: Literal["parse_failed", "download_failed"], reason: str) -> Unfit:
    return Unfit(f"{role}: {reason}", [Note(type=role, value=value)])
