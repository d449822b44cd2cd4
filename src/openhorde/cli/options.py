# SPDX-License-Identifier: AGPL-3.0-or-later
"""Options that several commands share, each described once."""

from pathlib import Path
from typing import Annotated

import typer

from openhorde import __version__
from openhorde.client import ANONYMOUS_KEY, DEFAULT_URL, AsyncHorde

CLIENT_AGENT = f"openhorde-cli:{__version__}:unknown"


def _own_key(context: typer.Context, value: str) -> str:
    """A key that was kept for one horde (see `horde login`) is not sent to another."""
    kept = context.default_map or {}
    elsewhere = "url" in context.params and context.params["url"] != kept.get("url")
    from_file = str(context.get_parameter_source("api_key")).endswith("DEFAULT_MAP")
    return ANONYMOUS_KEY if from_file and elsewhere else value


Url = Annotated[str, typer.Option("--url", envvar="OPENHORDE_URL", help="Address of the horde.")]
ApiKey = Annotated[
    str,
    typer.Option(
        "--api-key",
        envvar="OPENHORDE_API_KEY",
        help="Key of your account; the default is the anonymous one.",
        show_default=False,
        callback=_own_key,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="If no worker online can do it, wait for one (20 minutes at most) "
        "rather than stop at once.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="OPENHORDE_DATA",
        help="Folder with the horde's database, pictures and logs. [default: data]",
    ),
]

__all__ = ["ANONYMOUS_KEY", "DEFAULT_URL", "ApiKey", "AsJson", "Data", "Url", "Wait", "connect"]


def connect(url: str, api_key: str) -> AsyncHorde:
    """The client that every command speaks through."""
    return AsyncHorde(url, api_key, CLIENT_AGENT)
