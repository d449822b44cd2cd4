# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of the Hugging Face hub: kept in `models_folder`/hub, downloaded only where allowed."""

import hashlib
import re
from pathlib import Path
from typing import Any

import structlog

from openhorde.worker.settings import WorkerSettings

# Never *.bin and its like, and no *.py: what is not here cannot be loaded by mistake.
SAFE_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja"]
HUB_FOLDER = "hub"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1 << 20

log = structlog.get_logger(__name__)


class NotHereYet(RuntimeError):
    """A hub model is not on this machine, and may be downloaded."""


def hub_snapshot(setting: str, name: str, settings: WorkerSettings, *, fetch: bool) -> Path:
    """The folder of a hub model (`owner/name` or `owner/name@revision`) on this machine.

    Downloads it when it is not there yet, `fetch` is true and the settings allow it, within their
    bound. Raises RuntimeError, naming `setting`, when it cannot be had: NotHereYet when it only
    was not to be fetched.
    """
    # huggingface_hub takes a second to import, and most workers name no model of the hub.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = name.partition("@")
    wanted: dict[str, Any] = {
        "repo_id": repository,
        "revision": revision or None,
        "cache_dir": settings.models_folder / HUB_FOLDER,
        "allow_patterns": SAFE_FILES,
        "endpoint": settings.hub_url,
    }
    try:
        return Path(snapshot_download(**wanted, local_files_only=True))
    except EntryNotFoundError:
        pass
    if not settings.hub_downloads:
        raise RuntimeError(
            f"{setting}: {name} is not in {settings.models_folder}, and hub_downloads is off"
        )
    if not fetch:
        raise NotHereYet(f"{setting}: {name} is not in {settings.models_folder} yet")
    return _download(setting, name, wanted, settings.hub_download_bytes_max)


def _download(setting: str, name: str, wanted: dict[str, Any], bytes_max: int) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = snapshot_download(**wanted, dry_run=True)
        size_bytes = sum(one.file_size or 0 for one in files)
        if size_bytes > bytes_max:
            raise RuntimeError(
                f"{setting}: {name} has {size_bytes} bytes, more than hub_download_bytes_max, "
                f"which is {bytes_max}"
            )
        if not any(one.filename.endswith(".safetensors") for one in files):
            raise RuntimeError(f"{setting}: {name} has no .safetensors weights on the hub")
        log.info("downloading a model", model=name, bytes=size_bytes)
        folder = Path(snapshot_download(**wanted))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"{setting}: {name} cannot be downloaded: {error}") from error
    _check_hashes(setting, name, folder)
    return folder


def _check_hashes(setting: str, name: str, folder: Path) -> None:
    """The hub's cache names the file behind a large one by the SHA-256 it was promised to have."""
    for path in folder.rglob("*.safetensors"):
        promised = path.resolve().name
        if _SHA256.fullmatch(promised) is None:
            continue
        digest = hashlib.sha256()
        with path.open("rb") as content:
            while block := content.read(_READ_BYTES):
                digest.update(block)
        if digest.hexdigest() != promised:
            path.resolve().unlink()
            raise RuntimeError(f"{setting}: {path.name} of {name} came damaged; it was removed")
