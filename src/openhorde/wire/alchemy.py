# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy: forms are asked of one picture; each is a job with a result of its own shape."""

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, field

from openhorde.wire.bounds import Id, Key, OfferedName, OfferedWords, Picture, PriorityNames
from openhorde.wire.image import PostProcessor
from openhorde.wire.requests import GenerationMetadata, Outlook, PriceLine
from openhorde.wire.work import Holding

Interrogation = Literal[
    "caption", "interrogation", "nsfw", "vectorize", "palette", "describe", "aesthetic"
]
Form = Interrogation | PostProcessor
FORMS_MAX = len(get_args(Interrogation)) + len(get_args(PostProcessor))
RESULT_CHARACTERS_MAX = 256 << 10
FormState = Literal["waiting", "processing", "done", "faulted", "cancelled", "partial"]


class AskedForm(Struct, kw_only=True):
    """One form to be done, with what it may be told (of a caption, say, `max_length`)."""

    name: Form
    payload: Annotated[dict[Key, Any], Meta(max_length=100)] | None = None


class AlchemyRequest(Struct, kw_only=True):
    """Body of `POST interrogate/async`. `source_image` is a URL or base64."""

    source_image: Picture
    forms: Annotated[list[AskedForm], Meta(min_length=1, max_length=FORMS_MAX)]
    slow_workers: bool = True
    trusted_workers: bool = False
    dry_run: bool = False
    webhook: Annotated[str, Meta(min_length=10, max_length=1024)] | None = None


class AlchemyQueued(Outlook, kw_only=True, omit_defaults=True):
    """Answer 202 of `interrogate/async`; `kudos` is the price of all forms together, which not
    every horde tells."""

    id: str
    kudos: float | None = None
    message: str | None = None
    webhook_secret: str | None = None


class AlchemyPriced(Outlook, kw_only=True, omit_defaults=True):
    """Answer 200 of a dry run."""

    kudos: float
    lines: list[PriceLine] | None = None
    message: str | None = None


class FormStatus(Struct, kw_only=True, omit_defaults=True):
    """One form. `result` is there once it is done: an object with the form's name as its only key.
    `reason` tells why it has faulted."""

    form: str
    state: FormState
    result: dict[str, Any] | None = None
    reason: str | None = None


class FormDone(Struct, kw_only=True):
    """A form that is done, as events and webhooks tell of it."""

    id: str
    form: str
    result: dict[str, Any]
    worker_id: str
    worker_name: str
    state: FormState = "done"


class AlchemyStatus(Struct, kw_only=True):
    """Answer of `interrogate/status/{id}`."""

    state: FormState
    forms: list[FormStatus] = field(default_factory=list)


class AlchemyPop(Struct, kw_only=True):
    """Body of `POST interrogate/pop`. `max_tiles` counts squares of 512 pixels, begun ones too.

    A form that this horde does not know is no error: nobody can ask for it.
    """

    name: OfferedName
    forms: OfferedWords = field(default_factory=list)
    amount: Annotated[int, Meta(ge=1, le=20)] = 1
    bridge_agent: Annotated[str, Meta(max_length=1000)] = "unknown:0:unknown"
    threads: Annotated[int, Meta(ge=1, le=100)] = 1
    max_tiles: Annotated[int, Meta(ge=1, le=256)] = 80
    priority_usernames: PriorityNames = field(default_factory=list)
    require_upfront_kudos: bool = False
    allow_unsafe_ipaddr: bool | None = None
    allow_unsafe_ip: bool | None = None
    wait: Annotated[
        float,
        Meta(ge=0, le=60, description="seconds to hold the call until there is a job that fits"),
    ] = 0
    holding: Holding = None


class FormsSkipped(Struct, kw_only=True):
    """How many waiting forms a worker could not be given, by reason."""

    worker_id: int = 0
    performance: int = 0
    untrusted: int = 0
    bridge_version: int = 0
    kudos: int = 0
    max_tiles: int = 0
    forms: int = 0
    unsafe_ip: int = 0


class PoppedForm(Struct, kw_only=True, omit_defaults=True):
    """One form to do. `r2_upload` is there when its result is a picture; `ttl` in seconds."""

    id: str
    form: str
    source_image: str
    payload: dict[str, Any] | None = None
    r2_upload: str | None = None
    ttl: int | None = None


class PoppedForms(Struct, kw_only=True):
    """Answer of `interrogate/pop`; `forms` is null when there is nothing to do."""

    forms: list[PoppedForm] | None = None
    skipped: FormsSkipped = field(default_factory=FormsSkipped)


class FormSubmit(Struct, kw_only=True):
    """Body of `POST interrogate/submit`: `result` is an object with the form's name as its key and
    "R2" as the value of an uploaded picture. Who has failed need not send one; `gen_metadata` of
    type `information` then tells why."""

    id: Id
    result: (
        Annotated[dict[Key, Any], Meta(max_length=100)]
        | Annotated[str, Meta(max_length=RESULT_CHARACTERS_MAX)]
        | None
    ) = None
    state: Literal["ok", "censored", "faulted", "csam"] = "ok"
    gen_metadata: Annotated[list[GenerationMetadata], Meta(max_length=50)] = field(
        default_factory=list
    )
