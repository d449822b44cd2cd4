# SPDX-License-Identifier: AGPL-3.0-or-later
"""The two pages that the doors show themselves: log in, and change the password. No scripts."""

from http import HTTPStatus
from importlib.resources import files
from string import Template

from starlette.responses import HTMLResponse, Response

from openhorde.worker.panel.passwords import LENGTH_MIN

PAGE = Template((files("openhorde.worker.panel") / "doors.html").read_text(encoding="utf-8"))
FIELD = (
    '<label for="{name}">{label}</label>'
    '<input id="{name}" name="{name}" type="password" autocomplete="{filled_with}" required{more}>'
)
WRONG = "This is not the password."
CROWDED = "Too many passwords from your address wait to be checked. Try again in a moment."
RETRY_SECONDS = 1


def login_page(notice: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Asks for the password. `notice` is plain text of our own."""
    return _page(
        status,
        action="/login",
        heading="Worker's control panel",
        lead="The worker wrote the password to its console when it started for the first time.",
        notice=notice,
        fields=_field("password", "Password", "current-password", " autofocus"),
        button="Log in",
        more="",
    )


def password_page(notice: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Asks for the present password and a new one."""
    return _page(
        status,
        action="/password",
        heading="Change the password",
        lead=f"At least {LENGTH_MIN} characters. Whoever else is logged in is logged out.",
        notice=notice,
        fields=_field("password", "Present password", "current-password", " autofocus")
        + _field("fresh", "New password", "new-password")
        + _field("again", "The new password again", "new-password"),
        button="Change it",
        more='<p class="back"><a href="/">Back to the panel</a></p>',
    )


def retried_later(page: Response) -> Response:
    """A page for whoever has to come again."""
    page.headers["Retry-After"] = str(RETRY_SECONDS)
    return page


def _field(name: str, label: str, filled_with: str, more: str = "") -> str:
    return FIELD.format(name=name, label=label, filled_with=filled_with, more=more)


def _page(status: HTTPStatus, **parts: str) -> Response:
    return HTMLResponse(PAGE.substitute(parts), status)
