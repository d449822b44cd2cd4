# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text on the wire: each id of a pop is a text of its own, for an engine of its own."""

from typing import Any

import msgspec

from openhorde.wire.text import TextJob as PoppedTexts
from openhorde.wire.text import TextPop, TextSampling, TextSubmit
from openhorde.worker.agent.api import bridge_agent
from openhorde.worker.agent.assignment import TTL_SECONDS_UNSAID, Assignment, Unfit
from openhorde.worker.agent.kinds.base import (
    Offer,
    decoded,
    fault_metadata,
    metadata,
    names_left,
    read_ids,
    seconds_or,
)
from openhorde.worker.agent.sources import Sources
from openhorde.worker.backends.base import (
    Artifact,
    Capabilities,
    JobFault,
    Note,
    TextJob,
    information,
)
from openhorde.worker.settings import WorkerSettings

POP_PATH = "generate/text/pop"
SUBMIT_PATH = "generate/text/submit"
AMOUNT_MAX = 20
ENGINES_MAX = 50


def offered(capabilities: Capabilities) -> list[str]:
    """See Kind.offered."""
    return capabilities.text_models


def wanted(settings: WorkerSettings, names: list[str]) -> list[str]:
    """See Kind.wanted."""
    return [name for name in names if name not in settings.models_to_skip]


def pop_body(settings: WorkerSettings, offer: Offer) -> TextPop:
    """See Kind.pop_body. A pop brings texts for one prompt, at most one for each place."""
    capabilities = offer.capabilities
    return TextPop(
        name=offer.name,
        models=names_left(wanted(settings, capabilities.text_models), offer),
        bridge_agent=bridge_agent(settings),
        nsfw=settings.nsfw,
        threads=max(1, min(offer.engines, ENGINES_MAX)),
        amount=max(1, min(offer.places, AMOUNT_MAX)),
        max_length=_narrowed(capabilities.tokens_max, settings.max_length),
        max_context_length=_narrowed(capabilities.context_tokens_max, settings.max_context_length),
        priority_usernames=settings.priority_usernames,
        require_upfront_kudos=settings.require_upfront_kudos,
        extra_slow_worker=settings.extra_slow_worker,
        blacklist=settings.blacklist,
        allow_unsafe_ipaddr=settings.allow_unsafe_ip,
        allow_unsafe_ip=settings.allow_unsafe_ip,
        wait=settings.pop_wait_seconds,
    )


def _narrowed(tokens: int, tokens_wanted: int) -> int:
    """At most what the engine can, and what the owner wants if that was said."""
    return max(1, min(tokens, tokens_wanted) if tokens_wanted else tokens)


def read_pop(answer: dict[str, Any]) -> list[Assignment]:
    """See Kind.read_pop."""
    ids = read_ids(answer)
    wire, wrong = decoded(answer, PoppedTexts) if ids else (None, None)
    return [
        Assignment(
            kind="text",
            ids=[job_id],
            uploads=[None],
            model=str(answer.get("model") or ""),
            ttl_seconds=seconds_or(answer.get("ttl"), TTL_SECONDS_UNSAID),
            wire=wire,
            wrong=wrong,
        )
        for job_id in ids
    ]


def described(assignment: Assignment) -> str:
    """See Kind.described."""
    wire: PoppedTexts | None = assignment.wire
    if wire is None:
        return "a text that cannot be understood"
    payload = wire.payload
    return f"{payload.max_length} tokens of text, {payload.max_context_length} in all"


async def prepare(sources: Sources, settings: WorkerSettings, assignment: Assignment) -> TextJob:
    """See Kind.prepare."""
    wire: PoppedTexts | None = assignment.wire
    if wire is None:
        raise Unfit(f"the job cannot be understood: {assignment.wrong}")
    if wire.extra_source_images:
        assignment.notes.append(information("the pictures beside the prompt were not looked at"))
    payload = wire.payload
    given = msgspec.structs.asdict(payload)
    return TextJob(
        id=assignment.ids[0],
        model=assignment.model,
        prompt=payload.prompt or "",
        tokens_max=payload.max_length,
        context_tokens_max=payload.max_context_length,
        stop_sequences=payload.stop_sequence or [],
        sampling={
            name: given[name]
            for name in TextSampling.__struct_fields__
            if name != "stop_sequence" and given[name] is not None
        },
    )


def uploads(assignment: Assignment, artifact: Artifact) -> bool:
    """See Kind.uploads."""
    return False


def result_body(
    assignment: Assignment, index: int, artifact: Artifact, uploaded: bool
) -> TextSubmit:
    """See Kind.result_body."""
    if not artifact.media_type.startswith("text/"):
        raise JobFault(f"the engine made {artifact.media_type} instead of a text")
    try:
        text = artifact.content.decode()
    except UnicodeDecodeError as error:
        raise JobFault(f"the engine's text is not UTF-8: {error}") from error
    return TextSubmit(
        id=assignment.ids[index],
        generation=text,
        seed=artifact.seed,
        state="censored" if artifact.censored else "ok",
        gen_metadata=metadata([*assignment.notes, *artifact.notes]),
    )


def fault_body(job_id: str, reason: str, notes: list[Note]) -> TextSubmit:
    """See Kind.fault_body."""
    return TextSubmit(
        id=job_id,
        generation="faulted",
        seed=-1,
        state="faulted",
        gen_metadata=fault_metadata(reason, notes),
    )
