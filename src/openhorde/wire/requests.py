# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests: what a client sends, and what it hears while it waits and when it is done."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from openhorde.wire.bounds import (
    PICTURE_CHARACTERS_MAX,
    PICTURES_MAX,
    PROMPT_CHARACTERS_MAX,
    ModelNames,
    WorkerNames,
)
from openhorde.wire.image import ExtraSourceImage, ImageParams, SourceProcessing


class ImageRequest(Struct, kw_only=True):
    """Body of `POST generate/async`."""

    prompt: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=PROMPT_CHARACTERS_MAX,
            description="positive ### negative",
        ),
    ]
    params: ImageParams = field(default_factory=ImageParams)
    models: ModelNames = field(default_factory=lambda: ["stable_diffusion"])
    nsfw: bool = True
    censor_nsfw: bool = True
    trusted_workers: bool = False
    validated_backends: bool = False
    slow_workers: bool = True
    extra_slow_workers: bool = False
    workers: WorkerNames = field(default_factory=list)
    worker_blacklist: bool = False
    source_image: Annotated[str, Meta(max_length=PICTURE_CHARACTERS_MAX)] | None = None
    source_processing: SourceProcessing = "img2img"
    source_mask: Annotated[str, Meta(max_length=PICTURE_CHARACTERS_MAX)] | None = None
    extra_source_images: Annotated[list[ExtraSourceImage], Meta(max_length=PICTURES_MAX)] = field(
        default_factory=list
    )
    r2: bool = True
    shared: bool = False
    replacement_filter: bool = True
    dry_run: bool = False
    proxied_account: Annotated[str, Meta(max_length=255)] | None = None
    disable_batching: bool = False
    allow_downgrade: bool = False
    webhook: Annotated[str, Meta(min_length=10, max_length=1024)] | None = None
    style: Annotated[str, Meta(min_length=3, max_length=1024)] | None = None


class Warning(Struct, kw_only=True):
    """Something that may not come out as the requester hopes."""

    code: str
    message: str


class PriceLine(Struct, kw_only=True):
    """One line of a price's explanation. `kudos` is what the line adds."""

    label: str
    kudos: float


class WaitEstimate(Struct, kw_only=True):
    """Seconds until the request is done, in half of all cases and in nine of ten."""

    p50: float
    p90: float


class RuledOut(Struct, kw_only=True):
    """One reason why workers cannot do a request (named as in `Skipped`): how many workers online
    it rules out, and how many of these nothing else rules out."""

    reason: str
    workers: int
    alone: int
    sentence: str


class NearestVariant(Struct, kw_only=True):
    """What to change so that a worker online would do the request: paths of its body and their new
    values; null means to leave the field out."""

    changes: dict[str, Any]
    sentence: str


class Outlook(Struct, kw_only=True, omit_defaults=True):
    """How a request stands with the workers online. `eta` is there when one fits, `nearest` when
    none does but would after a change, `ruled_out` when none fits and in a dry run."""

    is_possible: bool | None = None
    workers_fitting: int | None = None
    eta: WaitEstimate | None = None
    ruled_out: list[RuledOut] | None = None
    nearest: NearestVariant | None = None


class RequestQueued(Outlook, kw_only=True, omit_defaults=True):
    """Answer 202 of `generate/async`; `kudos` is the base price of one job. `webhook_secret` is
    there if a webhook was given: it verifies the calls (standardwebhooks.com)."""

    id: str
    kudos: float
    message: str | None = None
    warnings: list[Warning] | None = None
    webhook_secret: str | None = None


class RequestPriced(Outlook, kw_only=True, omit_defaults=True):
    """Answer 200 of a dry run: the estimated total, and where it comes from."""

    kudos: float
    lines: list[PriceLine] | None = None
    warnings: list[Warning] | None = None


class RequestCheck(Struct, kw_only=True):
    """How far a request is. `wait_time` in seconds; `queue_position` 0 once nothing waits."""

    finished: int
    processing: int
    restarted: int
    waiting: int
    done: bool
    faulted: bool
    wait_time: int
    queue_position: int
    kudos: float
    is_possible: bool


class GenerationMetadata(Struct, kw_only=True, omit_defaults=True):
    """A note about one picture: what was skipped, censored or ranked."""

    type: Literal[
        "lora",
        "ti",
        "censorship",
        "source_image",
        "source_mask",
        "extra_source_images",
        "batch_index",
        "information",
        "aesthetic_score",
    ]
    value: Literal[
        "download_failed", "parse_failed", "baseline_mismatch", "csam", "nsfw", "see_ref"
    ]
    ref: Annotated[str, Meta(max_length=255)] | None = None


class Note(Struct, kw_only=True):
    """A `GenerationMetadata` as clients read it: they need not know every word of every horde."""

    type: str
    value: str
    ref: str | None = None


class Generation(Struct, kw_only=True):
    """One finished picture: `img` is a URL, or base64 WebP when the request said r2 false."""

    id: str
    img: str
    seed: str
    model: str
    worker_id: str
    worker_name: str
    state: Literal["ok", "censored", "csam"] = "ok"
    censored: bool = False
    gen_metadata: list[Note] = field(default_factory=list)


FaultMessage = Annotated[
    str | None,
    Meta(
        description="why no worker can do the request, where it is at fault itself; only for"
        " callers who send `Openhorde-Extras: 1`"
    ),
]


class RequestStatus(RequestCheck, kw_only=True):
    """`RequestCheck` with the pictures that are done."""

    generations: list[Generation] = field(default_factory=list)
    shared: bool = False
    message: FaultMessage = None
