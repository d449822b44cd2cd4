# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bars over hours as SVG: sharp on any screen, in the page's own colours, without a script."""

import math
from collections.abc import Sequence
from html import escape

from msgspec import Struct

WIDTH, HEIGHT = 420, 170
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 28, 20
GAP_SHARE = 0.2
LABELS_MAX = 6


class Bar(Struct, frozen=True):
    """One bar: what stands below it, and how high it is."""

    label: str
    value: float


def bars_svg(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """The bars from left to right, with a grid; each tells its value when pointed at."""
    top = round_top(max((bar.value for bar in bars), default=0.0))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    slot = inner_width / max(1, len(bars))
    every = max(1, math.ceil(len(bars) / LABELS_MAX))
    parts = [_line(share, top, inner_height) for share in (0.0, 0.5, 1.0)]
    for index, bar in enumerate(bars):
        left = LEFT + index * slot
        height = inner_height * bar.value / top
        told = escape(f"{bar.label}: {number_text(bar.value)} {unit}")
        parts.append(
            f'<rect class="bar" x="{left + slot * GAP_SHARE / 2:.1f}" '
            f'y="{TOP + inner_height - height:.1f}" width="{slot * (1 - GAP_SHARE):.1f}" '
            f'height="{height:.1f}"><title>{told}</title></rect>'
        )
        # Counted from the right, so that the present hour always has its label.
        if (len(bars) - 1 - index) % every == 0:
            parts.append(
                f'<text x="{left + slot / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
                f"{escape(bar.label)}</text>"
            )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><text x="0" y="13" class="title">{escape(title)}</text>'
        f"{''.join(parts)}</svg>"
    )


def round_top(highest: float) -> float:
    """A round number that is not below `highest`, with a half that is short too; at least 1."""
    if highest <= 1:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(highest))
    return next(power * step for step in (1, 2, 4, 6, 10) if power * step >= highest)


def number_text(value: float, decimals: int = 2) -> str:
    """A number as people read it: at most so many decimals, none that is 0 at the end."""
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _line(share: float, top: float, inner_height: float) -> str:
    y = TOP + inner_height * (1 - share)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number_text(top * share)}</text>'
    )
