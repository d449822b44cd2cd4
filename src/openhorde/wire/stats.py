# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statistics: how much was done, and with which models."""

from msgspec import Struct


class ImagePeriod(Struct, kw_only=True):
    """What was done within a period: pictures, and their pixelsteps."""

    images: int
    ps: int


class TextPeriod(Struct, kw_only=True):
    """What was done within a period: texts, and their tokens."""

    requests: int
    tokens: int


class ImageTotals(Struct, kw_only=True):
    """Answer of `stats/img/totals`. A month is 30 days."""

    minute: ImagePeriod
    hour: ImagePeriod
    day: ImagePeriod
    month: ImagePeriod
    total: ImagePeriod


class TextTotals(Struct, kw_only=True):
    """Answer of `stats/text/totals`. A month is 30 days."""

    minute: TextPeriod
    hour: TextPeriod
    day: TextPeriod
    month: TextPeriod
    total: TextPeriod


class ModelTotals(Struct, kw_only=True):
    """Answer of `stats/img/models` and `stats/text/models`: jobs done, by model."""

    day: dict[str, int]
    month: dict[str, int]
    total: dict[str, int]
