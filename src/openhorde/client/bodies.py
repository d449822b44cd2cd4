# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings that a caller gives by name become the body of a request."""

from collections.abc import Mapping, Set
from difflib import get_close_matches
from typing import Any

import msgspec

EXTRA = "extra_params"


def request_body(
    prompt: str, settings: Mapping[str, Any], *, params: Set[str], request: Set[str]
) -> dict[str, Any]:
    """The JSON body of a request: only what was asked for, so defaults are the horde's.

    `params` are the settings that belong inside `params`, `request` those beside it. Bounds are
    left to the horde: it may know samplers or sizes that this client does not. `extra_params` goes
    into `params` unlooked-at. Raises TypeError for a setting that is neither.
    """
    asked = {name: value for name, value in settings.items() if value is not None}
    inside: dict[str, Any] = dict(asked.pop(EXTRA, None) or {})
    body: dict[str, Any] = {"prompt": prompt}
    for name, value in asked.items():
        if name in params:
            inside[name] = value
        elif name in request:
            body[name] = value
        else:
            raise unknown(name, params | request | {EXTRA})
    if inside:
        body["params"] = inside
    built: dict[str, Any] = msgspec.to_builtins(body)
    return built


def unknown(name: str, known: Set[str]) -> TypeError:
    """A setting that there is not, with the one that was probably meant."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(sorted(known))}"
    carries = f" ({EXTRA} carries what this client does not know)" if EXTRA in known else ""
    return TypeError(f"unknown setting {name!r}: {hint}{carries}")
