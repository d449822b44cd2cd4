# SPDX-License-Identifier: AGPL-3.0-or-later
"""The torch that `make` chooses: real pip in an environment of its own, against indexes here."""

import io
import os
import re
import shutil
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "install.py"
[RELEASE] = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


class Indexes:
    """Package indexes by name, on the loopback: `pypi`, and PyTorch's below `whl`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._wheels: dict[str, bytes] = {}
        indexes = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = indexes._answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header(
                    "Content-Type", "text/html" if self.path.endswith("/") else "application/zip"
                )
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def add(self, index: str, version: str) -> None:
        """Offer a torch there, and the package that it needs."""
        for name, release, needs in (("torch", version, "torch-kernel"), ("torch_kernel", "1", "")):
            file = f"{name}-{release}-py3-none-any.whl".replace("+", "%2B")
            path = f"/{index}/{name.replace('_', '-')}/{file}"
            self._wheels[path] = wheel(name, release, needs)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        if not path.endswith("/"):
            return self._wheels.get(path)
        links = [wheel for wheel in self._wheels if wheel.startswith(path)]
        return "".join(f'<a href="{link}">{link.rpartition("/")[2]}</a>' for link in links).encode()


def wheel(name: str, version: str, needs: str) -> bytes:
    """A wheel with nothing in it."""
    packed = io.BytesIO()
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{information}/METADATA", metadata)
        archive.writestr(f"{information}/WHEEL", tags)
        archive.writestr(f"{information}/RECORD", "")
    return packed.getvalue()


@pytest.fixture
def indexes() -> Iterator[Indexes]:
    found = Indexes()
    yield found
    found.close()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder


class Installed:
    """Runs the script in an environment in which nothing is installed yet."""

    def __init__(self, environment: Path, indexes: Indexes, home: Path) -> None:
        self._python = environment / "bin" / "python"
        self._indexes = indexes
        [self._packages] = environment.glob("lib/python*/site-packages")
        for folder in self._packages.glob("torch*"):
            shutil.rmtree(folder)
        self.commands = home / "commands"
        self.commands.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        self.variables = kept | {
            "HOME": str(home),
            "PATH": f"{self.commands}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_INDEX_URL": f"{indexes.url}/pypi",
            "TORCH_INDEX": f"{indexes.url}/whl",
        }

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What it prints."""
        done = subprocess.run(
            [self._python, SCRIPT, *arguments],
            capture_output=True,
            text=True,
            env=self.variables,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def command(self, name: str, prints: str, status: int = 0) -> None:
        """Let there be a command of that name."""
        file = self.commands / name
        file.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
        file.chmod(0o755)

    @property
    def torch(self) -> list[str]:
        """What lies in the environment now, torch and what it needs."""
        return sorted(
            file.name.removesuffix(".dist-info") for file in self._packages.glob("torch*.dist-info")
        )


@pytest.fixture
def install(environment: Path, indexes: Indexes, tmp_path: Path) -> Installed:
    indexes.add("pypi", RELEASE)
    return Installed(environment, indexes, tmp_path)


BUILT_ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="one build fits all there")


@BUILT_ON_LINUX
@pytest.mark.parametrize("choice", ["cpu", "auto"])
def test_without_a_gpu_the_cpu_build_comes_from_pytorchs_index(
    install: Installed, indexes: Indexes, choice: str
) -> None:
    indexes.add("whl/cpu", f"{RELEASE}+cpu")
    assert "190 MB" in install("--torch", choice)
    assert install.torch == [f"torch-{RELEASE}+cpu"]
    assert {path for path in indexes.asked if path.startswith("/whl")} == {
        "/whl/cpu/torch/",
        f"/whl/cpu/torch/torch-{RELEASE}%2Bcpu-py3-none-any.whl",
    }


def test_a_folder_of_pips_own_configuration_wins(
    install: Installed, indexes: Indexes, tmp_path: Path
) -> None:
    indexes.add("whl/cpu", f"{RELEASE}+cpu")
    folder = tmp_path / "wheels"
    folder.mkdir()
    name = f"torch-{RELEASE}+cpu"
    (folder / f"{name}-py3-none-any.whl").write_bytes(wheel("torch", f"{RELEASE}+cpu", ""))
    install.variables["PIP_FIND_LINKS"] = str(folder)
    install("--torch", "cpu")
    assert install.torch == [name]
    assert not [path for path in indexes.asked if path.startswith("/whl")]


@pytest.mark.parametrize("reason", ["out of reach", "without this release"])
def test_where_there_is_no_cpu_build_the_one_of_pypi_must_do(
    install: Installed, indexes: Indexes, reason: str
) -> None:
    indexes.add("whl/cpu", "1.0.0+cpu")
    if reason == "out of reach":
        install.variables["TORCH_INDEX"] = NOWHERE
    told = install("--torch", "cpu")
    assert "several gigabytes" in told
    assert install.torch == [f"torch-{RELEASE}", "torch_kernel-1"]


@BUILT_ON_LINUX
@pytest.mark.parametrize(
    ("command", "prints", "status", "build"),
    [
        ("nvidia-smi", "GPU 0: a card", 0, ""),
        ("nvidia-smi", "No devices were found", 0, "+cpu"),
        ("nvidia-smi", "GPU lost, no driver", 9, "+cpu"),
        ("rocminfo", "  Device Type:   GPU", 0, "+rocm6.4"),
        ("rocminfo", "  Device Type:   CPU", 0, "+cpu"),
    ],
)
def test_auto_looks_for_a_gpu(
    install: Installed, indexes: Indexes, command: str, prints: str, status: int, build: str
) -> None:
    indexes.add("whl/cpu", f"{RELEASE}+cpu")
    indexes.add("whl/rocm6.4", f"{RELEASE}+rocm6.4")
    install.command(command, prints, status)
    install("--torch", "auto")
    assert install.torch[0] == f"torch-{RELEASE}{build}"


@pytest.mark.parametrize(
    ("choice", "build"),
    [("cuda", ""), ("rocm", "+rocm7.1"), ("rocm6.4", "+rocm6.4"), ("cu126", "+cu126")],
)
def test_a_build_for_a_gpu_that_was_asked_for(
    install: Installed, indexes: Indexes, choice: str, build: str
) -> None:
    for name in ("cpu", "rocm6.4", "rocm7.1", "cu126"):
        indexes.add(f"whl/{name}", f"{RELEASE}+{name}")
    # Whatever is there already.
    install("--torch", "cpu")
    assert "gigabytes" in install("--torch", choice)
    assert install.torch == [f"torch-{RELEASE}{build}", "torch_kernel-1"]
    # A torch that fits is kept, unless another is asked for by name.
    for again in (choice, "auto"):
        indexes.asked.clear()
        install("--torch", again)
        assert not indexes.asked
    assert install.torch == [f"torch-{RELEASE}{build}", "torch_kernel-1"]
    install("--torch", "cpu")
    assert install.torch[0] == f"torch-{RELEASE}+cpu"


def test_a_build_that_is_not_to_be_had_says_what_else_to_do(install: Installed) -> None:
    for choice, named in (("rocm", "/whl/rocm6.4"), ("cu999", "/whl/cu999")):
        told = install("--torch", choice, status=1)
        assert named in told
        assert "TORCH=" in told
    assert "TORCH=gpu is no build" in install("--torch", "gpu", status=1)
    assert not install.torch


def test_what_pip_prints_becomes_a_line_of_progress(install: Installed) -> None:
    told = install("--torch", "cuda")
    assert re.search(r"  packages: 2, MB fetched: \d+; unpacking", told)
