# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image requests as the v2 wire shows them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from openhorde.server.actions.generations import generation
from openhorde.server.actions.possibility import Outlook
from openhorde.server.actions.progress import Progress
from openhorde.server.store.requests import Result
from openhorde.wire.requests import (
    NearestVariant,
    RequestCheck,
    RequestStatus,
    RuledOut,
    WaitEstimate,
)

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


def check_shown(progress: Progress) -> RequestCheck:
    """The numbers of a request."""
    return RequestCheck(**_numbers(progress))


async def status_shown(
    horde: "Horde", progress: Progress, finished: Iterable[Result]
) -> RequestStatus:
    """The numbers of a request with its finished pictures."""
    inline = progress.facts.inline_results
    return RequestStatus(
        **_numbers(progress),
        generations=[await generation(horde, result, inline=inline) for result in finished],
        shared=progress.facts.shared,
    )


def _numbers(progress: Progress) -> dict[str, Any]:
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
