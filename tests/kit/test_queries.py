# SPDX-License-Identifier: AGPL-3.0-or-later
from pathlib import Path

import pytest

from openhorde.server.kit.queries import QueryFileWrong, load_queries

GOOD = """\
-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: find_one
-- Find one
-- by its id.
select 'a;b', ";", $$ c; $$, $x$ '; $x$ -- d;
/* e; */
from things
where id = $1;

-- name: count_all
-- Count them all.
select count(*) from things
"""


def write(folder: Path, text: str, name: str = "things.sql") -> Path:
    (folder / name).write_text(text)
    return folder


def test_reads_names_purposes_and_statements(tmp_path: Path) -> None:
    write(tmp_path, "create table things ();", "schema.sql")
    (tmp_path / "migrations").mkdir()
    write(tmp_path / "migrations", "select 1", "0001_before_start.sql")
    queries = load_queries(write(tmp_path, GOOD))
    assert list(queries) == ["find_one", "count_all"]
    assert queries["find_one"].purpose == "Find one by its id."
    assert queries["find_one"].sql.startswith("/* find_one */ select 'a;b'")
    assert queries["find_one"].sql.endswith("where id = $1")
    assert queries["count_all"].sql == "/* count_all */ select count(*) from things"


def test_the_mapping_is_read_only(tmp_path: Path) -> None:
    queries = load_queries(write(tmp_path, GOOD))
    with pytest.raises(TypeError):
        queries["find_one"] = queries["count_all"]  # type: ignore[index]


def test_reads_from_a_package() -> None:
    assert "lock_migrations" in load_queries("openhorde.server.kit")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\nselect 1", "purpose"),
        ("-- name: a\n-- No full stop\nselect 1", "purpose"),
        ("-- name: a\n-- Do it.\n", "no statement"),
        ("-- name: a\n-- Do it.\n\n-- only this\n;", "no statement"),
        ("-- name: a\n-- Do it.\nselect 1; select 2;", "more than one"),
        ("-- name: A-b\n-- Do it.\nselect 1", "a-z"),
        ("-- name:\n-- Do it.\nselect 1", "a-z"),
        ("select 1;\n-- name: a\n-- Do it.\nselect 1", "before the first"),
        ("-- name: a\n-- Do it.\nselect 1;\n-- name: a\n-- Do it.\nselect 1", "'a' is used twice"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(QueryFileWrong, match=complaint):
        load_queries(write(tmp_path, text))


def test_names_are_unique_over_files(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "more.sql")
    with pytest.raises(QueryFileWrong, match="used twice"):
        load_queries(write(tmp_path, GOOD))
