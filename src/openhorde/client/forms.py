# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be asked about a picture, and the results: one of each form, each of its own shape."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, get_args

import msgspec

from openhorde.client.bodies import unknown
from openhorde.client.errors import HordeError
from openhorde.client.looks import settled_forms
from openhorde.wire.alchemy import (
    AlchemyRequest,
    AlchemyStatus,
    AskedForm,
    Form,
    FormState,
    FormStatus,
)
from openhorde.wire.image import PostProcessor
from openhorde.wire.requests import Outlook, PriceLine

AskedForms = Sequence[Form | AskedForm]
DRAWN = frozenset(get_args(PostProcessor))
"""The forms whose result is a picture."""
WHY = {
    "faulted": "the workers that tried it failed",
    "cancelled": "it was cancelled",
}


class FormSettings(TypedDict, total=False):
    """Everything besides the picture and its forms; what is left out, the horde decides.

    `wait_for_workers` is for this client: wait, rather than raise Impossible, if no worker that is
    online can do the forms.
    """

    wait_for_workers: bool
    slow_workers: bool
    trusted_workers: bool
    webhook: str | None


SETTINGS = frozenset(AlchemyRequest.__struct_fields__) - {"source_image", "forms", "dry_run"}


def alchemy_body(
    source_base64: str, forms: AskedForms, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON body of `POST interrogate/async`."""
    for name in settings:
        if name not in SETTINGS:
            raise unknown(name, SETTINGS)
    asked = [form if isinstance(form, AskedForm) else AskedForm(name=form) for form in forms]
    return {
        "source_image": source_base64,
        "forms": [
            {"name": form.name} | ({"payload": form.payload} if form.payload else {})
            for form in asked
        ],
        **{name: value for name, value in settings.items() if value is not None},
    }


class DryRun(Outlook, kw_only=True, omit_defaults=True):
    """Answer of a dry run, or by a horde that does not know such a thing: the id of a real one."""

    id: str | None = None
    kudos: float | None = None
    lines: list[PriceLine] | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class QueuedForms:
    """An accepted request. `kudos` is the price of all forms, None where the horde is silent."""

    id: str
    kudos: float | None
    message: str | None
    forms: list[str] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Keyword:
    """A word that fits a picture, and how surely: `confidence` in percent."""

    text: str
    confidence: float


class FormFault(HordeError):
    """A form could not be done; the text tells why."""

    def __init__(self, form: str, reason: str) -> None:
        super().__init__(0, None, f"The form {form} was not done: {reason}.")
        self.form = form
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class FormResult:
    """One form that is over. `value` is there if it is done: a str of a caption, a bool of nsfw,
    keywords by category of an interrogation, bytes of a picture, else what the horde sent."""

    form: str
    request_id: str
    state: FormState
    value: Any = field(default=None, repr=False)
    reason: str | None = None

    @property
    def done(self) -> bool:
        """Whether there is a value."""
        return self.state == "done"

    def expect(self) -> Any:
        """The value. Raises FormFault if there is none."""
        if not self.done:
            raise FormFault(self.form, self.reason or WHY.get(self.state, f"it is {self.state}"))
        return self.value


class News:
    """Tells which forms of a request are over that were not when it was last asked."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()

    def of(self, status: AlchemyStatus) -> list[FormStatus]:
        """The forms that are news. A form that was asked for twice is told of twice."""
        seen: Counter[str] = Counter()
        news = []
        for form in settled_forms(status):
            seen[form.form] += 1
            if seen[form.form] > self._told[form.form]:
                news.append(form)
        self._told |= seen
        return news


def value_of(form: FormStatus) -> Any:
    """What a form that is done has found; of a picture the text that stands for it.

    Raises HordeError for a result that is not of the form's shape.
    """
    value = (form.result or {}).get(form.form)
    try:
        match form.form:
            case "caption":
                return msgspec.convert(value, str)
            case "nsfw":
                return msgspec.convert(value, bool)
            case "interrogation":
                return _ranked(msgspec.convert(value, dict[str, list[Keyword]]))
            case drawn if drawn in DRAWN:
                return msgspec.convert(value, str)
    except msgspec.ValidationError as error:
        raise HordeError(
            0,
            None,
            f"The result of the form {form.form} is not one that this client understands: {error}.",
        ) from error
    return value


def _ranked(found: dict[str, list[Keyword]]) -> dict[str, list[Keyword]]:
    return {
        category: sorted(keywords, key=lambda one: -one.confidence)
        for category, keywords in found.items()
    }
