# SPDX-License-Identifier: AGPL-3.0-or-later
"""Variants of a request of any kind: changes are made, undone in thought, and told."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.possibility import Candidate, Variant

Changes = Mapping[str, Any]
"""Paths of the request's body and their new values; None leaves a field out."""

RequestT = TypeVar("RequestT", bound=Struct)


class Finding(ABC, Generic[RequestT]):
    """How the finders of all kinds go about it; each says what to change for a worker's sake."""

    def nearest(
        self,
        request: RequestT,
        candidates: Sequence[Candidate],
        needs_of: Callable[[RequestT], Needs],
    ) -> Variant | None:
        """The first change that makes the request fit one of these workers (see `closest`).

        `needs_of` judges a changed request and says what it needs; it raises Refusal when that may
        not be asked. None when no change helps.
        """
        for candidate in candidates:
            changes = self._changes(request, candidate.offer, needs_of)
            if changes:
                return Variant(changes, sentence(changes))
        return None

    @abstractmethod
    def _changes(
        self, request: RequestT, offer: Offer, needs_of: Callable[[RequestT], Needs]
    ) -> dict[str, Any] | None:
        """Changes with which the request fits the offer, if there are any."""


def apply(request: RequestT, changes: Changes) -> RequestT:
    """The request with these changes, as a client would send it."""
    body = msgspec.to_builtins(request)
    for path, value in changes.items():
        *parents, name = path.split(".")
        target = body["params"] if parents else body
        if value is None:
            target.pop(name, None)
        else:
            target[name] = msgspec.to_builtins(value)
    return msgspec.convert(body, type(request))


def old(request: Struct, path: str) -> Any:
    """What the request says now at a path of its body."""
    value: Any = request
    for name in path.split("."):
        value = getattr(value, name)
    return value


def sentence(changes: Changes) -> str:
    """The changes in words."""
    *parts, last = (_phrase(path, value) for path, value in changes.items())
    told = f"{', '.join(parts)} and {last}" if parts else last
    return f"It would run with {told}."


def _phrase(path: str, value: Any) -> str:
    if value is None or value == []:
        return f"no {path}"
    if isinstance(value, bool):
        return f"{path} {'true' if value else 'false'}"
    if isinstance(value, list):
        names = (each if isinstance(each, str) else each.name for each in value)
        return f"{path} {', '.join(names)}"
    return f"{path} {value}"
