# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known about text models: how large they are (rules 4.7)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from openhorde.server.domain.model_names import OWNER_MARK, owner_of
from openhorde.server.domain.shown_text import is_plain

MODELS_MAX: Final = 200
BACKEND_PREFIXES: Final = ("koboldcpp/", "aphrodite/")
"""What workers put before the name of a model that a reference knows without it."""

# Such as ".Q4_K_M", "-Q8_0" or "-Q-Int4"; the second one takes what belongs to it as well, such as
# ".i1-Q4_K_M" or "-IQ4_XS". Whoever looks up tries the shorter cut first: "-7B" in "x-7B-Q8_0" is
# no part of the suffix.
_QUANTISATION: Final = (
    re.compile(r"[.,-]Q(?:-[Ii]nt)?[2-9]{1,2}(?:[_.-][A-Za-z0-9]+)*"),
    re.compile(r"[.,-][A-Za-z0-9]+-?Q(?:-[Ii]nt)?[2-9]{1,2}(?:[_.-][A-Za-z0-9]+)*"),
)


class TextReference:
    """The text models that this horde knows the size of. Immutable."""

    __slots__ = ("_billions",)

    def __init__(self, billions: Mapping[str, float]) -> None:
        """`billions`: parameters of each model, in billions."""
        self._billions = dict(billions)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TextReference":
        """A reference from the public form: name to {parameters, ...}, `parameters` a plain number.

        Unknown keys are ignored; a model without a positive number of parameters stays unknown.
        """
        sizes = ((name, _size(entry or {})) for name, entry in data.items())
        return cls({name: size / 1e9 for name, size in sizes if size is not None})

    def billions(self, name: str) -> float | None:
        """The model's parameters in billions; None for an unknown one.

        `name::alias` and quantised names ("x.Q4_K_M") are looked up as what they are made of.
        """
        found = (self._billions.get(spelling) for spelling in spellings(name))
        return next((size for size in found if size is not None), None)

    def is_known(self, name: str) -> bool:
        """Whether the model's size is known."""
        return self.billions(name) is not None

    def accept(self, declared: Sequence[str], *, alias: str) -> tuple[str, ...]:
        """The models that a worker may serve out of those it declares (rules 1.3).

        Any name that can be shown may be served, but `name::alias` only by the owner of that
        `alias`. The first 200 count. When nothing is left the caller refuses the worker.
        """
        first = declared[:MODELS_MAX]
        allowed = (name for name in first if owner_of(name) in (None, alias) and is_plain(name))
        return tuple(dict.fromkeys(allowed))


@lru_cache(maxsize=10_000)
def spellings(name: str) -> tuple[str, ...]:
    """The names under which a model may be in a reference, the fullest first, each once."""
    return tuple(dict.fromkeys(_spellings(name.partition(OWNER_MARK)[0])))


def _spellings(name: str) -> Iterator[str]:
    yield name
    for suffix in _QUANTISATION:
        yield suffix.sub("", name, count=1)
    for prefix in BACKEND_PREFIXES:
        if name.startswith(prefix):
            yield from _spellings(name.removeprefix(prefix))


def _size(entry: Mapping[str, Any]) -> float | None:
    size = entry.get("parameters")
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        return None
    return float(size) if isfinite(size) and size > 0 else None
