# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models are found by name; a pickle is never opened, wherever it lies."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from openhorde.worker.forms.caption import Caption
from openhorde.worker.library.folders import find_model, why_not
from openhorde.worker.library.loading import load_model
from openhorde.worker.library.shipped import shipped
from openhorde.worker.settings import WorkerSettings, load_settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def settings(models_folder: Path, **changes: Any) -> WorkerSettings:
    return load_settings(None, None, {"models_folder": models_folder, "device": "cpu"} | changes)


class Trap:
    """Makes a folder of this name when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._path),)


def put_trap(model: str, folder: Path, sprung: Path) -> None:
    """Copy a shipped model, with its weights replaced by a pickle that makes a folder."""
    shutil.copytree(shipped(model), folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))


def put_into_hub(folder: Path, models_folder: Path, name: str) -> Path:
    """Lay a model out as the hub's cache does, and return its snapshot."""
    home = models_folder / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_the_trap_of_these_tests_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").is_dir()


def test_an_empty_name_is_the_shipped_model(tmp_path: Path) -> None:
    assert find_model("caption_model", "", "caption", settings(tmp_path)) == shipped("caption")


def test_a_folder_comes_before_the_hub(tmp_path: Path) -> None:
    shutil.copytree(shipped("text"), tmp_path / "owner" / "name")
    found = find_model("text_models", "owner/name", "text", settings(tmp_path))
    assert found == tmp_path / "owner" / "name"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../elsewhere", "must not leave models_folder"),
        ("nowhere", "caption_model: there is no folder .*owner/name"),
        ("owner/name", "caption_model: owner/name is not in .*hub_downloads is off"),
        ("empty", "holds no config.json"),
        ("adapter", "is an adapter"),
        ("weightless", "holds no .safetensors weights"),
    ],
)
def test_a_model_that_cannot_be_had_is_told(tmp_path: Path, name: str, reason: str) -> None:
    for folder in ("empty", "adapter", "weightless"):
        (tmp_path / folder).mkdir()
    for folder in ("adapter", "weightless"):
        (tmp_path / folder / "config.json").write_text("{}")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(RuntimeError, match=reason):
        find_model("caption_model", name, "caption", settings(tmp_path), fetch=True)
    assert why_not("caption_model", name, "caption", settings(tmp_path)) is not None


def test_what_may_be_downloaded_is_no_obstacle(tmp_path: Path) -> None:
    allowed = settings(tmp_path, hub_downloads=True)
    assert why_not("caption_model", "owner/name", "caption", allowed) is None


def test_a_model_in_the_hubs_cache_needs_no_network(tmp_path: Path) -> None:
    snapshot = put_into_hub(shipped("text"), tmp_path, "owner/name")
    assert find_model("text_models", "owner/name", "text", settings(tmp_path)) == snapshot
    named = f"owner/name@{COMMIT}"
    assert find_model("text_models", named, "text", settings(tmp_path)) == snapshot


def test_a_pickle_in_a_folder_is_refused_and_never_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    put_trap("caption", tmp_path / "trap", sprung)
    form = Caption(settings(tmp_path, caption_model="trap"))
    with pytest.raises(RuntimeError, match=r"pytorch_model\.bin; a pickle can run any program"):
        form.open()
    assert "pytorch_model.bin" in str(Caption.obstacle(settings(tmp_path, caption_model="trap")))
    assert not sprung.exists()


def test_a_pickle_of_the_hub_is_refused_and_never_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    put_trap("text", tmp_path / "trap", sprung)
    put_into_hub(tmp_path / "trap", tmp_path, "evil/model")
    with pytest.raises(RuntimeError, match=r"text_models: .*pytorch_model\.bin"):
        find_model("text_models", "evil/model", "text", settings(tmp_path))
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("kind", "model"), [(AutoModelForImageTextToText, "caption"), (AutoModelForCausalLM, "text")]
)
def test_the_loader_opens_no_pickle_even_if_nobody_looked(
    tmp_path: Path, kind: Any, model: str
) -> None:
    sprung = tmp_path / "sprung"
    put_trap(model, tmp_path / "trap", sprung)
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        load_model(kind, tmp_path / "trap", torch.device("cpu"))
    assert not sprung.exists()


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    folder = tmp_path / "coded"
    shutil.copytree(shipped("text"), folder)
    (folder / "config.json").write_text(
        '{"model_type": "coded", "auto_map": {"AutoConfig": "coded.Config",'
        ' "AutoModelForCausalLM": "coded.Model"}}'
    )
    (folder / "coded.py").write_text(f"import os\nos.mkdir({str(sprung)!r})\n")
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        load_model(AutoModelForCausalLM, folder, torch.device("cpu"))
    assert not sprung.exists()


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(shipped("text"), folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RuntimeError, match="damaged cannot be loaded"):
        load_model(AutoModelForCausalLM, folder, torch.device("cpu"))
