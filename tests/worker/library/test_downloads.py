# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and embeddings that a job names are fetched, kept, and make room for each other."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from openhorde.worker.library.adapters import (
    About,
    choose_trigger,
    fetched_name,
    find_adapter,
    read_about,
)
from openhorde.worker.library.disk import make_disk_room
from openhorde.worker.library.downloads import Downloads
from openhorde.worker.settings import load_settings


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept(folder: Path) -> list[Path]:
    return list(folder.rglob("*.safetensors"))


@pytest.fixture
def downloads(files: Any, fetcher: Any, tmp_path: Path) -> Any:
    """Makes downloads into `tmp_path/cache` from the host of files."""

    def make(**changes: Any) -> Downloads:
        flags = {
            "cache_folder": tmp_path / "cache",
            "version_url": files.url("versions/{version}"),
            "model_url": files.url("models/{model}"),
        }
        return Downloads(load_settings(None, None, flags | changes), fetcher())

    return make


async def test_a_version_is_looked_up_fetched_and_found(
    files: Any, downloads: Any, told: Any, weights: bytes, tmp_path: Path
) -> None:
    files.files["versions/12"] = told(files.url("download"), weights)
    files.files["download"] = weights
    both = downloads()
    assert await both.have("loras", "12", is_version=True)
    found = find_adapter("loras", "12", True, None, tmp_path / "cache")
    assert found is not None
    assert found.read_bytes() == weights
    about = read_about(found)
    assert (about.triggers, about.family) == (["stylish"], "stable_diffusion")
    assert await both.have("loras", "12", is_version=True)
    assert files.asked == ["files.test/versions/12", "files.test/download"]
    assert find_adapter("loras", "12", False, None, tmp_path / "cache") is None
    assert find_adapter("embeddings", "12", True, None, tmp_path / "cache") is None


async def test_a_number_alone_is_the_newest_version(
    files: Any, downloads: Any, told: Any, weights: bytes, tmp_path: Path
) -> None:
    newest = told(files.url("download"), weights).decode()
    files.files["models/7"] = f'{{"modelVersions": [{newest}, {{"id": 1}}]}}'.encode()
    files.files["download"] = weights
    assert await downloads().have("embeddings", "7")
    assert find_adapter("embeddings", "7", False, None, tmp_path / "cache") is not None


async def test_a_url_says_what_it_leads_to(
    files: Any, downloads: Any, weights: bytes, tmp_path: Path
) -> None:
    files.files["a"] = weights
    name = f"{files.url('a')}#sha256={sha256(weights)}"
    assert await downloads().have("loras", name)
    assert find_adapter("loras", name, False, None, tmp_path / "cache") is not None
    assert not await downloads().have("loras", files.url("a"))
    assert not await downloads().have("loras", f"{files.url('a')}#sha256={'0' * 64}")
    assert len(list((tmp_path / "cache" / "loras").glob("*.safetensors"))) == 1


async def test_what_is_in_the_owners_folder_is_not_fetched(
    files: Any, downloads: Any, weights: bytes, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "12.safetensors").write_bytes(weights)
    assert await downloads(loras_folder=tmp_path / "mine").have("loras", "12")
    assert files.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sizeKB": 2048},
        {"hashes": {}},
        {"hashes": {"SHA256": "short"}},
        {"name": "style.ckpt"},
        {"downloadUrl": "http://elsewhere.test/download"},
        {"downloadUrl": ""},
        {"sizeKB": "large"},
    ],
)
async def test_a_catalogue_is_not_believed(
    files: Any, downloads: Any, told: Any, weights: bytes, tmp_path: Path, changes: dict[str, Any]
) -> None:
    files.files["versions/12"] = told(files.url("download"), weights, **changes)
    files.files["download"] = weights
    assert not await downloads(download_mib_max=1).have("loras", "12", is_version=True)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("name", ["style", "../style", "12 ", "１２", "-1", ""])
async def test_a_name_that_is_no_number_and_no_url_cannot_be_fetched(
    files: Any, downloads: Any, name: str
) -> None:
    assert fetched_name(name, is_version=False) is None
    assert not await downloads().have("loras", name)
    assert files.asked == []


async def test_without_a_cache_nothing_is_fetched(files: Any, downloads: Any) -> None:
    assert not await downloads(cache_folder=None).have("loras", "12", is_version=True)
    assert files.asked == []


async def test_the_least_recently_used_makes_room(
    files: Any, downloads: Any, tmp_path: Path
) -> None:
    large = save({"lora_A": np.zeros(100_000, dtype=np.float32)})
    both = downloads(cache_disk_mib=1)
    names = []
    for index in range(4):
        files.files[str(index)] = large
        names.append(f"{files.url(str(index))}#sha256={sha256(large)}")
    cache = tmp_path / "cache"
    for when, name in enumerate(names[:2]):
        assert await both.have("loras", name)
        os.utime(find_adapter("loras", name, False, None, cache) or "", (when, when))
    assert await both.have("embeddings", names[2])
    here = [find_adapter("loras", name, False, None, cache) is not None for name in names[:2]]
    assert here == [False, True]
    assert find_adapter("embeddings", names[2], False, None, cache) is not None
    assert len(list(cache.rglob("*.json"))) == 2


async def test_what_is_larger_than_the_whole_cache_is_not_kept(
    files: Any, downloads: Any, tmp_path: Path
) -> None:
    large = save({"lora_A": np.zeros(300_000, dtype=np.float32)})
    files.files["a"] = large
    name = f"{files.url('a')}#sha256={sha256(large)}"
    assert not await downloads(cache_disk_mib=1).have("loras", name)
    assert kept(tmp_path) == []


def test_room_is_made_for_no_more_than_there_may_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 may be kept"):
        make_disk_room(tmp_path, "*", 3, 2)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, None),
        ("any", "bright colours"),
        ("ink", "ink drawing"),
        ("INK", "ink drawing"),
        ("sketchh", "sketch"),
        ("photograph", None),
    ],
)
def test_the_nearest_trigger_is_chosen(wanted: str | None, chosen: str | None) -> None:
    triggers = ["bright colours", "ink drawing", "black ink drawing", "sketch"]
    assert choose_trigger(triggers, wanted) == chosen
    assert choose_trigger([], wanted) is None


@pytest.mark.parametrize(
    ("baseline", "family"),
    [
        ("SD 1.5", "stable_diffusion"),
        ("sd_v1", "stable_diffusion"),
        ("stable-diffusion-v1/lora", "stable_diffusion"),
        ("SD 2.1 768", "stable_diffusion_2"),
        ("SDXL 1.0", "stable_diffusion_xl"),
        ("sdxl_base_v1-0", "stable_diffusion_xl"),
        ("stable-diffusion-xl-v1-base/lora", "stable_diffusion_xl"),
        ("Pony", "stable_diffusion_xl"),
        ("Flux.1 D", "other"),
        (None, None),
    ],
)
def test_words_for_baselines_are_understood(baseline: str | None, family: str | None) -> None:
    assert About(baseline=baseline).family == family


def test_a_file_tells_of_itself_and_what_lies_beside_it_tells_more(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    header = {"modelspec.trigger_phrase": "inky", "modelspec.architecture": "stable-diffusion-v1"}
    save_file({"lora_A": np.zeros(2, dtype=np.float32)}, path, header)
    assert read_about(path) == About(triggers=["inky"], baseline="stable-diffusion-v1")
    path.with_suffix(".json").write_text('{"triggers": ["wet ink"], "baseline": "SDXL"}')
    assert read_about(path) == About(triggers=["wet ink"], baseline="SDXL")
    path.with_suffix(".json").write_text("not JSON")
    assert read_about(path).triggers == ["inky"]
    path.write_bytes(b"not at all")
    with pytest.raises(ValueError, match="safetensors"):
        read_about(path)
