# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde login`: keep a horde's address and a key, so that commands need not be told them."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, Url, connect
from openhorde.cli.screen import escape, output
from openhorde.client import HordeError

FOLDER, FILE = "openhorde", "client.yaml"


class Login(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is kept: a horde's address, and the key of an account there."""

    url: str = DEFAULT_URL
    api_key: str = ANONYMOUS_KEY


def login(
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
    forget: Annotated[bool, typer.Option("--forget", help="Delete what was kept.")] = False,
) -> None:
    """Save --url and --api-key in your configuration folder, as defaults of all commands.

    Options and variables still take precedence.
    """
    file = login_file()
    console = output()
    if forget:
        file.unlink(missing_ok=True)
        console.print(f"{escape(str(file))} is gone", soft_wrap=True)
        return
    username = asyncio.run(_check(url, api_key))
    write_login(file, Login(url=url, api_key=api_key))
    console.print(
        f"[bold]{escape(username)}[/] at {escape(url)}: kept in {escape(str(file))}", soft_wrap=True
    )


async def _check(url: str, api_key: str) -> str:
    async with connect(url, api_key) as horde:
        return (await horde.find_user()).username


def login_file() -> Path:
    """Where it is kept; on Linux ~/.config/openhorde/client.yaml, or below XDG_CONFIG_HOME."""
    return Path(typer.get_app_dir(FOLDER)) / FILE


def read_login(file: Path) -> Login | None:
    """What is kept, or None. Raises HordeError for a file that cannot be understood."""
    try:
        return msgspec.yaml.decode(file.read_bytes(), type=Login)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise _unusable(file, error) from error


def write_login(file: Path, kept: Login) -> None:
    """Write it so that only this user may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(msgspec.yaml.encode(kept))
    fresh.replace(file)


def defaults(command: Any, kept: Login) -> dict[str, Any]:
    """What is kept, as the defaults of every command below one that talks to a horde."""
    found: dict[str, Any] = {
        parameter.name: getattr(kept, parameter.name)
        for parameter in command.params
        # Not those of a worker, whose own file would lose to them.
        if parameter.name in Login.__struct_fields__ and parameter.envvar
    }
    for name, below in getattr(command, "commands", {}).items():
        if inner := defaults(below, kept):
            found[name] = inner
    return found


def _unusable(file: Path, error: Exception) -> HordeError:
    return HordeError(
        0, None, f"{file} cannot be read ({error}). Mend it, or delete it: horde login --forget"
    )
