# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and embeddings that are not here, fetched for a job if the owner allows it.

A name that is a URL must say what it leads to: `https://host/file#sha256=HEX`. A number is looked
up in a catalogue, which answers with the file, its hash and size, as the public one does.
"""

import asyncio
import re
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct, field

from openhorde.incoming.texts import decode_json
from openhorde.worker.library.adapters import (
    URL_STARTS,
    About,
    Kind,
    fetched_name,
    find_adapter,
)
from openhorde.worker.library.disk import make_disk_room
from openhorde.worker.library.fetching import Fetcher, NotFetched
from openhorde.worker.settings import WorkerSettings

CATALOGUE_BYTES_MAX = 4 * 2**20
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
MIB = 2**20

log = structlog.get_logger(__name__)


class Hashes(Struct, kw_only=True):
    """The hashes a catalogue tells."""

    sha256: str | None = field(default=None, name="SHA256")


class File(Struct, kw_only=True, rename="camel"):
    """A file in a catalogue; its size in KiB."""

    name: str = ""
    download_url: str = ""
    size_kib: float = field(default=0, name="sizeKB")
    hashes: Hashes = field(default_factory=Hashes)
    primary: bool = False


class Version(Struct, kw_only=True, rename="camel"):
    """What a catalogue knows of one version of an adapter."""

    files: list[File] = field(default_factory=list)
    base_model: str | None = None
    trained_words: list[str] = field(default_factory=list)


class Versions(Struct, kw_only=True, rename="camel"):
    """An adapter with all its versions, the newest first."""

    model_versions: list[Version] = field(default_factory=list)


class _Found(Struct, kw_only=True):
    url: str
    sha256: str
    about: About
    size_bytes: int | None = None


class Downloads:
    """Fetches into `cache_folder`, which then holds what `find_adapter` finds."""

    def __init__(self, settings: WorkerSettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._bytes_max = settings.download_mib_max * MIB

    async def have(self, kind: Kind, name: str, is_version: bool = False) -> bool:
        """Whether the adapter is here now; fetches it if it is not and may be. Never raises."""
        settings = self._settings
        folder = settings.loras_folder if kind == "loras" else settings.embeddings_folder
        if find_adapter(kind, name, is_version, folder, settings.cache_folder) is not None:
            return True
        kept = fetched_name(name, is_version)
        if settings.cache_folder is None or kept is None:
            return False
        try:
            await self._fetch(
                settings.cache_folder / kind / f"{kept}.safetensors", name, is_version
            )
        except NotFetched as error:
            log.warning("an adapter was not fetched", kind=kind, name=name, reason=str(error))
            return False
        return True

    async def _fetch(self, path: Path, name: str, is_version: bool) -> None:
        found = _in_url(name) if name.startswith(URL_STARTS) else await self._ask(name, is_version)
        if found.size_bytes is not None and found.size_bytes > self._bytes_max:
            raise NotFetched(f"it has {found.size_bytes} bytes; {self._bytes_max} are allowed")
        await self._fetcher.save(found.url, path, self._bytes_max, found.sha256)
        await asyncio.to_thread(self._keep, path, found.about)

    def _keep(self, path: Path, about: About) -> None:
        """Only now is the true size known. The new file is the last that would have to go."""
        try:
            make_disk_room(path.parent.parent, "*.safetensors", 0, self._disk_bytes)
            if not path.exists():
                raise NotFetched(f"it is larger than the {self._disk_bytes} bytes kept at most")
            path.with_suffix(".json").write_bytes(msgspec.json.encode(about))
        except OSError as error:
            raise NotFetched(f"it cannot be kept: {error}") from error

    @property
    def _disk_bytes(self) -> int:
        return self._settings.cache_disk_mib * MIB

    async def _ask(self, number: str, is_version: bool) -> _Found:
        """Look a number up in the catalogue."""
        settings = self._settings
        template = settings.version_url if is_version else settings.model_url
        url = template.replace("{version}" if is_version else "{model}", number)
        content = await self._fetcher.get(url, CATALOGUE_BYTES_MAX)
        try:
            if is_version:
                version = decode_json(content, Version)
            else:
                versions = decode_json(content, Versions).model_versions
                version = versions[0] if versions else Version()
        except msgspec.DecodeError as error:
            raise NotFetched(f"the catalogue's answer cannot be read: {error}") from error
        fit = [file for file in version.files if file.name.endswith(".safetensors")]
        file = next((file for file in fit if file.primary), fit[0] if fit else None)
        if file is None:
            raise NotFetched("the catalogue has no .safetensors file of it")
        sha256 = file.hashes.sha256 or ""
        if not SHA256.fullmatch(sha256):
            raise NotFetched("the catalogue tells no SHA256 of it")
        about = About(
            triggers=version.trained_words, baseline=version.base_model, sha256=sha256.lower()
        )
        return _Found(
            url=file.download_url,
            sha256=sha256,
            about=about,
            size_bytes=int(file.size_kib * 1024) or None,
        )


def _in_url(name: str) -> _Found:
    url, _, fragment = name.partition("#")
    sha256 = fragment.removeprefix("sha256=")
    if not SHA256.fullmatch(sha256):
        raise NotFetched("a URL must end in #sha256= and the file's SHA256 in hexadecimal")
    return _Found(url=url, sha256=sha256, about=About(sha256=sha256.lower()))
