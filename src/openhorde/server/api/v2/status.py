# SPDX-License-Identifier: AGPL-3.0-or-later
"""Status: is this node alive, what is served, how long is the queue?"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from openhorde import __version__
from openhorde.server.api.operations import Answer, Call, Limit, Operation, Who
from openhorde.server.api.v2.models_shown import (
    Demand,
    ModelType,
    demand_by_model,
    show_models,
)
from openhorde.server.api.v2.workers_shown import KIND_OF_TYPE
from openhorde.server.kit.database import DATABASE_AWAY
from openhorde.server.store import status
from openhorde.wire.status import ActiveModel, Heartbeat, Performance

DATABASE_SECONDS_MAX = 2.0
_MEGA = 1_000_000


Count = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class ModelsQuery(Struct, kw_only=True):
    """Which models: of one type; served by so many threads; known to the reference or not."""

    type: ModelType = "image"
    min_count: Count | None = None
    max_count: Count | None = None
    model_state: Literal["known", "custom", "all"] = "all"


class Modes(Struct, kw_only=True, omit_defaults=True):
    """The horde's modes; `raid_mode` is for moderators' eyes."""

    maintenance_mode: bool
    invite_only_mode: bool
    raid_mode: bool | None = None


class NewsItem(Struct, kw_only=True):
    """A piece of news."""

    date_published: str
    newspiece: str
    importance: str
    title: str
    tags: list[str]
    more_info_urls: list[str]


async def get_heartbeat(call: Call) -> Answer:
    """Facts of this node. Always 200: who asks wants to read them.

    DOWN means that nothing new can be taken; with `db_connection` OK the disk is full.
    """
    pool = call.horde.pool
    try:
        async with asyncio.timeout(DATABASE_SECONDS_MAX):
            connected = await status.answers(call.horde.statements)
    except DATABASE_AWAY:
        connected = False
    threads = pool.get_max_size()
    queue = max(0, call.in_flight - threads)
    message: Literal["OK", "DOWN", "OVERLOADED"] = "OVERLOADED" if queue else "OK"
    beat = Heartbeat(
        message="DOWN" if not connected or call.horde.disk.is_full() else message,
        version=__version__,
        queue=queue,
        threads=threads,
        active_count=pool.get_size() - pool.get_idle_size(),
        db_connection="OK" if connected else "DOWN",
    )
    return Answer(beat)


async def get_models(call: Call) -> list[ActiveModel]:
    """What is served now and how much of it is asked for."""
    query: ModelsQuery = call.query
    reference = call.horde.reference
    known = reference.is_known if query.type == "image" else reference.texts.is_known
    return [
        model
        for model in await _models(call, query.type)
        if "horde_special" not in model.name
        and (query.min_count is None or model.count >= query.min_count)
        and (query.max_count is None or model.count <= query.max_count)
        and query.model_state in ("all", "known" if known(model.name) else "custom")
    ]


async def get_model(call: Call) -> list[ActiveModel]:
    """The same for one model: a list of one, or of none."""
    name = call.path["model_name"]
    types: tuple[ModelType, ...] = ("image", "text")
    return [model for each in types for model in await _models(call, each) if model.name == name]


async def get_performance(call: Call) -> Performance:
    """True totals: what waits, and what workers have in hand."""
    horde = call.horde
    image, text, alchemy = [await _queued(call, kind) for kind in ("image", "text", "alchemy")]
    done = await status.things_of_past_minute(horde.statements)
    roster = await horde.workforce.roster()
    crews, threads = Counter(worker.kind for _, worker in roster.offers), roster.threads
    return Performance(
        queued_requests=int(image.jobs),
        queued_megapixelsteps=round(image.things / _MEGA, 2),
        past_minute_megapixelsteps=round(done.get("image", 0) / _MEGA, 2),
        worker_count=crews["image"],
        thread_count=threads("image"),
        queued_text_requests=int(text.jobs),
        queued_tokens=text.things,
        past_minute_tokens=done.get("text", 0),
        text_worker_count=crews["text"],
        text_thread_count=threads("text"),
        queued_forms=alchemy.jobs,
        interrogator_count=crews["alchemy"],
        interrogator_thread_count=threads("alchemy"),
    )


async def _queued(call: Call, kind: str) -> Demand:
    """All that waits or is in hand of a kind."""
    lanes = [demand for _, demand in await _demand(call, kind)]
    return Demand(sum(each.jobs for each in lanes), sum(each.things for each in lanes))


async def get_modes(call: Call) -> Modes:
    """This horde has no modes yet: everything is open."""
    modes = Modes(maintenance_mode=False, invite_only_mode=False)
    if call.account is not None and call.account.moderator:
        modes.raid_mode = False
    return modes


async def get_news(call: Call) -> list[NewsItem]:
    """No news."""
    return []


async def _demand(call: Call, kind: str) -> list[tuple[Sequence[str], Demand]]:
    """What waits or is in hand of a kind, lane by lane, with the models it names."""
    horde = call.horde
    found: list[tuple[Sequence[str], Demand]] = []
    for lane, load in (await horde.queue.snapshot()).lanes.items():
        needs = horde.queue.needs(lane)
        if needs is not None and needs.kind == kind:
            found.append((needs.models, Demand(load.jobs, load.things)))
    for running in await status.running_by_lane(horde.statements):
        if running.kind == kind:
            found.append((running.models, Demand(running.jobs, running.things)))
    return found


async def _models(call: Call, model_type: ModelType) -> list[ActiveModel]:
    roster = await call.horde.workforce.roster()
    kind = KIND_OF_TYPE[model_type]
    return show_models(
        [(worker.models, worker.threads) for _, worker in roster.offers if worker.kind == kind],
        await status.speeds_by_model(call.horde.statements, kind),
        demand_by_model(await _demand(call, kind)),
        call.horde.reference,
        model_type,
    )


OPERATIONS = (
    Operation(
        name="get_heartbeat",
        method="GET",
        path="/api/v2/status/heartbeat",
        handler=get_heartbeat,
        summary="Is this node alive?",
        tag="status",
        answer=Heartbeat,
        limits=(),
    ),
    Operation(
        name="get_models",
        method="GET",
        path="/api/v2/status/models",
        handler=get_models,
        summary="The models that are served now, with their queues",
        tag="status",
        query=ModelsQuery,
        answer=list[ActiveModel],
        cache_seconds=2,
    ),
    Operation(
        name="get_model_single",
        method="GET",
        path="/api/v2/status/models/{model_name:path}",
        handler=get_model,
        summary="One model that is served now, with its queue",
        tag="status",
        answer=list[ActiveModel],
        cache_seconds=1,
    ),
    Operation(
        name="get_horde_load",
        method="GET",
        path="/api/v2/status/performance",
        handler=get_performance,
        summary="How much waits, who works and how fast",
        tag="status",
        answer=Performance,
        cache_seconds=1,
    ),
    Operation(
        name="get_horde_modes",
        method="GET",
        path="/api/v2/status/modes",
        handler=get_modes,
        summary="Is the horde in maintenance or invite-only?",
        tag="status",
        who=Who.OPTIONAL,
        answer=Modes,
        limits=(Limit("30/minute"),),
        refusals=("InvalidAPIKey",),
    ),
    Operation(
        name="get_horde_news",
        method="GET",
        path="/api/v2/status/news",
        handler=get_news,
        summary="News of the horde",
        tag="status",
        answer=list[NewsItem],
    ),
)
