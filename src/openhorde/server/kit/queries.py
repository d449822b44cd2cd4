# SPDX-License-Identifier: AGPL-3.0-or-later
"""Named SQL: every statement lives in a `.sql` file, under a name and with its purpose.

    -- name: submit_request
    -- Store a new request and its jobs.
    insert into ...

A block is a name, one or more comment lines that say the purpose in one sentence, and one
statement. What stands before the first block may only be comments.
"""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import NamedTuple

SCHEMA_FILE = "schema.sql"

_NAME_LINE = re.compile(r"^--\s*name:\s*(.*?)\s*$")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# What may hide a semicolon: strings, quoted names, dollar quotes, comments.
_HIDING = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | (\$\w*\$).*?\1 | --[^\n]* | /\*.*?\*/""",
    re.DOTALL | re.VERBOSE,
)


class Query(NamedTuple):
    """One statement. `sql` begins with its name as a comment, for pg_stat_activity and logs."""

    name: str
    purpose: str
    sql: str


class QueryFileWrong(Exception):
    """A `.sql` file breaks the rules above; the text names file and block."""


def sql_folder(source: str | Traversable) -> Traversable:
    """The folder with the SQL: `sql` in the package of that name, or the given folder itself."""
    return files(source) / "sql" if isinstance(source, str) else source


def load_queries(source: str | Traversable) -> Mapping[str, Query]:
    """All named queries of the `.sql` files directly in a folder (but `schema.sql`), by name.

    `source` is the name of a package that has a folder `sql`, or such a folder. The mapping is
    read-only. Raises QueryFileWrong for broken files and for a name that is used twice.
    """
    queries: dict[str, Query] = {}
    folder = sql_folder(source)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".sql") or entry.name == SCHEMA_FILE:
            continue
        for query in _parse(entry.name, entry.read_text(encoding="utf-8")):
            if query.name in queries:
                raise QueryFileWrong(f"{entry.name}: the name {query.name!r} is used twice")
            queries[query.name] = query
    return MappingProxyType(queries)


def _parse(file_name: str, text: str) -> Iterator[Query]:
    name: str | None = None
    block: list[str] = []
    for line in text.splitlines():
        match = _NAME_LINE.match(line)
        if not match:
            block.append(line)
            continue
        yield from _finish(file_name, name, block)
        name, block = match[1], []
    yield from _finish(file_name, name, block)


def _finish(file_name: str, name: str | None, block: list[str]) -> Iterator[Query]:
    """The query of one block; none for the lines before the first name."""
    if name is None:
        if any(line.strip() and not line.lstrip().startswith("--") for line in block):
            raise QueryFileWrong(f"{file_name}: SQL before the first '-- name:' line")
        return
    where = f"{file_name}: {name}"
    if not _NAME.fullmatch(name):
        raise QueryFileWrong(f"{where}: a name is made of a-z, 0-9 and _ and begins with a letter")
    comments = 0
    while comments < len(block) and block[comments].startswith("--"):
        comments += 1
    purpose = " ".join(line.removeprefix("--").strip() for line in block[:comments]).strip()
    if not purpose.endswith((".", "?")):
        raise QueryFileWrong(
            f"{where}: the lines after the name must be a comment that says the purpose in one"
            " sentence, with a full stop or question mark"
        )
    statement = "\n".join(block[comments:]).strip()
    statement = statement.removesuffix(";").rstrip()
    bare = _HIDING.sub(" ", statement)
    if not bare.strip():
        raise QueryFileWrong(f"{where}: no statement")
    if ";" in bare:
        raise QueryFileWrong(f"{where}: more than one statement (or text behind its semicolon)")
    yield Query(name, purpose, f"/* {name} */ {statement}")
