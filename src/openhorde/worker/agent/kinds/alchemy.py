# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy on the wire: each popped form is a job of its own, with a result of its own shape."""

import base64
from typing import Any

import msgspec
from msgspec import Struct

from openhorde.wire.alchemy import AlchemyPop, FormSubmit, PoppedForm
from openhorde.worker.agent.api import Away, bridge_agent
from openhorde.worker.agent.assignment import TTL_SECONDS_UNSAID, Assignment, Unfit
from openhorde.worker.agent.kinds.base import (
    UPLOADED,
    Offer,
    decoded,
    fault_metadata,
    metadata,
    names_left,
    seconds_or,
    upload_url,
)
from openhorde.worker.agent.sources import Sources
from openhorde.worker.backends.base import Artifact, Capabilities, FormJob, JobFault, Note
from openhorde.worker.settings import WorkerSettings

POP_PATH = "interrogate/pop"
SUBMIT_PATH = "interrogate/submit"
AMOUNT_MAX = 20
TILES_MAX = 256
ENGINES_MAX = 100


class Keyword(Struct):
    """A word that fits a picture, and how well."""

    text: str
    confidence: float


SHAPES: dict[str, Any] = {
    "caption": str,
    "nsfw": bool,
    "interrogation": dict[str, list[Keyword]],
}
"""What the value of a form's result must be, where that is known."""


def offered(capabilities: Capabilities) -> list[str]:
    """See Kind.offered."""
    return capabilities.forms


def wanted(settings: WorkerSettings, names: list[str]) -> list[str]:
    """See Kind.wanted."""
    return [name for name in names if not settings.forms or name in settings.forms]


def pop_body(settings: WorkerSettings, offer: Offer) -> AlchemyPop:
    """See Kind.pop_body. A pop brings as many forms as there are places."""
    return AlchemyPop(
        name=offer.name,
        forms=names_left(wanted(settings, offer.capabilities.forms), offer),
        amount=max(1, min(offer.places, AMOUNT_MAX)),
        bridge_agent=bridge_agent(settings),
        threads=max(1, min(offer.engines, ENGINES_MAX)),
        max_tiles=min(settings.max_power, TILES_MAX),
        priority_usernames=settings.priority_usernames,
        require_upfront_kudos=settings.require_upfront_kudos,
        allow_unsafe_ipaddr=settings.allow_unsafe_ip,
        allow_unsafe_ip=settings.allow_unsafe_ip,
        wait=settings.pop_wait_seconds,
    )


def read_pop(answer: dict[str, Any]) -> list[Assignment]:
    """See Kind.read_pop."""
    forms = answer.get("forms") or []
    if not isinstance(forms, list):
        raise Away("the horde's answer to a pop has no forms that can be read")
    known = [one for one in forms if isinstance(one, dict) and isinstance(one.get("id"), str)]
    if forms and not known:
        raise Away("the horde's answer to a pop has forms without ids")
    return [_read_form(one) for one in known]


def _read_form(one: dict[str, Any]) -> Assignment:
    wire, wrong = decoded(one, PoppedForm)
    return Assignment(
        kind="alchemy",
        ids=[one["id"]],
        uploads=[upload_url(one.get("r2_upload"))],
        model=str(one.get("form") or ""),
        ttl_seconds=seconds_or(one.get("ttl"), TTL_SECONDS_UNSAID),
        wire=wire,
        wrong=wrong,
    )


def described(assignment: Assignment) -> str:
    """See Kind.described."""
    if assignment.wire is None:
        return "a form that cannot be understood"
    return f"{assignment.model} of a picture"


async def prepare(sources: Sources, settings: WorkerSettings, assignment: Assignment) -> FormJob:
    """See Kind.prepare."""
    wire: PoppedForm | None = assignment.wire
    if wire is None:
        raise Unfit(f"the form cannot be understood: {assignment.wrong}")
    return FormJob(
        id=wire.id,
        form=wire.form,
        source=await sources.fetch(assignment, wire.source_image, "source_image"),
        payload=wire.payload or {},
    )


def uploads(assignment: Assignment, artifact: Artifact) -> bool:
    """See Kind.uploads."""
    if not artifact.media_type.startswith("image/"):
        return False
    if assignment.model in SHAPES or not artifact.content:
        raise JobFault(f"the engine's result is no {assignment.model}")
    return True


def result_body(
    assignment: Assignment, index: int, artifact: Artifact, uploaded: bool
) -> FormSubmit:
    """See Kind.result_body."""
    form = assignment.model
    if uploaded:
        value: Any = UPLOADED
    elif uploads(assignment, artifact):
        value = base64.b64encode(artifact.content).decode()
    else:
        value = _value(form, artifact)
    return FormSubmit(
        id=assignment.ids[index],
        result={form: value},
        state="censored" if artifact.censored else "ok",
        gen_metadata=metadata([*assignment.notes, *artifact.notes]),
    )


def _value(form: str, artifact: Artifact) -> Any:
    try:
        return msgspec.json.decode(artifact.content, type=SHAPES.get(form, Any))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JobFault(f"the engine's result is no {form}: {error}") from error


def fault_body(job_id: str, reason: str, notes: list[Note]) -> FormSubmit:
    """See Kind.fault_body. The result is empty rather than absent, for hordes that want one."""
    return FormSubmit(
        id=job_id,
        result={},
        state="faulted",
        gen_metadata=fault_metadata(reason, notes),
    )
