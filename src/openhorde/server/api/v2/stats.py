# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statistics of what was done, kind by kind."""

from typing import Literal

from msgspec import Struct

from openhorde.server.api.operations import Call, Operation
from openhorde.server.store import stats
from openhorde.wire.stats import ImagePeriod, ImageTotals, ModelTotals, TextPeriod, TextTotals

CACHE_SECONDS = 50


class ModelsQuery(Struct, kw_only=True):
    """Which models: known to the reference or not."""

    model_state: Literal["known", "custom", "all"] = "known"


async def get_image_totals(call: Call) -> ImageTotals:
    """Pictures and pixelsteps."""
    totals = await stats.totals(call.horde.statements, "image")
    return ImageTotals(
        **{period: ImagePeriod(images=each.jobs, ps=each.things) for period, each in totals.items()}
    )


async def get_text_totals(call: Call) -> TextTotals:
    """Texts and tokens."""
    totals = await stats.totals(call.horde.statements, "text")
    return TextTotals(
        **{
            period: TextPeriod(requests=each.jobs, tokens=each.things)
            for period, each in totals.items()
        }
    )


async def get_image_models(call: Call) -> ModelTotals:
    """Pictures by model."""
    query: ModelsQuery = call.query
    found = await stats.models(call.horde.statements, "image")
    reference = call.horde.reference

    def chosen(counts: dict[str, int]) -> dict[str, int]:
        return {
            model: jobs
            for model, jobs in counts.items()
            if query.model_state in ("all", "known" if reference.is_known(model) else "custom")
        }

    return ModelTotals(day=chosen(found.day), month=chosen(found.month), total=chosen(found.total))


async def get_text_models(call: Call) -> ModelTotals:
    """Texts by model."""
    found = await stats.models(call.horde.statements, "text")
    return ModelTotals(day=found.day, month=found.month, total=found.total)


OPERATIONS = (
    Operation(
        name="get_image_horde_stats_totals",
        method="GET",
        path="/api/v2/stats/img/totals",
        handler=get_image_totals,
        summary="How many pictures were made, and how much work that was",
        tag="stats",
        answer=ImageTotals,
        cache_seconds=CACHE_SECONDS,
    ),
    Operation(
        name="get_image_horde_stats_models",
        method="GET",
        path="/api/v2/stats/img/models",
        handler=get_image_models,
        summary="How many pictures each model made",
        tag="stats",
        query=ModelsQuery,
        answer=ModelTotals,
        cache_seconds=CACHE_SECONDS,
    ),
    Operation(
        name="get_text_horde_stats_totals",
        method="GET",
        path="/api/v2/stats/text/totals",
        handler=get_text_totals,
        summary="How many texts were written, and how long they were",
        tag="stats",
        answer=TextTotals,
        cache_seconds=CACHE_SECONDS,
    ),
    Operation(
        name="get_text_horde_stats_models",
        method="GET",
        path="/api/v2/stats/text/models",
        handler=get_text_models,
        summary="How many texts each model wrote",
        tag="stats",
        answer=ModelTotals,
        cache_seconds=CACHE_SECONDS,
    ),
)
