# SPDX-License-Identifier: AGPL-3.0-or-later
"""Work: a worker asks for jobs (pop) and hands results in (submit)."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from openhorde.wire.bounds import (
    MODELS_MAX,
    PICTURE_CHARACTERS_MAX,
    Blacklist,
    Id,
    OfferedName,
    OfferedWords,
    PriorityNames,
)
from openhorde.wire.image import ExtraSourceImage, ImagePayload, SourceProcessing
from openhorde.wire.requests import GenerationMetadata

HOLDING_MAX = 100
"""A worker that holds more jobs than this says nothing."""

Holding = Annotated[
    Annotated[list[Annotated[str, Meta(max_length=36)]], Meta(max_length=HOLDING_MAX)] | None,
    Meta(
        description="ids of all jobs that this worker was given and has not handed in, at most"
        f" {HOLDING_MAX}: others that it was given go back into the queue. Only for a worker that"
        " has no other pop of the same name under way; null where it does not say"
    ),
]


class ImagePop(Struct, kw_only=True):
    """Body of `POST generate/pop`: who asks and what it can do. `max_pixels` is width x height."""

    name: OfferedName
    models: Annotated[
        list[Annotated[str, Meta(min_length=3, max_length=255)]], Meta(max_length=MODELS_MAX)
    ] = field(default_factory=list)
    bridge_agent: Annotated[str, Meta(max_length=1000)] = "unknown:0:unknown"
    nsfw: bool = True
    threads: Annotated[int, Meta(ge=1, le=50)] = 1
    amount: Annotated[int, Meta(ge=1, le=20)] = 1
    priority_usernames: PriorityNames = field(default_factory=list)
    require_upfront_kudos: bool = False
    extra_slow_worker: bool = False
    max_pixels: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 262_144
    blacklist: Blacklist = field(default_factory=list)
    allow_img2img: bool = True
    allow_painting: bool = True
    allow_unsafe_ipaddr: bool | None = None
    allow_unsafe_ip: bool | None = None
    allow_post_processing: bool = True
    allow_controlnet: bool = False
    allow_sdxl_controlnet: bool = False
    allow_lora: bool = False
    limit_max_steps: bool = False
    control_types: Annotated[
        OfferedWords | None,
        Meta(description="the control types it can follow; null: all that its agent knows"),
    ] = None
    post_processors: Annotated[
        OfferedWords | None,
        Meta(description="the post-processors it has; null: all that its agent knows"),
    ] = None
    stand_ins: Annotated[
        OfferedWords,
        Meta(description="those of the models that are only for requests that name them"),
    ] = field(default_factory=list)
    wait: Annotated[
        float,
        Meta(ge=0, le=60, description="seconds to hold the call until there is a job that fits"),
    ] = 0
    holding: Holding = None


class Skipped(Struct, kw_only=True, rename={"post_processing": "post-processing"}):
    """How many waiting requests a worker could not be given, by reason."""

    worker_id: int = 0
    performance: int = 0
    nsfw: int = 0
    blacklist: int = 0
    untrusted: int = 0
    models: int = 0
    bridge_version: int = 0
    kudos: int = 0
    max_pixels: int = 0
    step_count: int = 0
    unsafe_ip: int = 0
    img2img: int = 0
    painting: int = 0
    post_processing: int = 0
    lora: int = 0
    controlnet: int = 0


class WorkerMessage(Struct, kw_only=True):
    """A note from the horde's moderators or the owner to the worker."""

    id: str
    message: str
    origin: str
    expiry: str


class ImageJob(Struct, kw_only=True):
    """Answer of `generate/pop`. Nothing to do: `id` is null and `ids` empty, the rest filled.

    `ids` and `r2_uploads` go pairwise, one job each; `ttl` in seconds.
    """

    id: str | None = None
    ids: list[str] = field(default_factory=list)
    model: str | None = None
    payload: ImagePayload = field(default_factory=ImagePayload)
    skipped: Skipped = field(default_factory=Skipped)
    source_image: str | None = None
    source_processing: SourceProcessing = "img2img"
    source_mask: str | None = None
    extra_source_images: list[ExtraSourceImage] | None = None
    r2_upload: str | None = None
    r2_uploads: list[str] | None = None
    ttl: int | None = None
    messages: list[WorkerMessage] = field(default_factory=list)


ResultState = Literal["ok", "censored", "faulted", "csam"]


class ImageSubmit(Struct, kw_only=True):
    """Body of `POST generate/submit`: `generation` is "R2" after an upload, or base64."""

    id: Id
    generation: Annotated[str, Meta(max_length=PICTURE_CHARACTERS_MAX)] = ""
    state: ResultState = "ok"
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    censored: bool = False
    gen_metadata: Annotated[list[GenerationMetadata], Meta(max_length=50)] = field(
        default_factory=list
    )


class Rewarded(Struct, kw_only=True):
    """Answer of a submit: the kudos the job earned."""

    reward: float


class StepReport(Struct, kw_only=True):
    """Body of `POST generate/progress`: how far the job `id` is."""

    id: Id
    step: Annotated[int, Meta(ge=0, le=1_000_000)]
    steps: Annotated[int, Meta(ge=1, le=1_000_000)]


class StepsHeard(Struct, kw_only=True):
    """Answer of `generate/progress`: whether the job's request was cancelled meanwhile, and after
    how many seconds the job is given up as it stands (0: it is already)."""

    cancelled: bool
    ttl: int = 0
