# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde alchemy`: apply any form of alchemy to pictures."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from openhorde.cli.looking import Asked, DryRun, Pictures, Seen, run_form
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, Wait
from openhorde.cli.screen import escape, output
from openhorde.client import HordeError
from openhorde.client.forms import DRAWN
from openhorde.incoming.texts import encode_json
from openhorde.wire.alchemy import AskedForm, Form, Interrogation
from openhorde.wire.image import PostProcessor

FORMS: tuple[str, ...] = (*get_args(Interrogation), *get_args(PostProcessor))
DRAWING = "vectorize"
MAGICS = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg"}


def alchemy(
    form: Annotated[str, typer.Argument(metavar="FORM", help=f"One of: {', '.join(FORMS)}.")],
    pictures: Pictures,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for forms that make pictures.",
            show_default="the current folder",
        ),
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
) -> None:
    """Process pictures: upscale, mend faces, remove backgrounds, list colours, and more.

    What is a picture itself is written to a file NAME-FORM in the folder of --out. Which forms are
    available depends on the workers online.
    """
    name = form_named(form)
    folder = out or Path()
    if not folder.is_dir():
        raise HordeError(0, None, f"--out {folder}: there is no such folder.")
    asked = Asked(
        pictures=pictures,
        form=AskedForm(name=name),
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
        url=url,
        api_key=api_key,
    )
    run_form(asked, _show, keep=_keeping(folder, name))


def form_named(typed: str) -> Form:
    """The form, with small letters and dashes allowed. Raises HordeError for one unknown."""
    plain = {_plain(form): form for form in FORMS}
    if _plain(typed) in plain:
        return plain[_plain(typed)]  # type: ignore[return-value]
    close = get_close_matches(_plain(typed), plain, n=1)
    meant = f"did you mean {plain[close[0]]}?" if close else f"known are {', '.join(FORMS)}."
    raise HordeError(0, None, f"FORM {typed}: there is no such form; {meant}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _keeping(folder: Path, form: str) -> Callable[[Seen], Seen]:
    """What writes pictures to files, so that the file stands for them. Pictures of one name do not
    overwrite each other."""
    written: set[Path] = set()

    def keep(seen: Seen) -> Seen:
        if form == DRAWING:
            content, suffix = str(seen.value).encode(), ".svg"
        elif form in DRAWN:
            content = seen.value
            suffix = next((one for magic, one in MAGICS.items() if content.startswith(magic)), "")
        else:
            return seen
        stem = PurePosixPath(urlsplit(seen.picture).path).stem or "picture"
        names = chain([f"{stem}-{form}"], (f"{stem}-{form}-{number}" for number in count(2)))
        files = (folder / f"{name}{suffix or '.webp'}" for name in names)
        file = next(one for one in files if one not in written)
        written.add(file)
        file.write_bytes(content)
        return replace(seen, value=str(file))

    return keep


def _show(seen: list[Seen]) -> None:
    console = output()
    for one in seen:
        if isinstance(one.value, dict | list):
            console.print(f"[bold]{escape(one.picture)}[/]", soft_wrap=True)
            _show_facts(console, one.value)
        else:
            console.print(
                f"[bold]{escape(one.picture)}[/]  {escape(str(one.value))}", soft_wrap=True
            )


def _show_facts(console: Console, facts: Any) -> None:
    """Facts by name, or a list of things alike."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = facts.items() if isinstance(facts, dict) else enumerate(facts, start=1)
    for name, value in rows:
        table.add_row(escape(str(name)), escape(_words(value)))
    console.print(table)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    return value if isinstance(value, str) else encode_json(value).decode()
