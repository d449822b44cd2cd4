# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings for the forms, and small networks of the kinds that post-processors read."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from openhorde.worker.forms.rrdb import Measures, Rrdb
from openhorde.worker.settings import WorkerSettings, load_settings

Settings = Callable[..., WorkerSettings]
STRANGERS_WARNINGS = ("ignore:__array:DeprecationWarning",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in STRANGERS_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def upscaler() -> Callable[..., Rrdb]:
    """Makes a small random network of the ESRGAN family, four times larger unless told."""

    def make(**changes: int) -> Rrdb:
        torch.manual_seed(1)
        torch.set_num_threads(1)
        measures: dict[str, Any] = {
            "blocks": 1,
            "features": 8,
            "growth": 4,
            "doublings": 2,
            "shrink": 1,
            "colours_out": 3,
        }
        return Rrdb(Measures(**(measures | changes))).eval()

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose models and post-processors are in `tmp_path`; keywords change them."""

    def with_changes(**changes: Any) -> WorkerSettings:
        flags = {"models_folder": tmp_path, "post_processors_folder": tmp_path, "device": "cpu"}
        return load_settings(None, None, flags | changes)

    return with_changes


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, dict[str, torch.Tensor]], Path]:
    """Keeps weights under a post-processor's name."""

    def keep(name: str, weights: dict[str, torch.Tensor]) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_file({key: one.contiguous() for key, one in weights.items()}, path)
        return path

    return keep


@pytest.fixture(scope="session")
def noise() -> Callable[[int, int], Image.Image]:
    """Makes a picture of noise in colours."""

    def make(width: int, height: int) -> Image.Image:
        bands = [Image.effect_noise((width, height), 80) for _ in range(3)]
        return Image.merge("RGB", bands)

    return make


class StandIn:
    """Has the face of a model that spandrel has recognised: it doubles."""

    def __init__(self, identity: str = "DAT", channels: int = 3, scale: int = 2) -> None:
        self.model: Any = torch.nn.Upsample(scale_factor=scale)
        self.scale = scale
        self.input_channels = self.output_channels = channels
        self.architecture = types.SimpleNamespace(id=identity)

    def eval(self) -> "StandIn":
        return self

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.model(picture)
        return made


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a module in the place of spandrel; `found` is what it recognises."""
    module: Any = types.ModuleType("spandrel")
    module.__spec__ = types.SimpleNamespace()
    module.found = StandIn()
    module.ImageModelDescriptor = StandIn
    loader = types.SimpleNamespace(load_from_state_dict=lambda weights: module.found)
    module.ModelLoader = lambda device: loader
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module
