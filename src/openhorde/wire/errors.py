# SPDX-License-Identifier: AGPL-3.0-or-later
"""Errors: what every refusal looks like."""

from msgspec import Struct


class Error(Struct, kw_only=True, omit_defaults=True):
    """`message` is for people; `rc` for programs; `errors` names the fields that are wrong."""

    message: str
    rc: str | None = None
    errors: dict[str, str] | None = None
