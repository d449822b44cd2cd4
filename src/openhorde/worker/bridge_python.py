# SPDX-License-Identifier: AGPL-3.0-or-later
"""bridgeData.py: the settings file of the oldest workers, read without being run.

It is a Python module of assignments. Only those of literals are read; nothing in it is executed.
"""

import ast
from collections.abc import Callable, Iterator
from typing import Any

from openhorde.worker.fields import SettingsError

Warn = Callable[[str], None]

CHARACTERS_MAX = 256 * 1024
"""Far more than any template, and little enough for the parser to be quick with anything."""


def read_bridge_python(text: str, warn: Warn) -> dict[str, Any]:
    """The values that names are given at the top level, the last of each. `warn` hears of lines
    that are something else. Raises SettingsError for what is no Python, or too long."""
    if len(text) > CHARACTERS_MAX:
        raise SettingsError(f"it has more than {CHARACTERS_MAX} characters, which no settings need")
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise SettingsError(f"line {error.lineno} is not Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SettingsError("it is not Python that can be read") from error
    values: dict[str, Any] = {}
    for statement in statements:
        names = list(_names(statement))
        try:
            value = ast.literal_eval(_assigned(statement))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            if not _says_nothing(statement):
                told = f"{', '.join(names)}: " if names else ""
                warn(f"line {statement.lineno}: {told}left out, for only plain values are read")
        else:
            values |= dict.fromkeys(names, value)
    return values


def _names(statement: ast.stmt) -> Iterator[str]:
    """The names that it gives a value."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        targets = []
    return (target.id for target in targets if isinstance(target, ast.Name))


def _assigned(statement: ast.stmt) -> ast.expr:
    """The value that it gives. Raises TypeError when it gives none."""
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return statement.value
    raise TypeError


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether leaving it out needs no word: imports, and texts that stand as comments."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)
