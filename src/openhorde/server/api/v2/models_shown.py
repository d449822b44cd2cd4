# SPDX-License-Identifier: AGPL-3.0-or-later
"""The list of models that are served or asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from openhorde.server.domain.reference import Reference
from openhorde.wire.status import ActiveModel

ETA_NEVER_SECONDS = 10_000
ModelType = Literal["image", "text"]


@dataclass(slots=True)
class Demand:
    """Jobs that wait or are in hand, and how much work they are."""

    jobs: float = 0
    things: float = 0


def demand_by_model(lanes: Iterable[tuple[Sequence[str], Demand]]) -> dict[str, Demand]:
    """Share what is asked of several models out among them."""
    found: dict[str, Demand] = {}
    for models, demand in lanes:
        for model in models:
            share = found.setdefault(model, Demand())
            share.jobs += demand.jobs / len(models)
            share.things += demand.things / len(models)
    return found


def show_models(
    workers: Iterable[tuple[Sequence[str], int]],
    speeds: Mapping[str, float],
    demands: Mapping[str, Demand],
    reference: Reference,
    model_type: ModelType,
) -> list[ActiveModel]:
    """One row for each model that is served; the most served first. Known image models are listed
    also when they are only asked for.

    `workers` are (models, threads); `speeds` in things a second.
    """
    threads: dict[str, int] = {}
    for models, count in workers:
        for model in models:
            threads[model] = threads.get(model, 0) + count
    for model in demands:
        if model_type == "image" and model in (reference.known or ()):
            threads.setdefault(model, 0)
    rows = []
    for model, count in threads.items():
        demand = demands.get(model) or Demand()
        speed = speeds.get(model, 0.0)
        row = ActiveModel(
            name=model,
            count=count,
            performance=round(speed, 2),
            queued=round(demand.things, 2),
            jobs=round(demand.jobs, 2),
            eta=_eta_seconds(demand.things, count * speed),
            type=model_type,
        )
        rows.append(row)
    rows.sort(key=lambda row: (-row.count, row.name))
    return rows


def _eta_seconds(things: float, things_per_second: float) -> int:
    if things_per_second <= 0:
        return ETA_NEVER_SECONDS
    return int(things / things_per_second)
