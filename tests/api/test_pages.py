# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages for people."""

import asyncio
import io
import re
import tarfile
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from cast import Cast, ask

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.pages import source

PAGES = ("/", "/register", "/terms", "/privacy", "/api")
_VOID = {"meta", "input", "br", "link", "img", "hr"}


class _Checker(HTMLParser):
    """Knows whether tags are closed in the order they were opened, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in _VOID:
            self.open.append(tag)
        if tag in ("script", "img", "link"):
            found = [str(given[name]) for name in ("src", "href") if name in given]
            self.loaded += [each for each in found if not each.startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_whole_and_self_contained(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    checker = _Checker()
    checker.feed(answer.text)
    assert (checker.open, checker.wrong, checker.loaded) == ([], [], [])
    assert answer.text.startswith("<!doctype html>")
    assert "{{" not in answer.text
    assert 'name="viewport"' in answer.text
    assert "prefers-color-scheme: dark" in answer.text


async def test_the_front_page_tells_how_the_horde_is(horde: Horde, cast: Cast, look: Any) -> None:
    await ask(horde, await cast.alice())
    text = (await look("/")).text
    assert '<dd id="queued_requests">1</dd>' in text
    assert "http://horde.test/api/v2/generate/async" in text


class TestRegister:
    """Accounts, by form and by call."""

    async def test_by_form(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/register", data={"username": "Ann & Bob"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        text = unescape(answer.text)
        alias = re.search(r"Ann & Bob#\d+", text)
        key = re.search(r'id="key">([\w-]{22})<', text)
        assert alias
        assert key
        found = await http.get("/api/v2/find_user", headers={"apikey": key[1]})
        assert found.json()["username"] == alias[0]
        assert found.json()["pseudonymous"] is True

    async def test_by_call(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/api/register", json={"username": "Ann"})
        assert answer.status_code == 201
        made = answer.json()
        assert made["alias"] == f"Ann#{made['user_id']}"
        assert len(made["api_key"]) == 22
        found = await http.get("/api/v2/find_user", headers={"apikey": made["api_key"]})
        assert found.json()["id"] == made["user_id"]

    async def test_what_is_typed_comes_back_escaped(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/register", data={"username": '"><script>{{key}}'})
        assert "<script>{{key}}" not in answer.text
        again = await http.post("/register", data={"username": '<">'})
        assert again.status_code == 400
        assert 'value="&lt;&quot;&gt;"' in again.text
        assert "username must have 1 to 30" in again.text

    @pytest.mark.parametrize("body", [b"", b"username=", b"username=%00", b"\xff=%ff", b"x" * 20])
    async def test_nonsense_is_asked_again(self, http: httpx.AsyncClient, body: bytes) -> None:
        answer = await http.post("/register", content=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/html")

    async def test_names_are_cleaned(self, http: httpx.AsyncClient) -> None:
        for given, kept in (
            ("x" * 50, "x" * 30),
            ("a\tb<b>c</b>", "a bc"),
            ("  a   b  ", "a b"),
            ("a\u202eb", "ab"),
        ):
            answer = await http.post("/api/register", json={"username": given})
            assert answer.json()["username"] == kept
        refused = await http.post("/api/register", json={"username": "<b></b>"})
        assert (refused.status_code, refused.json()["rc"]) == (400, "BadRequest")

    async def test_closed_is_closed(self, horde: Horde, calling: Any) -> None:
        settings = replace(horde.settings, registration=False)
        async with calling(create_app(replace(horde, settings=settings))) as http:
            assert (await http.get("/register")).status_code == 403
            assert (await http.post("/register", data={"username": "Ann"})).status_code == 403
            refused = await http.post("/api/register", json={"username": "Ann"})
            assert (refused.status_code, refused.json()["rc"]) == (403, "Forbidden")
            assert len((await http.get("/api/v2/users")).json()) == 1


class TestSource:
    """What the licence asks for."""

    async def test_the_running_source_is_handed_out(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/source")
        assert answer.headers["content-type"] == "application/gzip"
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            names = archive.getnames()
            owners = {entry.uname for entry in archive}
        endings = ("/src/openhorde/server/boot.py", "/pyproject.toml", "/LICENSE")
        for ending in (*endings, "/src/openhorde/server/store/sql/schema.sql"):
            assert any(name.endswith(ending) for name in names), ending
        assert not any("__pycache__" in name for name in names)
        makefile = (Path(__file__).parents[2] / "Makefile").read_text()
        for needed in ("constraints.txt", *re.findall(r"scripts/[\w.-]+", makefile)):
            assert any(name.endswith(f"/{needed}") for name in names), needed
        assert owners == {""}

    async def test_it_is_made_once_however_many_ask_first(
        self, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Path] = []

        def few_files(package: Path) -> list[Path]:
            made.append(package)
            return [package / "__init__.py"]

        monkeypatch.setattr(source, "_files", few_files)
        source.source_archive.cache_clear()
        answers = await asyncio.gather(*(http.get("/source") for _ in range(8)))
        source.source_archive.cache_clear()
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == len(made) == 1

    async def test_or_it_is_elsewhere(self, horde: Horde, calling: Any) -> None:
        settings = replace(horde.settings, source_url="https://example.org/source")
        async with calling(create_app(replace(horde, settings=settings))) as http:
            answer = await http.get("/source")
        assert answer.status_code == 302
        assert answer.headers["location"] == "https://example.org/source"


async def test_service_info(http: httpx.AsyncClient) -> None:
    info = (await http.get("/.well-known/serviceinfo")).json()
    assert info["version"] == "0.2"
    assert info["api"]["aihorde"]["base_url"] == "http://horde.test/api/v2"
    assert info["software"]["repository"] == "http://horde.test/source"
