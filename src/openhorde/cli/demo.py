# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde demo`: start a private horde, have a picture drawn and captioned by its API, stop it."""

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from openhorde.cli.drawing import Drawn, draw, report, usable_target
from openhorde.cli.extras import needs_everything
from openhorde.cli.looking import look_at
from openhorde.cli.options import connect
from openhorde.cli.private_horde import (
    DEMO_MODEL,
    Parts,
    PrivateHorde,
    PrivateHordeFailure,
    free_port,
)
from openhorde.cli.screen import escape, messages, output
from openhorde.cli.signals import Stopped, until_stopped
from openhorde.cli.voice import Voice
from openhorde.client import AskedForm, AsyncHorde, HordeError

INTERRUPTED = 130
# What the demo model was trained for.
SETTINGS: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "steps": 20,
    "cfg_scale": 5.0,
    "models": [DEMO_MODEL],
    "wait_for_workers": False,
}


def demo(
    prompt: Annotated[
        str, typer.Option(help="What to draw: a coloured shape on a coloured background.")
    ] = "a red circle on a blue background",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write: .webp, .png or .jpg.")
    ] = Path("circle.webp"),
    data: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the horde in.", show_default="a temporary one"),
    ] = None,
) -> None:
    """Run everything once on this machine: server, database, worker and small real models.

    They draw a picture, then describe it.
    """
    needs_everything()
    usable_target(out)
    try:
        shown = asyncio.run(run_demo(prompt, out, data))
    except Stopped:
        raise typer.Exit(INTERRUPTED) from None
    console = output()
    report(shown.drawn, console)
    console.print(f"the horde sees: [bold]{escape(shown.caption)}[/]", soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a demo has to show: the picture, and what the horde sees in it."""

    drawn: Drawn
    caption: str


async def run_demo(prompt: str, out: Path, data: Path | None, parts: Parts | None = None) -> Shown:
    """Start, draw, describe, stop; in a temporary folder if none is given."""
    found: list[Shown] = []
    # PostgreSQL may still be closing a file when the folder goes.
    with tempfile.TemporaryDirectory(
        prefix="openhorde-demo-", ignore_cleanup_errors=True
    ) as temporary:
        voice = Voice(messages())
        horde = PrivateHorde(
            data or Path(temporary),
            port=free_port(),
            environment=demo_environment(os.environ),
            say=voice.say,
            note=voice.note,
            parts=parts,
        )

        async def show() -> None:
            found.append(await _show(horde, voice, prompt, out))

        await until_stopped(show(), horde.hurry)
    return found[0]


def demo_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """This environment without settings of other hordes: a demo must not touch their database."""
    kept = {name: value for name, value in environ.items() if not name.startswith("OPENHORDE_")}
    return {**kept, "OPENHORDE_RATE_LIMITS": "off"}


async def _show(horde: PrivateHorde, voice: Voice, prompt: str, out: Path) -> Shown:
    started = time.monotonic()
    voice.spin()
    try:
        async with horde:
            voice.rest()
            start_up_seconds = time.monotonic() - started
            try:
                async with connect(horde.url, horde.api_key) as client:
                    drawn = await draw(client, prompt, out, dict(SETTINGS), messages())
                    shown = await _describe(client, drawn)
            except HordeError as error:
                raise PrivateHordeFailure(str(error), horde.log_tails()) from error
            voice.spin()
    finally:
        voice.rest()
    seconds = {"start-up": start_up_seconds, **shown.drawn.seconds}
    return replace(shown, drawn=replace(shown.drawn, seconds=seconds))


async def _describe(client: AsyncHorde, drawn: Drawn) -> Shown:
    """Have the file that was written looked at, like any other."""
    began = time.monotonic()
    form = AskedForm(name="caption")
    [seen] = await look_at(client, [str(drawn.files[0])], form, messages())
    if seen.failure is not None:
        raise HordeError(0, None, seen.failure)
    seconds = {**drawn.seconds, "looking": time.monotonic() - began}
    kudos = drawn.kudos + (seen.kudos or 0.0)
    return Shown(drawn=replace(drawn, kudos=kudos, seconds=seconds), caption=seen.value)
