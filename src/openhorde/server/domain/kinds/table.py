# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table of kinds of work; `face.py` says how to add one."""

from typing import Any, Final

from openhorde.server.domain.kinds.alchemy_kind import AlchemyKind
from openhorde.server.domain.kinds.face import AnyKind
from openhorde.server.domain.kinds.image_kind import ImageKind
from openhorde.server.domain.kinds.text_kind import TextKind

_ALL: tuple[AnyKind, ...] = (ImageKind(), AlchemyKind(), TextKind())

KINDS: Final[dict[str, AnyKind]] = {kind.name: kind for kind in _ALL}
_BY_STRUCT: Final[dict[type, AnyKind]] = {
    struct: kind for kind in _ALL for struct in (kind.request_type, kind.pop_type)
}

USUAL_SPEEDS: Final[dict[str, int]] = {kind.name: kind.divisor for kind in _ALL}
"""What a worker without a measured speed counts for, by kind, in things a second."""


def kind_of(said: Any) -> AnyKind:
    """The kind whose request or pop this is."""
    return _BY_STRUCT[type(said)]
