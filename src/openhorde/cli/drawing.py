# SPDX-License-Identifier: AGPL-3.0-or-later
"""One request from the command line to files: submit, watch, download, save, report."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from openhorde.cli.progress import RequestProgress
from openhorde.cli.screen import escape, kudos_text, seconds_text, tell
from openhorde.client import AsyncHorde, HordeError, Picture, QueuedImage
from openhorde.client.metadata import picture_format


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What came of a request: the files, what they cost and where the time went."""

    request_id: str
    pictures: list[Picture]
    files: list[Path]
    kudos: float
    seconds: dict[str, float]

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "id": self.request_id,
            "kudos": self.kudos,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "pictures": [
                {
                    "file": str(file),
                    "id": picture.id,
                    "seed": picture.seed,
                    "model": picture.model,
                    "worker_id": picture.worker_id,
                    "worker_name": picture.worker_name,
                    "censored": picture.censored,
                    "gen_metadata": picture.gen_metadata,
                    "kudos": picture.kudos,
                }
                for file, picture in zip(self.files, self.pictures, strict=True)
            ],
        }


def usable_target(out: Path) -> Path:
    """`out`, if a picture can be written there: known before a request is paid for."""
    try:
        picture_format(out.suffix)
    except ValueError as error:
        raise HordeError(0, None, f"--out {out}: {error}.") from None
    if not out.absolute().parent.is_dir():
        raise HordeError(0, None, f"--out {out}: there is no folder {out.absolute().parent}.")
    return out


def target_files(out: Path, count: int) -> list[Path]:
    """`out` itself for one picture; with -1, -2 ... before the suffix for several."""
    if count == 1:
        return [out]
    return [out.with_stem(f"{out.stem}-{number}") for number in range(1, count + 1)]


async def draw(
    horde: AsyncHorde, prompt: str, out: Path | None, settings: dict[str, Any], console: Console
) -> Drawn:
    """Have `prompt` drawn and written to `out` (or a name made from the request's id).

    When interrupted, what is not drawn yet is cancelled and so not charged.
    """
    progress = RequestProgress(console, settings.get("n") or 1)
    with progress.on_screen():
        queued = await horde.generate_image(prompt, **settings)
        try:
            tell((warning.message for warning in queued.warnings), console)
            async with aclosing(horde.watch(queued.id)) as looks:
                async for look in looks:
                    progress.show(look)
            progress.say("downloading")
            before = time.monotonic()
            pictures = await horde.pictures(queued, look.status)
        except asyncio.CancelledError:
            await horde.cancel_quietly(queued.id)
            raise
        files = await asyncio.to_thread(_save, pictures, out or _default_out(queued))
        download_seconds = time.monotonic() - before
    return Drawn(
        request_id=queued.id,
        pictures=pictures,
        files=files,
        kudos=sum(picture.kudos for picture in pictures),
        seconds={**progress.times(), "download": download_seconds},
    )


def report(drawn: Drawn, console: Console) -> None:
    """Files, cost and time, for people."""
    for file, picture in zip(drawn.files, drawn.pictures, strict=True):
        note = " [yellow](censored by the worker)[/]" if picture.censored else ""
        console.print(
            f"[bold]{escape(str(file))}[/]  seed {escape(picture.seed)}, "
            f"{escape(picture.model)}, drawn by {escape(picture.worker_name)}{note}",
            soft_wrap=True,
        )
    tell(dict.fromkeys(said for picture in drawn.pictures for said in picture.said), console)
    total = sum(drawn.seconds.values())
    console.print(f"cost {kudos_text(drawn.kudos)}")
    console.print(f"took {total:.1f} s: {seconds_text(drawn.seconds)}", soft_wrap=True)


def _default_out(queued: QueuedImage) -> Path:
    return Path(f"horde-{queued.id[:8]}.webp")


def _save(pictures: list[Picture], out: Path) -> list[Path]:
    files = target_files(out, len(pictures))
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    return files
