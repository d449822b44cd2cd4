# SPDX-License-Identifier: AGPL-3.0-or-later
"""The front page, and the texts behind it."""

from openhorde import __version__
from openhorde.server.api.operations import Answer, Call, Operation
from openhorde.server.api.pages.layout import page
from openhorde.server.api.v2.status import get_performance

SERVICE_INFO_VERSION = "0.2"


async def get_front(call: Call) -> Answer:
    """How the horde is doing, and how to start."""
    totals = await get_performance(call)
    values = {
        "root": call.url_root,
        "version": __version__,
        "workers": totals.worker_count,
        "threads": totals.thread_count,
        "queued": totals.queued_requests,
        "waiting": f"{totals.queued_megapixelsteps:,.0f}",
        "speed": f"{totals.past_minute_megapixelsteps:,.0f}",
    }
    return page("front", "openhorde", values, prefix=call.prefix)


async def get_terms(call: Call) -> Answer:
    """What users and workers agree to."""
    return page("terms", "Terms", prefix=call.prefix)


async def get_privacy(call: Call) -> Answer:
    """What is kept, and for how long."""
    hours = call.horde.settings.picture_seconds / 3600
    return page("privacy", "Privacy", {"hours": f"{hours:g}"}, prefix=call.prefix)


async def get_service_info(call: Call) -> Answer:
    """What serves here, for programs that look around."""
    info = {
        "version": SERVICE_INFO_VERSION,
        "software": {
            "name": "openhorde",
            "version": __version__,
            "repository": call.horde.settings.source_url or f"{call.url_root}/source",
            "homepage": f"{call.url_root}/",
        },
        "api": {
            "aihorde": {
                "name": "AI Horde API",
                "version": "2.5",
                "base_url": f"{call.url_root}/api/v2",
                "rel_url": f"{call.prefix}/api/v2",
                "documentation": f"{call.url_root}/api",
            }
        },
    }
    return Answer(info)


OPERATIONS = (
    Operation(
        name="front_page",
        method="GET",
        path="/",
        handler=get_front,
        summary="The front page",
        tag="",
    ),
    Operation(
        name="terms_page",
        method="GET",
        path="/terms",
        handler=get_terms,
        summary="The terms of use",
        tag="",
    ),
    Operation(
        name="privacy_page",
        method="GET",
        path="/privacy",
        handler=get_privacy,
        summary="What is kept",
        tag="",
    ),
    Operation(
        name="service_info",
        method="GET",
        path="/.well-known/serviceinfo",
        handler=get_service_info,
        summary="What serves here",
        tag="",
    ),
)
