# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers: as the v2 wire shows and edits them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field


class WorkerKudos(Struct, kw_only=True):
    """What a worker has earned, by how."""

    generated: float = 0
    uptime: int = 0


class TeamLite(Struct, kw_only=True):
    """The team a worker counts for; nulls when it has none."""

    name: str | None = None
    id: str | None = None


class WorkerDetails(Struct, kw_only=True, rename={"post_processing": "post-processing"}):
    """A worker. Fields the caller may not see are null. `uptime` in seconds."""

    type: Literal["image", "text", "interrogation"]
    name: str
    id: str
    online: bool
    requests_fulfilled: int
    kudos_rewards: float
    performance: str
    threads: int
    uptime: int
    maintenance_mode: bool
    nsfw: bool
    trusted: bool
    flagged: bool
    uncompleted_jobs: int
    bridge_agent: str
    kudos_details: WorkerKudos = field(default_factory=WorkerKudos)
    team: TeamLite = field(default_factory=TeamLite)
    models: list[str] = field(default_factory=list)
    forms: list[str] | None = None
    info: str | None = None
    max_pixels: int | None = None
    megapixelsteps_generated: float | None = None
    img2img: bool | None = None
    painting: bool | None = None
    post_processing: bool | None = None
    lora: bool | None = None
    controlnet: bool | None = None
    sdxl_controlnet: bool | None = None
    max_length: int | None = None
    max_context_length: int | None = None
    tokens_generated: float | None = None
    owner: str | None = None
    ipaddr: str | None = None
    contact: str | None = None
    paused: bool | None = None
    suspicious: int | None = None
    messages: list[dict[str, str]] | None = None


class WorkerEdit(Struct, kw_only=True, omit_defaults=True):
    """Body and answer of `PUT workers/{id}`: only what is to change, or has changed."""

    maintenance: bool | None = None
    maintenance_msg: Annotated[str, Meta(max_length=10_000)] | None = None
    paused: bool | None = None
    info: Annotated[str, Meta(max_length=1000)] | None = None
    name: Annotated[str, Meta(min_length=5, max_length=100)] | None = None


class WorkerDeleted(Struct, kw_only=True):
    """Answer of `DELETE workers/{id}`."""

    deleted_id: str
    deleted_name: str
