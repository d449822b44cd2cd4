# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where commands write: results to standard output, what happens meanwhile to standard error."""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import msgspec
import typer
from rich import markup
from rich.console import Console

from openhorde.client import HordeError
from openhorde.incoming.texts import encode_json

# What the fields of the wire are called on the command line.
OPTION_NAMES = {
    "prompt": "PROMPT",
    "width": "--width",
    "height": "--height",
    "steps": "--steps",
    "seed": "--seed",
    "n": "-n",
    "sampler_name": "--sampler",
    "cfg_scale": "--cfg",
    "karras": "--karras",
    "models": "--model",
    "source_image": "--source-image",
    "source_mask": "--mask",
    "source_processing": "--source-processing",
    "denoising_strength": "--denoise",
    "allow_downgrade": "--allow-downgrade",
    "post_processing": "--post-processing",
    "clip_skip": "--clip-skip",
    "control_type": "--control-type",
    "workers": "--worker",
    "max_length": "--max-length",
    "max_context_length": "--context",
    "stop_sequence": "--stop",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "min_p": "--min-p",
    "rep_pen": "--rep-pen",
    "style": "--style",
    "api_key": "--api-key",
    "wait_for_workers": "--wait",
}

BACKSLASHES_MAX = 64
_BACKSLASHES = re.compile(rf"\\{{{BACKSLASHES_MAX},}}")


def escape(text: str) -> str:
    """The text as it is, for what is printed as markup; of backslashes in a row at most
    BACKSLASHES_MAX are shown, for Rich takes time with the square of their number."""
    return markup.escape(_BACKSLASHES.sub(lambda found: found[0][:BACKSLASHES_MAX], text))


def output() -> Console:
    """For results: tables and texts that somebody asked for."""
    return Console(file=sys.stdout, highlight=False)


def messages() -> Console:
    """For progress, notes and failures, so that standard output stays clean for pipes."""
    return Console(file=sys.stderr, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = msgspec.json.format(encode_json(value), indent=2).decode()
    typer.echo(text)


def tell(notes: Iterable[str], console: Console) -> None:
    """Print what somebody should know beside a result, a line each."""
    for note in notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def fail(problem: Exception | str, status: int = 1) -> NoReturn:
    """Say what went wrong and end with this exit status."""
    console = messages()
    text = problem.explain(OPTION_NAMES) if isinstance(problem, HordeError) else str(problem)
    console.print(f"[bold red]horde:[/] {escape(text)}", soft_wrap=True)
    if log_tail := getattr(problem, "log_tail", ""):
        console.print(escape(log_tail), soft_wrap=True)
    raise typer.Exit(status)


def kudos_text(kudos: float) -> str:
    """An amount as people read it."""
    return f"{kudos:,.2f}".rstrip("0").rstrip(".") + " kudos"


def seconds_text(parts: Mapping[str, float]) -> str:
    """Where the time went: `queue 0.4 s, drawing 2.1 s`."""
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items())


def duration_text(seconds: float) -> str:
    """A wait in the two largest units that matter."""
    if seconds < 1:
        return "less than 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def about_text(seconds: float) -> str:
    """A wait that is an estimate."""
    return duration_text(seconds) if seconds < 1 else f"about {duration_text(seconds)}"


def number_text(number: float) -> str:
    """A number as people write it: 16,777,216, not 1.67772e+07; and 7002."""
    written = int(number) if float(number).is_integer() else number
    return f"{written:,}" if abs(written) >= 10_000 else str(written)
