# SPDX-License-Identifier: AGPL-3.0-or-later
"""The alchemy of a playing horde."""

import base64
from dataclasses import dataclass, field
from typing import Any

from openhorde.incoming.pictures import open_picture

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
KEYWORDS = {
    "colors": [
        {"text": "blue background", "confidence": 20.5},
        {"text": "red [circle]", "confidence": 75.25},
    ],
    "mediums": [{"text": "a drawing", "confidence": 60}],
}


def colour_of(content: bytes) -> str:
    """What the picture's first pixel is called."""
    picture = open_picture(content, pixels_max=1_000_000).picture
    seen: Any = picture.convert("RGB").getpixel((0, 0))
    return min(
        COLOURS,
        key=lambda name: sum(abs(a - b) for a, b in zip(COLOURS[name], seen, strict=True)),
    )


def form(name: str, state: str = "waiting", **more: Any) -> dict[str, Any]:
    """A row of `interrogate/status`."""
    return {"form": name, "state": state, **more}


def done(name: str, value: Any) -> dict[str, Any]:
    """A row of a form with its result."""
    return form(name, "done", result={name: value})


def status(*forms: dict[str, Any]) -> dict[str, Any]:
    """An answer of `interrogate/status`, whose own state follows from those of its forms."""
    states = [one["state"] for one in forms]
    for state in ("faulted", "done"):
        if set(states) == {state}:
            return {"state": state, "forms": list(forms)}
    found = [state for state in ("processing", "waiting") if state in states]
    return {"state": found[0] if found else "partial", "forms": list(forms)}


@dataclass
class PlayingAlchemy:
    """What is answered. Forms are done at once, unless `statuses` tells a longer story: one answer
    after the other, the last for ever. A caption names the colour of the picture's corner.

    `faults` says which forms fail and why; `extra` is added to every answer, `prospects` to dry
    runs.
    """

    url: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    statuses: list[dict[str, Any]] | None = None
    kudos: float | None = 1.0
    priced: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    prospects: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    watched: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def submit(self, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The answer of `interrogate/async`, and its HTTP status."""
        price = self.kudos and self.kudos * len(body["forms"])
        if body.get("dry_run") and self.priced:
            lines = [{"label": one["name"], "kudos": self.kudos} for one in body["forms"]]
            return {"kudos": price, "lines": lines, **self.prospects}, 200
        request_id = f"00000000-0000-4000-8000-{len(self.asked):012}"
        self.asked[request_id] = body
        answer = {"id": request_id, **self.extra}
        return (answer if price is None else {**answer, "kudos": price}), 202

    def status(self, request_id: str, cancel: bool) -> dict[str, Any]:
        """The answer of `interrogate/status`."""
        (self.cancelled if cancel else self.watched).append(request_id)
        if self.statuses is not None:
            told = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        else:
            body = self.asked[request_id]
            content = base64.b64decode(body["source_image"])
            told = status(*(self._form(one["name"], content) for one in body["forms"]))
        return {**told, **self.extra}

    def _form(self, name: str, content: bytes) -> dict[str, Any]:
        if name in self.faults:
            return form(name, "faulted", reason=self.faults[name])
        drawn = f"{self.url}/pictures/0"
        results = {
            "caption": f"a {colour_of(content)} picture",
            "nsfw": False,
            "interrogation": KEYWORDS,
            **self.results,
        }
        return done(name, results.get(name, drawn))
