# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text: what a client asks, what a worker is given, and what comes back.

Lengths are in tokens. As everywhere on this wire, unknown keys are ignored and an explicit null
counts as absent.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from openhorde.wire.bounds import (
    MODELS_MAX,
    PICTURES_MAX,
    TEXT_CHARACTERS_MAX,
    Blacklist,
    Id,
    Key,
    ModelNames,
    OfferedName,
    PriorityNames,
    WorkerNames,
)
from openhorde.wire.requests import FaultMessage, GenerationMetadata, Note, RequestCheck
from openhorde.wire.work import Holding, WorkerMessage

Share = Annotated[float, Meta(ge=0, le=1)]


class TextSampling(Struct, kw_only=True, omit_defaults=True):
    """How tokens are drawn, in KoboldAI's words; what is absent is left to the engine."""

    rep_pen: Annotated[float, Meta(ge=1, le=3)] | None = None
    rep_pen_range: Annotated[int, Meta(ge=0, le=4096)] | None = None
    rep_pen_slope: Annotated[float, Meta(ge=0, le=10)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    tfs: Share | None = None
    top_a: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=200)] | None = None
    top_p: Annotated[float, Meta(ge=0.001, le=1)] | None = None
    typical: Share | None = None
    min_p: Share = 0.0
    smoothing_factor: Annotated[float, Meta(ge=0, le=10)] = 0.0
    dynatemp_range: Annotated[float, Meta(ge=0, le=5)] = 0.0
    dynatemp_exponent: Annotated[float, Meta(ge=0, le=5)] = 1.0
    sampler_order: (
        Annotated[list[Annotated[int, Meta(ge=-1_000, le=1_000)]], Meta(max_length=100)] | None
    ) = None
    singleline: bool | None = None
    use_default_badwordsids: bool | None = None
    frmtadsnsp: bool | None = None
    frmtrmblln: bool | None = None
    frmtrmspch: bool | None = None
    frmttriminc: bool | None = None
    stop_sequence: (
        Annotated[list[Annotated[str, Meta(max_length=10_000)]], Meta(max_length=1_000)] | None
    ) = None


class TextParams(TextSampling, kw_only=True, omit_defaults=True):
    """`n` texts of at most `max_length` new tokens, with `max_context_length` tokens in all."""

    n: Annotated[int, Meta(ge=1, le=20)] = 1
    max_length: Annotated[int, Meta(ge=16, le=4096)] = 80
    max_context_length: Annotated[int, Meta(ge=80, le=1_048_576)] = 2048


class TextRequest(Struct, kw_only=True):
    """Body of `POST generate/text/async`. `models` empty means any."""

    prompt: Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
    params: TextParams = field(default_factory=TextParams)
    models: ModelNames = field(default_factory=list)
    softprompt: Annotated[str, Meta(min_length=1, max_length=10_000)] | None = None
    trusted_workers: bool = False
    validated_backends: bool = False
    slow_workers: bool = True
    extra_slow_workers: bool = False
    workers: WorkerNames = field(default_factory=list)
    worker_blacklist: bool = False
    extra_source_images: Annotated[
        list[Annotated[dict[Key, Any], Meta(max_length=20)]], Meta(max_length=PICTURES_MAX)
    ] = field(default_factory=list)
    dry_run: bool = False
    proxied_account: Annotated[str, Meta(max_length=255)] | None = None
    disable_batching: bool = False
    allow_downgrade: bool = False
    webhook: Annotated[str, Meta(min_length=10, max_length=1024)] | None = None
    style: Annotated[str, Meta(min_length=3, max_length=1024)] | None = None


class TextGeneration(Struct, kw_only=True):
    """One finished text."""

    id: str
    text: str
    model: str
    worker_id: str
    worker_name: str
    seed: int = 0
    state: Literal["ok", "censored", "csam"] = "ok"
    gen_metadata: list[Note] = field(default_factory=list)


class TextStatus(RequestCheck, kw_only=True):
    """Answer of `generate/text/status/{id}`: `RequestCheck` with the texts that are done."""

    generations: list[TextGeneration] = field(default_factory=list)
    message: FaultMessage = None


class TextPop(Struct, kw_only=True):
    """Body of `POST generate/text/pop`: who asks and what it can do."""

    name: OfferedName
    models: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(max_length=MODELS_MAX)
    ] = field(default_factory=list)
    bridge_agent: Annotated[str, Meta(max_length=1000)] = "unknown:0:unknown"
    nsfw: bool = True
    threads: Annotated[int, Meta(ge=1, le=50)] = 1
    amount: Annotated[int, Meta(ge=1, le=20)] = 1
    max_length: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 512
    max_context_length: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 2048
    softprompts: Annotated[list[Annotated[str, Meta(max_length=1000)]], Meta(max_length=1_000)] = (
        field(default_factory=list)
    )
    priority_usernames: PriorityNames = field(default_factory=list)
    require_upfront_kudos: bool = False
    extra_slow_worker: bool = False
    blacklist: Blacklist = field(default_factory=list)
    allow_unsafe_ipaddr: bool | None = None
    allow_unsafe_ip: bool | None = None
    wait: Annotated[
        float,
        Meta(ge=0, le=60, description="seconds to hold the call until there is a job that fits"),
    ] = 0
    holding: Holding = None


class TextsSkipped(Struct, kw_only=True):
    """How many waiting requests a text worker could not be given, by reason."""

    worker_id: int = 0
    performance: int = 0
    nsfw: int = 0
    blacklist: int = 0
    untrusted: int = 0
    models: int = 0
    bridge_version: int = 0
    kudos: int = 0
    max_context_length: int = 0
    max_length: int = 0
    matching_softprompt: int = 0


class TextPayload(TextSampling, kw_only=True, omit_defaults=False):
    """What a worker is given; one text of each job. Defaults are always present on the wire."""

    prompt: str | None = None
    n: int = 1
    max_length: int = 80
    max_context_length: int = 2048


class TextJob(Struct, kw_only=True):
    """Answer of `generate/text/pop`. Nothing to do: `id` is null, `ids` empty, the rest as ever."""

    id: str | None = None
    ids: list[str] = field(default_factory=list)
    model: str | None = None
    payload: TextPayload = field(default_factory=TextPayload)
    softprompt: str | None = None
    skipped: TextsSkipped = field(default_factory=TextsSkipped)
    extra_source_images: list[dict[str, Any]] | None = None
    ttl: int | None = None
    messages: list[WorkerMessage] = field(default_factory=list)


class TextSubmit(Struct, kw_only=True):
    """Body of `POST generate/text/submit`."""

    id: Id
    generation: Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)] = ""
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    state: Literal["ok", "censored", "faulted", "csam"] = "ok"
    gen_metadata: Annotated[list[GenerationMetadata], Meta(max_length=50)] = field(
        default_factory=list
    )
