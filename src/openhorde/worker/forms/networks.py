# SPDX-License-Identifier: AGPL-3.0-or-later
"""Networks that make pictures of pictures, from .safetensors files.

The ESRGAN family is read here. Any other needs spandrel, which recognises some forty by their
weights; it is optional, because it brings torchvision, which must fit the torch that is installed.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from openhorde.worker.forms.rrdb import is_rrdb, load_rrdb
from openhorde.worker.library.devices import choose_device
from openhorde.worker.settings import WorkerSettings

PICKLES = (".pth", ".pt", ".ckpt", ".bin")


class Network(Struct):
    """A network on its device. `enlarge` takes and gives tensors (1, 3, height, width), 0 to 1;
    sides must be multiples of `multiple` and become `scale` times longer."""

    module: torch.nn.Module
    scale: int
    multiple: int
    enlarge: Callable[[torch.Tensor], torch.Tensor]


def why_unreadable(folder: Path | None, name: str) -> str | None:
    """Why a network cannot be had; None when it can. Looks at the file's head only."""
    if folder is None:
        return "post_processors_folder is not set"
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        if any((folder / f"{name}{ending}").is_file() for ending in PICKLES):
            return f"{name} is there as a pickle, which is never read: convert it to {path.name}"
        return f"there is no {path.name} in {folder}"
    try:
        with safe_open(path, framework="numpy") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        return f"{path} is not a safetensors file: {error}"
    return None if is_rrdb(names) else _why_no_spandrel(path.name)


def _why_no_spandrel(file: str) -> str | None:
    """To be installed is not enough: it fails where torchvision does not fit torch."""
    try:
        import_module("spandrel")
    except Exception as error:
        return f"{file} is not of the ESRGAN family; to read it, install spandrel ({error})"
    return None


def load_network(settings: WorkerSettings, name: str) -> Network:
    """The network of that name. Raises RuntimeError, for the owner, when it cannot be had."""
    reason = why_unreadable(settings.post_processors_folder, name)
    if reason is not None or settings.post_processors_folder is None:
        raise RuntimeError(f"{name}: {reason}")
    path = settings.post_processors_folder / f"{name}.safetensors"
    device = choose_device(settings.device)
    try:
        weights = load_file(path)
        if is_rrdb(weights):
            return _of_family(load_rrdb(weights), device)
        return _of_spandrel(weights, device)
    except Exception as error:
        # Weights are others' making, and they can be wrong in any way.
        raise RuntimeError(f"{name}: {path.name} cannot be loaded: {error}") from error


def _of_family(network: Any, device: torch.device) -> Network:
    half = device.type == "cuda"
    network = network.to(device).half() if half else network.to(device)

    def enlarge(tile: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            made: torch.Tensor = network(tile.to(device).half() if half else tile.to(device))
        return made

    return Network(network, network.measures.scale, network.measures.shrink, enlarge)


def _of_spandrel(weights: dict[str, torch.Tensor], device: torch.device) -> Network:
    from spandrel import ImageModelDescriptor, ModelLoader

    model = ModelLoader(device=device).load_from_state_dict(weights)
    if not isinstance(model, ImageModelDescriptor) or (
        model.input_channels != 3 or model.output_channels != 3
    ):
        raise ValueError("it does not turn one colour picture into another")
    model.eval()

    def enlarge(tile: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            if model.architecture.id == "GFPGAN":
                # It was trained on values from -1 to 1, which the descriptor leaves to its user.
                made: torch.Tensor = model.model(tile.to(device) * 2 - 1)[0] / 2 + 0.5
            else:
                made = model(tile.to(device))
        return made

    return Network(model.model, model.scale, 1, enlarge)
