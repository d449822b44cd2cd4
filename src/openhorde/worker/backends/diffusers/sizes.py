# SPDX-License-Identifier: AGPL-3.0-or-later
"""At which size to draw. All in pixels."""


def within(width: int, height: int, side: int, multiple: int) -> tuple[int, int]:
    """The size, or one of the same shape with no more pixels than a square of `side`.

    Both sides come out as multiples of `multiple`, and at least that.
    """
    scale = min(1.0, (side * side / (width * height)) ** 0.5)
    return _round(width * scale, multiple), _round(height * scale, multiple)


def _round(length: float, multiple: int) -> int:
    return max(multiple, round(length / multiple) * multiple)
