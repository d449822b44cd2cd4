# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finds a model by its name. Looks only: nothing is loaded, and torch is not needed.

A name is empty for the model that ships with the program, or a folder in `models_folder`, or
`owner/name` (or `owner/name@revision`) of the Hugging Face hub. Weights are safetensors or they are
not read: the older formats are pickles, and to open a pickle is to run what it says.
"""

import re
from pathlib import Path

from openhorde.worker.library.hub import NotHereYet, hub_snapshot
from openhorde.worker.library.shipped import shipped
from openhorde.worker.settings import WorkerSettings

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
CONFIG = "config.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def find_model(
    setting: str,
    name: str,
    shipped_name: str | None,
    settings: WorkerSettings,
    *,
    fetch: bool = False,
) -> Path:
    """The folder of a model, found to be one that may be loaded. `shipped_name` is the shipped
    model that an empty name stands for, if there is one.

    `fetch` lets a model of the hub be downloaded, if the settings do. Raises RuntimeError, naming
    `setting`, when the model is not there or must not be read.
    """
    if not name and shipped_name is not None:
        return shipped(shipped_name)
    if ".." in Path(name).parts:
        raise RuntimeError(f"{setting}: {name!r} must not leave models_folder")
    folder = settings.models_folder / name
    if not folder.is_dir():
        if _HUB_NAME.fullmatch(name) is None:
            raise RuntimeError(
                f"{setting}: there is no folder {folder.absolute()}, and {name!r} is no name of "
                "the Hugging Face hub, which is owner/name"
            )
        folder = hub_snapshot(setting, name, settings, fetch=fetch)
    refuse_unsafe(setting, folder)
    return folder


def why_not(
    setting: str, name: str, shipped_name: str | None, settings: WorkerSettings
) -> str | None:
    """Why the model of that name cannot be had; None when it can, be it by a download."""
    try:
        find_model(setting, name, shipped_name, settings)
    except NotHereYet:
        return None
    except RuntimeError as error:
        return str(error)
    return None


def refuse_unsafe(setting: str, folder: Path) -> None:
    """Raise RuntimeError when a folder holds no model, or only one that must not be read."""
    if not (folder / CONFIG).is_file():
        raise RuntimeError(f"{setting}: {folder} holds no {CONFIG}, so it is no model")
    if (folder / "adapter_config.json").exists():
        raise RuntimeError(f"{setting}: {folder} is an adapter to another model, and no model")
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise RuntimeError(
            f"{setting}: {folder} has its weights only as {', '.join(pickles)}; a pickle can run "
            "any program, so only .safetensors is read"
        )
    raise RuntimeError(f"{setting}: {folder} holds no .safetensors weights")
