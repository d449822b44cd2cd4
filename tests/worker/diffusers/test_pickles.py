# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pickle runs what its maker wants as soon as it is opened; none is, wherever it lies."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from openhorde.worker.backends.base import Adapter, Embedding, Note


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The folder that is there when the trap was opened."""
    return tmp_path / "sprung"


@pytest.fixture
def trap(sprung: Path) -> bytes:
    """A pickle that makes it; that it works is tried first."""
    content = pickle.dumps(Trap(sprung))
    pickle.loads(content)
    assert sprung.is_dir()
    sprung.rmdir()
    return content


ENDINGS = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".safetensors")


def test_beside_the_models(
    open_studio: Any, models_folder: Path, tmp_path: Path, trap: bytes, sprung: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(models_folder / "tiny", models / "tiny")
    for ending in ENDINGS[:-1]:
        (models / f"model{ending}").write_bytes(trap)
    studio = open_studio(models)
    assert studio.capabilities.models == ["tiny"]
    assert len(studio.draw()) == 1
    (models / "model.safetensors").write_bytes(trap)
    with pytest.raises(RuntimeError, match="not a safetensors file"):
        open_studio(models)
    assert not sprung.exists()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("ending", [".bin", ".ckpt", ".safetensors"])
def test_inside_a_model(
    open_studio: Any,
    models_folder: Path,
    tmp_path: Path,
    trap: bytes,
    sprung: Path,
    part: str,
    ending: str,
) -> None:
    models = tmp_path / "models"
    shutil.copytree(models_folder / "tiny", models / "trapped")
    shutil.copytree(models_folder / "tiny", models / "well")
    (weights,) = (models / "trapped" / part).glob("*.safetensors")
    weights.unlink()
    weights.with_suffix(ending).write_bytes(trap)
    (weights.parent / "pytorch_model.bin").write_bytes(trap)
    assert open_studio(models).capabilities.models == ["well"]
    assert not sprung.exists()


@pytest.mark.parametrize("ending", ENDINGS)
def test_among_adapters(
    open_studio: Any, tmp_path: Path, trap: bytes, sprung: Path, ending: str
) -> None:
    (tmp_path / f"style{ending}").write_bytes(trap)
    studio = open_studio(loras_folder=tmp_path, embeddings_folder=tmp_path)
    (artifact,) = studio.draw(
        loras=[Adapter(name="style")], embeddings=[Embedding(name="style", inject="prompt")]
    )
    value: Any = "parse_failed" if ending == ".safetensors" else "download_failed"
    assert artifact.notes == [
        Note(type="lora", value=value, ref="style"),
        Note(type="ti", value=value, ref="style"),
    ]
    assert not sprung.exists()


@pytest.mark.parametrize("ending", [".bin", ".safetensors"])
def test_as_a_safety_model(
    open_studio: Any, classifier: Any, trap: bytes, sprung: Path, ending: str
) -> None:
    folder = classifier(["sfw", "nsfw"], 0)
    (folder / "model.safetensors").unlink()
    (folder / f"model{ending}").write_bytes(trap)
    (folder / "pytorch_model.bin").write_bytes(trap)
    with pytest.raises(RuntimeError, match="safety_model"):
        open_studio(safety_model=folder)
    assert not sprung.exists()
