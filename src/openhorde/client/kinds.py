# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kinds of request: where each is handed in, asked after and cancelled, and what is answered.

Whoever watches, cancels or asks does so for all kinds alike, with what stands here.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from openhorde.wire.alchemy import AlchemyStatus
from openhorde.wire.requests import RequestCheck, RequestStatus
from openhorde.wire.text import TextStatus

Status = RequestStatus | TextStatus | AlchemyStatus
Asked = RequestCheck | AlchemyStatus
CheckType = TypeVar("CheckType", RequestCheck, TextStatus, AlchemyStatus)
StatusType = TypeVar("StatusType", RequestStatus, TextStatus, AlchemyStatus)


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[CheckType, StatusType]):
    """One kind of request, by the name that workers of the kind go by. The paths but `submit` are
    followed by the request's id.

    `check` tells how far it is, `status` what has come of it as well; kinds without a check of
    their own are asked for their status. `pause_seconds_min` is how often hordes let one ask.
    """

    name: str
    submit: str
    check: str
    status: str
    check_type: type[CheckType]
    status_type: type[StatusType]
    tells_wait: bool = True
    pause_seconds_min: float = 0.5


IMAGE = Kind(
    name="image",
    submit="generate/async",
    check="generate/check",
    status="generate/status",
    check_type=RequestCheck,
    status_type=RequestStatus,
)
TEXT = Kind(
    name="text",
    submit="generate/text/async",
    check="generate/text/status",
    status="generate/text/status",
    check_type=TextStatus,
    status_type=TextStatus,
    # 60 a minute are allowed.
    pause_seconds_min=1.0,
)
ALCHEMY = Kind(
    name="interrogation",
    submit="interrogate/async",
    check="interrogate/status",
    status="interrogate/status",
    check_type=AlchemyStatus,
    status_type=AlchemyStatus,
    tells_wait=False,
)
