# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fills the HTML files beside it. Every value is escaped."""

import re
import secrets
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files

from openhorde.server.api.operations import Answer

_HTML = "text/html; charset=utf-8"
# Nothing from elsewhere, and nobody may frame a page that shows a key.
_SAFE = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}';"
        " connect-src 'self'; img-src 'self' data: https:; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def page(
    name: str,
    title: str,
    values: Mapping[str, object] | None = None,
    *,
    prefix: str,
    status: int = 200,
    private: bool = False,
) -> Answer:
    """The page of that name in the frame that all pages share; a `private` one is not kept.

    Links begin with `prefix`, the path under which the caller reaches this server. Only scripts of
    the page itself run: they hold a number that nobody can know in advance.
    """
    nonce = secrets.token_urlsafe(16)
    shared = {"prefix": escape(prefix), "nonce": nonce}
    given = {name: escape(str(value)) for name, value in (values or {}).items()}
    body = _fill(_read(f"{name}.html"), shared | given)
    frame = {"style": _read("style.css"), "title": escape(title), "body": body}
    html = _fill(_read("frame.html"), shared | frame)
    headers = [(header, value.replace("{nonce}", nonce)) for header, value in _SAFE]
    if private:
        headers.append(("Cache-Control", "no-store"))
    return Answer(html.encode(), status, tuple(headers), _HTML)


def _fill(template: str, values: Mapping[str, str]) -> str:
    """In one go, so that no value is taken for a place."""
    return _PLACE.sub(lambda match: values[match[1]], template)


@cache
def _read(name: str) -> str:
    text = (files(__package__) / name).read_text(encoding="utf-8")
    # The first line is the licence of the file, which is no part of the page.
    return text.partition("\n")[2]
