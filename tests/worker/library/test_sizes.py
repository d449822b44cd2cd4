# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measured sizes outlive the process."""

from pathlib import Path

from openhorde.worker.library.sizes import Sizes, size_on_disk


def test_sizes_are_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    sizes = Sizes(folder)
    assert sizes.get("model") is None
    sizes.remember("model", 5)
    sizes.remember("other", 7)
    sizes.remember("model", 6)
    assert Sizes(folder).known() == {"model": 6, "other": 7}
    assert [path.name for path in folder.iterdir()] == ["sizes.json"]


def test_a_broken_file_is_measured_anew(tmp_path: Path) -> None:
    (tmp_path / "sizes.json").write_text('{"model": "large"}')
    sizes = Sizes(tmp_path)
    assert sizes.known() == {}
    sizes.remember("model", 5)
    assert Sizes(tmp_path).get("model") == 5


def test_without_a_folder_they_last_as_long_as_the_process() -> None:
    sizes = Sizes(None)
    sizes.remember("model", 5)
    assert sizes.get("model") == 5


def test_only_weights_count(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "a.safetensors").write_bytes(b"12345")
    (tmp_path / "notes.txt").write_bytes(b"123")
    assert size_on_disk(tmp_path) == size_on_disk(tmp_path / "unet" / "a.safetensors") == 5
