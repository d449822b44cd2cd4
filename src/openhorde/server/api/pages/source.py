# SPDX-License-Identifier: AGPL-3.0-or-later
"""The source of the very version that runs, for everybody who uses it (AGPL, section 13)."""

import asyncio
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import openhorde
from openhorde import __version__
from openhorde.server.api.operations import Answer, Call, Limit, Operation
from openhorde.wire.errors import Error

ARCHIVE_BYTES_MAX = 200 << 20
COMPRESSION_LEVEL = 3
"""Most of it is models, which no level makes smaller."""

_BUILDER = ThreadPoolExecutor(1, thread_name_prefix="source")
"""One builds while all others wait for it, and nothing else waits for them."""

_LEFT_OUT = frozenset({"__pycache__"})
# What a checkout has beside the package, for building and running it. An installed package has the
# licence and the readme in its metadata.
_BESIDE = (
    "pyproject.toml",
    "constraints.txt",
    "Makefile",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
)


class SourceTooLarge(Exception):
    """The package has grown beyond what is served from memory."""


async def get_source(call: Call) -> Answer:
    """Lead to the source, or hand it out."""
    elsewhere = call.horde.settings.source_url
    if elsewhere:
        return Answer(b"", 302, (("Location", elsewhere),), "text/plain; charset=utf-8")
    try:
        archive = await asyncio.get_running_loop().run_in_executor(_BUILDER, source_archive)
    except SourceTooLarge:
        message = "The source is too large to be served here. Ask the operator to set source_url."
        return Answer(Error(message=message), 503)
    name = f"openhorde-{__version__}.tar.gz"
    headers = (("Content-Disposition", f'attachment; filename="{name}"'),)
    return Answer(archive, headers=headers, media_type="application/gzip")


@cache
def source_archive() -> bytes:
    """A tar.gz of the running package, all its files, and of what belongs to it."""
    package = Path(openhorde.__file__).parent
    root = f"openhorde-{__version__}"
    names = {f"{root}/src/openhorde/{path.relative_to(package)}": path for path in _files(package)}
    names.update({f"{root}/{name}": path for name, path in _files_beside(package).items()})
    if sum(path.stat().st_size for path in names.values()) > ARCHIVE_BYTES_MAX:
        raise SourceTooLarge
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=COMPRESSION_LEVEL) as archive:
        for name, path in sorted(names.items()):
            archive.add(path, name, filter=_nobody)
    return buffer.getvalue()


def _files(package: Path) -> list[Path]:
    return [
        path
        for path in package.rglob("*")
        if path.is_file() and _LEFT_OUT.isdisjoint(path.relative_to(package).parts)
    ]


def _files_beside(package: Path) -> dict[str, Path]:
    """Files by what they are called in the archive."""
    checkout = package.parents[1]
    if (checkout / "pyproject.toml").is_file():
        beside = [checkout / name for name in _BESIDE]
        beside += (checkout / "scripts").iterdir()
        return {str(path.relative_to(checkout)): path for path in beside if path.is_file()}
    try:
        installed = distribution("openhorde").files or []
    except PackageNotFoundError:
        return {}
    kept = [file for file in installed if file.name in ("LICENSE", "METADATA")]
    return {file.name: Path(str(file.locate())) for file in kept}


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who owns the files on this machine is nobody's business."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


OPERATIONS = (
    Operation(
        name="source",
        method="GET",
        path="/source",
        handler=get_source,
        summary="The source of this version",
        tag="",
        limits=(Limit("4/minute"), Limit("40/day")),
    ),
)
