# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a price of any kind of work is told: line by line."""

from msgspec import Struct


class PriceLine(Struct, frozen=True):
    """One line of an explanation and what it adds, in thousandths."""

    label: str
    milli: int


class Estimate(Struct, frozen=True):
    """What a whole request is expected to cost; `lines` sum exactly to `total_milli`."""

    total_milli: int
    lines: tuple[PriceLine, ...]
