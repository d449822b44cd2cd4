# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source images and masks: a path, the bytes themselves or a URL becomes base64."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

from openhorde.client.errors import HordeError

ImageSource = str | Path | bytes


async def source_base64(
    source: ImageSource, field: str, download: Callable[[str], Awaitable[bytes]]
) -> str:
    """The picture as the wire wants it. URLs are fetched here: they may be private to this side."""
    if isinstance(source, str) and source.startswith("data:"):
        return source.partition(",")[2]
    if isinstance(source, bytes):
        content = source
    elif isinstance(source, str) and source.startswith(("http://", "https://")):
        content = await download(source)
    else:
        content = await asyncio.to_thread(_read, Path(source), field)
    return base64.b64encode(content).decode("ascii")


def _read(path: Path, field: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise HordeError(
            0, None, f"Cannot read {field} {path} ({reason}). Give a file, bytes or a URL."
        ) from error
