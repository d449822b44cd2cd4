# SPDX-License-Identifier: AGPL-3.0-or-later
"""Status: how the horde as a whole is doing."""

from typing import Literal

from msgspec import Struct


class Heartbeat(Struct, kw_only=True):
    """Is this node alive? Facts of this node only."""

    message: Literal["OK", "DOWN", "OVERLOADED"]
    version: str
    queue: int
    threads: int
    active_count: int
    db_connection: Literal["OK", "DOWN"]


class ActiveModel(Struct, kw_only=True):
    """A model that is served now. `queued` in things, `eta` in seconds."""

    name: str
    count: int
    performance: float
    queued: float
    jobs: float
    eta: int
    type: Literal["image", "text"]


class Performance(Struct, kw_only=True):
    """Queue sizes, machines and speed. Megapixelsteps are pixels x steps / 1,000,000."""

    queued_requests: int = 0
    queued_text_requests: int = 0
    worker_count: int = 0
    text_worker_count: int = 0
    thread_count: int = 0
    text_thread_count: int = 0
    queued_megapixelsteps: float = 0
    past_minute_megapixelsteps: float = 0
    queued_forms: float = 0
    interrogator_count: int = 0
    interrogator_thread_count: int = 0
    queued_tokens: float = 0
    past_minute_tokens: float = 0
