# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server and the worker are loaded only by the commands that need them.

The client and its commands work from a plain installation, without a database or torch.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution, requires
from typing import TYPE_CHECKING, Any

from openhorde.cli.screen import fail

if TYPE_CHECKING:
    from openhorde.server.settings import ServerSettings


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Wrap the imports of a command: what is not installed becomes a word on how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("openhorde"):
            raise
        fail(
            f"this command needs the extra {extra}, and {error.name} is not installed. "
            + how_to_install(extra)
        )


def needs_everything() -> None:
    """End here, unless the server and the worker are installed with all their packages."""
    wanted = [
        match[1]
        for line in requires("openhorde") or []
        if (match := re.match(r"([\w.-]+).*\bextra == ['\"]all['\"]", line))
    ]
    missing = sorted({name for name in wanted if not _is_installed(name)})
    if missing:
        fail(
            "this command runs a server and a worker, and their packages are not all installed "
            f"({', '.join(missing)}). {how_to_install('all')}"
        )


def how_to_install(extra: str) -> str:
    """What to type: openhorde is installed from its source alone."""
    return f"Install it, in the folder of openhorde's source: pip install '.[{extra}]'"


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def server_settings(**given: Any) -> "ServerSettings":
    """The server's settings: options that were given win over the environment."""
    with needs("server"):
        from openhorde.server.settings import SettingError, load_settings

    try:
        return load_settings(os.environ, **given)
    except SettingError as error:
        fail(error)


@contextmanager
def mendable() -> Iterator[None]:
    """Wrap the run of a server command: what its operator can mend becomes a sentence."""
    with needs("server"):
        from openhorde.server.domain.refusals import Refusal
        from openhorde.server.kit.database import DatabaseUnusable
        from openhorde.server.kit.postgres import EmbeddedPostgresFailure
        from openhorde.server.kit.signing import KeyUnusable
        from openhorde.server.kit.team import TeamFailure
        from openhorde.server.settings import SettingError

    try:
        yield
    except (
        EmbeddedPostgresFailure,
        DatabaseUnusable,
        KeyUnusable,
        TeamFailure,
        SettingError,
        OSError,
    ) as error:
        fail(error)
    except Refusal as refusal:
        facts = ", ".join(str(value) for value in refusal.facts.values())
        fail(f"refused ({refusal.code}): change {facts}")
