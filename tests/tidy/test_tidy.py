# SPDX-License-Identifier: AGPL-3.0-or-later
"""The house rules that a machine can check and no linter knows."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from openhorde.server.settings import ServerSettings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "openhorde"
DOMAIN = SOURCE / "server" / "domain"
CHECKED = sorted(
    path
    for folder in ("src", "tests", "bench", "scripts")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sql", ".html", ".sh"}
)
SQL_WORDS = re.compile(r"^\s*(select|insert into|update \w+ set|delete from|with \w+ as)\s", re.I)
LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def named(path: Path) -> str:
    """A path as a test's name."""
    return str(path.relative_to(ROOT))


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


@pytest.mark.parametrize("path", CHECKED, ids=named)
def test_every_source_file_says_its_licence(path: Path) -> None:
    first, second, *_ = [*path.read_text().splitlines(), ""]
    said = second if first.startswith("#!") else first
    assert "SPDX-License-Identifier: AGPL-3.0-or-later" in said


@pytest.mark.parametrize("path", [path for path in CHECKED if path.suffix == ".py"], ids=named)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name


def test_the_rules_import_nothing_but_pure_things() -> None:
    allowed = {"msgspec", "openhorde"}
    for path, tree in modules():
        if DOMAIN not in path.parents:
            continue
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                first = name.split(".")[0]
                assert first in allowed or first in sys.stdlib_module_names, f"{path}: {name}"
                if first == "openhorde":
                    assert name.startswith(("openhorde.wire", "openhorde.server.domain"))
                assert first not in {"random", "secrets", "time", "asyncio", "socket"}, path


def test_sql_lives_in_the_store_alone() -> None:
    for path, tree in modules():
        if (SOURCE / "server" / "kit") in path.parents:
            continue  # It knows nothing of hordes, but of PostgreSQL's own catalogue.
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not SQL_WORDS.match(node.value), f"{path}:{node.lineno}"


def test_http_statuses_live_in_the_api_alone() -> None:
    for path, _ in modules():
        if (SOURCE / "server") in path.parents and (SOURCE / "server" / "api") not in path.parents:
            assert "starlette" not in path.read_text(), path


def test_settings_are_read_by_boot_alone() -> None:
    for path, _ in modules():
        if (SOURCE / "server") in path.parents and (SOURCE / "server" / "kit") not in path.parents:
            assert "os.environ" not in path.read_text(), path


def test_http_is_spoken_by_clients_with_bounds_alone() -> None:
    for path, tree in modules():
        if path == SOURCE / "incoming" / "answers.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                assert called not in ("httpx.Client", "httpx.AsyncClient"), f"{path}:{node.lineno}"
                assert not re.fullmatch(r"httpx\.(get|post|put|stream|request)", called), path


def test_every_named_statement_is_used() -> None:
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    for path in sorted(SOURCE.rglob("*.sql")):
        for name in re.findall(r"^-- name: (\w+)", path.read_text(), re.M):
            assert f'"{name}"' in code, f"{path.name}: {name}"


def test_every_setting_is_in_the_operators_manual() -> None:
    manual = (ROOT / "docs" / "operating.md").read_text()
    for setting in fields(ServerSettings):
        help_line = setting.metadata["help"]
        assert re.search(
            rf"^\| `OPENHORDE_{setting.name.upper()}` \| .* \| {re.escape(help_line)} \|$",
            manual,
            re.M,
        ), setting.name
