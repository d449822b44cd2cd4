# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures: each with the machine's own limit and the ratio of the two."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. `limit` is what pgbench reached with the same statements (or what `limit_is`
    says); null where there is none. `target` is what the project aims at, in words, and
    `target_value` as a number of the same unit."""

    key: str
    label: str
    value: float
    unit: str
    limit: float | None = None
    limit_is: str = "pgbench, same statements"
    target: str = ""
    target_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value by limit: for rates 1 is the best there is, for times and costs too."""
        return self.value / self.limit if self.limit else None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "key": self.key,
            "label": self.label,
            "value": rounded(self.value),
            "unit": self.unit,
            "limit": rounded(self.limit),
            "limit_is": self.limit_is if self.limit is not None else None,
            "ratio": rounded(self.ratio),
            "target": self.target or None,
            "target_value": self.target_value,
        }


@dataclass(slots=True)
class Figures:
    """All that was found, and facts that help to read it."""

    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, *figures: Figure) -> None:
        """Append."""
        self.figures += figures

    def value(self, key: str) -> Figure:
        """The figure of a key."""
        return next(figure for figure in self.figures if figure.key == key)


def rounded(value: float | None) -> float | None:
    """Three significant digits are more than the machine repeats."""
    return float(f"{value:.3g}") if value is not None and abs(value) < 1000 else _whole(value)


def _whole(value: float | None) -> float | None:
    return None if value is None else round(value)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of all is not above."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def percentiles_milli(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds, and how many there are."""
    if not seconds:
        return {"count": 0}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: rounded(percentile(seconds, share) * 1000) for name, share in shares.items()}
    return {**found, "count": len(seconds)}
