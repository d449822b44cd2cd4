# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real engines that write text, each a process of its own, serving a tiny model over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from processes import wait_until

from openhorde.cli.private_horde import free_port

LLAMA_SERVER = Path(__file__).parent / "llama_server.py"
MODEL = "tiny"


@dataclass
class TextServer:
    """A running engine. `title` is what the backend is to call it, `model` what it calls its own;
    `context_tokens` is None where it does not tell."""

    title: str
    url: str
    model: str
    context_tokens: int | None
    process: subprocess.Popen[Any]

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


@contextmanager
def transformers_serve(folder: Path, log: Path) -> Iterator[TextServer]:
    """`transformers serve` with the model in a folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # No telemetry, no hub: the model is here.
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *options], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    server = TextServer("the text server", url, str(folder), None, process)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, "transformers serve answers")
        yield server
    finally:
        server.kill()


@contextmanager
def llama_cpp(model: Path, log: Path, context_tokens: int) -> Iterator[TextServer]:
    """llama.cpp's server with the model of a GGUF file."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(LLAMA_SERVER), str(model), MODEL, str(context_tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    assert process.stdin is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://"), log.read_text()
    server = TextServer("llama.cpp", url, MODEL, context_tokens, process)
    try:
        yield server
    finally:
        server.kill()
        process.stdin.close()
        process.stdout.close()
