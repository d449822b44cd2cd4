# SPDX-License-Identifier: AGPL-3.0-or-later
"""Installs openhorde into the environment of the Python that runs this: torch first, then the rest.

make runs it, with its variable TORCH as --torch:
  auto  keeps a torch that is installed; else looks for a GPU (nvidia-smi, rocminfo), else cpu
  cpu   from pip's own configuration where that has it, else from PyTorch's index; where neither
        does, what PyPI has, which on Linux is the CUDA build
  cuda  the CUDA build of PyPI
  rocm  from the newest of PyTorch's ROCm indexes that has this release
  cu126, rocm6.4 and the like: from PyTorch's index of that name
The environment variable TORCH_INDEX names a mirror of PyTorch's indexes.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
TORCH_INDEX = "https://download.pytorch.org/whl"
ROCM_INDEXES = ("rocm7.2", "rocm7.1", "rocm7.0", "rocm6.4")
CHOICES = re.compile(r"auto|cpu|cuda|rocm|cu\d+|rocm\d+(\.\d+)+")
PROBE_SECONDS = 5
NEWS_SECONDS = 10.0
MEGABYTES = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class Progress:
    """What pip has done so far, by what it prints."""

    def __init__(self) -> None:
        self._packages = 0
        self._megabytes = 0.0
        self._doing = "looking for packages"

    def read_all(self, lines: Iterable[str]) -> None:
        """Take note of all that pip prints, until it ends."""
        for line in lines:
            self._read(line)

    def _read(self, line: str) -> None:
        fetched = re.match(r"\s*(?:Downloading|Using cached) (\S+) \(([\d.]+) (kB|MB|GB)\)", line)
        if line.startswith(("Collecting ", "Processing ")):
            self._packages += 1
        elif fetched and not fetched[1].endswith(".metadata"):
            self._megabytes += float(fetched[2]) * MEGABYTES[fetched[3]]
            self._doing = f"fetching {fetched[1]} ({fetched[2]} {fetched[3]})"
        elif line.startswith("Installing collected packages"):
            self._doing = "unpacking them all, which takes a minute or more"

    def told(self) -> str:
        """One line for a person."""
        return f"  packages: {self._packages}, MB fetched: {self._megabytes:.0f}; {self._doing}"


def main() -> None:
    """Read the arguments, then install. Ends with pip's exit status where pip fails."""
    parser = argparse.ArgumentParser(description="Install openhorde and the torch that fits.")
    parser.add_argument("--torch", help="auto, cpu, cuda, rocm, cu126, rocm6.4 ...")
    parser.add_argument("--extras", help="openhorde itself, with these extras")
    given = parser.parse_args()
    if given.torch is not None:
        _check(given.torch)
        install_torch(given.torch)
    if given.extras is not None:
        pip_install(["-c", str(CONSTRAINTS), "-e", f"{ROOT}[{given.extras}]"])


def _check(choice: str) -> None:
    if not CHOICES.fullmatch(choice):
        sys.exit(
            f"TORCH={choice} is no build of torch: give auto, cpu, cuda, rocm, or the name of"
            " one of PyTorch's indexes, such as cu126 or rocm6.4"
        )


def install_torch(choice: str) -> None:
    """Install the torch that constraints.txt names, in the build that was chosen."""
    release = pinned_release()
    there = installed_release()
    if choice == "auto":
        if there is not None and there.partition("+")[0] == release:
            return
        choice = choice_for_this_machine()
    if there is not None and is_build(there, release, choice):
        return
    if choice == "cpu":
        _install_cpu_build(release)
    elif choice == "cuda":
        say("installing torch for CUDA: a download of several gigabytes")
        # Three equal signs: not the CPU build of the same release.
        pip_install([f"torch==={release}"])
    elif choice == "plain":
        say("installing torch: a download of about 100 MB")
        pip_install([f"torch=={release}"])
    else:
        _install_from_index(release, choice)


def _install_cpu_build(release: str) -> None:
    build = f"{release}+cpu"
    index = index_address("cpu")
    if build in offered([]):
        where = []
    elif build in offered(["--index-url", index]):
        where = ["--index-url", index]
    else:
        say(
            f"{index} cannot be reached or has no torch {build}, so torch comes from PyPI: on Linux"
            "\nthat is the build for CUDA, several gigabytes. It runs without a GPU, too."
        )
        pip_install([f"torch=={release}"])
        return
    say("installing torch for the CPU: a download of about 190 MB")
    # Alone: all that torch needs is on PyPI, and comes with the rest.
    pip_install([*where, "--no-deps", f"torch=={build}"])


def _install_from_index(release: str, choice: str) -> None:
    names = ROCM_INDEXES if choice == "rocm" else (choice,)
    for name in names:
        where = ["--index-url", index_address(name)]
        if f"{release}+{name}" in offered(where):
            say(f"installing torch for {name}: a download of several gigabytes")
            pip_install([*where, f"torch=={release}+{name}"])
            return
    sys.exit(
        f"none of {', '.join(map(index_address, names))} can be reached and has torch {release}."
        "\nGive another TORCH=, such as cpu; or install a torch of this release into the"
        "\nenvironment yourself, which TORCH=auto then keeps."
    )


def pinned_release() -> str:
    """The release of torch that constraints.txt names."""
    [release] = re.findall(r"^torch==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    return str(release)


def installed_release() -> str | None:
    """The torch of this environment with its build, such as 2.13.0+cpu."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def is_build(there: str, release: str, choice: str) -> bool:
    """Whether an installed torch is the release and build that was chosen."""
    plain, _, build = there.partition("+")
    if plain != release:
        return False
    if choice == "cuda":
        return not build or build.startswith("cu")
    return build.startswith("rocm") if choice == "rocm" else build == choice


def choice_for_this_machine() -> str:
    """What auto stands for here."""
    if sys.platform != "linux":
        return "plain"
    if answers(["nvidia-smi", "-L"]):
        return "cuda"
    return "rocm" if answers(["rocminfo"]) else "cpu"


def answers(command: Sequence[str]) -> bool:
    """Whether a command is there, succeeds, and names a GPU."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "GPU" in done.stdout


def index_address(name: str) -> str:
    """The address of one of PyTorch's indexes."""
    return f"{os.environ.get('TORCH_INDEX') or TORCH_INDEX}/{name}"


def offered(where: Sequence[str]) -> list[str]:
    """The releases of torch that pip finds there, besides its own configuration; asks briefly."""
    asked = [*PIP, "index", "versions", "torch", *where]
    asked += ["--retries", "0", "--timeout", str(PROBE_SECONDS)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    return found[1].split(", ") if found else []


def pip_install(arguments: Sequence[str]) -> None:
    """Run pip: on a terminal it shows its own progress, elsewhere a line tells it now and then."""
    command = [*PIP, "install", *arguments]
    if sys.stdout.isatty():
        status = subprocess.run(command, check=False).returncode
    else:
        status = _run_quietly(command)
    if status:
        sys.exit(status)


def _run_quietly(command: Sequence[str]) -> int:
    progress = Progress()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as pip:
        assert pip.stdout is not None
        reader = threading.Thread(target=progress.read_all, args=[pip.stdout])
        reader.start()
        while reader.is_alive():
            reader.join(NEWS_SECONDS)
            say(progress.told())
        return pip.wait()


def say(text: str) -> None:
    """Print at once, so that a log shows it when it happens."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
