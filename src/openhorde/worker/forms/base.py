# SPDX-License-Identifier: AGPL-3.0-or-later
"""The face every form has: it looks at a picture and tells something, or gives another picture."""

from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct
from PIL import Image

from openhorde.worker.settings import WorkerSettings

Payload = TypeVar("Payload", bound=Struct)
Told = bool | int | float | str | list[Any] | dict[str, Any]
"""What a form tells: a value that JSON has."""


class FormFault(Exception):
    """The form cannot be done of this picture or with this payload. The message is the reason."""


class Form(Protocol):
    """One form of alchemy. Made from the settings, opened once, then run for one picture after
    another, from one thread."""

    def __init__(self, settings: WorkerSettings) -> None: ...

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """Why this form cannot be offered; None when it can. Looks only: loads no model."""
        ...

    def open(self) -> None:
        """Load what it needs. Raises RuntimeError, for the owner, when that fails."""
        ...

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> Told | Image.Image:
        """The form's value for a picture. Raises FormFault, for the asker, when there is none."""
        ...


def read_payload(form: str, payload: dict[str, Any], kind: type[Payload]) -> Payload:
    """The payload as a struct; null counts as absent, and what the struct does not know as well.

    Raises FormFault naming the form, the field and its bound.
    """
    given = {name: value for name, value in payload.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`payload.")
        raise FormFault(f"{form}: {reason}") from error


def on_white(picture: Image.Image) -> Image.Image:
    """The picture in red, green and blue; what is transparent becomes white."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        ground = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(ground, clear).convert("RGB")
    return picture.convert("RGB")
