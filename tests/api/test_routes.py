# SPDX-License-Identifier: AGPL-3.0-or-later
"""Paths find what serves them."""

import pytest

from openhorde.server.api.routes import Routes


def _routes(*paths: str) -> Routes[str]:
    routes: Routes[str] = Routes()
    for path in paths:
        routes.add("GET", path, path)
    return routes


def _found(routes: Routes[str], path: str) -> tuple[str, dict[str, str]] | None:
    found = routes.find(path)
    return None if found is None else (found[0]["GET"], dict(found[1]))


def test_fixed_paths_and_parameters() -> None:
    routes = _routes("/", "/a", "/a/{id}", "/a/{id}/b/{other}", "/c/{key:path}")
    assert _found(routes, "/") == ("/", {})
    assert _found(routes, "/a/7") == ("/a/{id}", {"id": "7"})
    assert _found(routes, "/a/7/b/8") == ("/a/{id}/b/{other}", {"id": "7", "other": "8"})
    assert _found(routes, "/c/d/e.webp") == ("/c/{key:path}", {"key": "d/e.webp"})


def test_fixed_wins_over_parameter_and_one_segment_over_the_rest() -> None:
    routes = _routes("/a/fixed/{name:path}", "/a/{id}", "/a/{all:path}")
    assert _found(routes, "/a/fixed") == ("/a/{id}", {"id": "fixed"})
    assert _found(routes, "/a/fixed/x/y") == ("/a/fixed/{name:path}", {"name": "x/y"})
    assert _found(routes, "/a/other/x") == ("/a/{all:path}", {"all": "other/x"})


@pytest.mark.parametrize("path", ["", "/a/", "//", "/a//b", "/a/1/2", "/b", "/c", "/c/"])
def test_other_paths_are_not_there(path: str) -> None:
    assert _found(_routes("/a/{id}", "/c/{key:path}"), path) is None


def test_declarations_that_contradict_each_other() -> None:
    routes = _routes("/a/{id}")
    with pytest.raises(ValueError, match="twice"):
        routes.add("GET", "/a/{id}", "again")
    with pytest.raises(ValueError, match="elsewhere"):
        routes.add("PUT", "/a/{name}", "other")
