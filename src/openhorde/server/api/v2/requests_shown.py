# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image and text requests as the v2 wire shows them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from openhorde.server.actions.generations import generation
from openhorde.server.actions.possibility import Outlook
from openhorde.server.actions.progress import Progress
from openhorde.server.actions.requests import Priced, Queued
from openhorde.server.actions.texts import text_generation
from openhorde.server.api.operations import Call
from openhorde.server.domain.faults import of_request
from openhorde.server.store.events import TakenJob
from openhorde.wire.requests import (
    NearestVariant,
    PriceLine,
    RequestCheck,
    RequestPriced,
    RequestQueued,
    RequestStatus,
    RuledOut,
    WaitEstimate,
)
from openhorde.wire.text import TextStatus

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


def outlook_shown(outlook: Outlook) -> dict[str, Any]:
    """The fields of the wire's `Outlook`."""
    eta, variant = outlook.eta, outlook.variant
    return {
        "is_possible": outlook.is_possible,
        "workers_fitting": outlook.fitting,
        "eta": eta and WaitEstimate(p50=round(eta.p50_seconds, 1), p90=round(eta.p90_seconds, 1)),
        "ruled_out": [
            RuledOut(
                reason=each.reason, workers=each.workers, alone=each.alone, sentence=each.sentence
            )
            for each in outlook.obstacles
        ]
        or None,
        "nearest": variant and NearestVariant(changes=variant.changes, sentence=variant.sentence),
    }


def priced_shown(priced: Priced) -> RequestPriced:
    """What a request would cost, and why."""
    return RequestPriced(
        kudos=priced.kudos_milli / 1000,
        lines=[PriceLine(label=line.label, kudos=line.milli / 1000) for line in priced.lines],
        warnings=list(priced.warnings) or None,
        **outlook_shown(priced.outlook),
    )


def queued_shown(queued: Queued, kudos_milli: int) -> RequestQueued:
    """A request that waits now, with the amount that its kind tells of it."""
    return RequestQueued(
        id=str(queued.request_id),
        kudos=kudos_milli / 1000,
        message=queued.message,
        warnings=list(queued.warnings) or None,
        webhook_secret=queued.webhook_secret,
        **outlook_shown(queued.outlook),
    )


def check_shown(progress: Progress) -> RequestCheck:
    """The numbers of a request."""
    return RequestCheck(**numbers(progress))


async def status_shown(
    horde: "Horde", progress: Progress, taken: Sequence[TakenJob]
) -> RequestStatus:
    """The numbers of an image request with its finished pictures."""
    inline = progress.facts.inline_results
    finished = [result for job in taken if (result := job.finished())]
    return RequestStatus(
        **numbers(progress),
        generations=[await generation(horde, result, inline) for result in finished],
        shared=progress.facts.shared,
        message=of_request(job.result for job in taken),
    )


async def text_status_shown(
    horde: "Horde", progress: Progress, taken: Sequence[TakenJob]
) -> TextStatus:
    """The numbers of a text request with its finished texts."""
    finished = [result for job in taken if (result := job.finished())]
    return TextStatus(
        **numbers(progress),
        generations=[await text_generation(horde, result, True) for result in finished],
        message=of_request(job.result for job in taken),
    )


def heard(call: Call, status: RequestStatus | TextStatus) -> dict[str, Any]:
    """A status as the caller hears it: a message only if there is one, and only if the caller has
    asked for what is beyond the wire, as some refuse fields that they do not know."""
    shown: dict[str, Any] = msgspec.to_builtins(status)
    if status.message is None or call.headers.get(b"openhorde-extras") != b"1":
        del shown["message"]
    return shown


def numbers(progress: Progress) -> dict[str, Any]:
    """The fields of the wire's `RequestCheck`."""
    life = progress.life
    ended_early = progress.facts.state in ("faulted", "expired")
    return {
        "finished": life.finished,
        "processing": life.processing,
        "restarted": life.restarted,
        "waiting": life.waiting,
        "done": life.done,
        "faulted": life.faulted or ended_early,
        "wait_time": progress.wait_seconds,
        "queue_position": progress.queue_position,
        "kudos": progress.kudos_milli / 1000,
        "is_possible": progress.is_possible,
    }
