# SPDX-License-Identifier: AGPL-3.0-or-later
"""The face of a kind of work: what to ask for, what an answer means, how a result is told.

A kind is a module with these functions; they hold no state.
"""

from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from openhorde.wire.requests import GenerationMetadata
from openhorde.worker.agent.api import Away
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.sources import Sources
from openhorde.worker.backends.base import Artifact, Capabilities, Job, Note
from openhorde.worker.settings import WorkerSettings

NOTES_MAX = 50
NOTE_CHARACTERS_MAX = 255
UPLOADED = "R2"
"""What stands in a result for a picture that is in the horde's storage."""

Wire = TypeVar("Wire", bound=Struct)


class Offer(Struct, kw_only=True, frozen=True):
    """What to ask for under `name`, with so many engines and places free for jobs. `stand_ins` are
    further names of models, only for requests that name them."""

    name: str
    capabilities: Capabilities
    engines: int
    places: int
    resting: frozenset[str] = frozenset()
    stand_ins: tuple[str, ...] = ()


class Kind(Protocol):
    """One kind of work."""

    @property
    def POP_PATH(self) -> str:  # noqa: N802
        """Where work is asked for, below the v2 API."""
        ...

    @property
    def SUBMIT_PATH(self) -> str:  # noqa: N802
        """Where results are handed in."""
        ...

    def offered(self, capabilities: Capabilities) -> list[str]:
        """The models, or forms, of this kind that an engine can do."""
        ...

    def wanted(self, settings: WorkerSettings, names: list[str]) -> list[str]:
        """Those of them that the owner wants to offer."""
        ...

    def pop_body(self, settings: WorkerSettings, offer: Offer) -> Struct:
        """What to ask for: what the engines can do, narrowed by settings and resting models."""
        ...

    def read_pop(self, answer: dict[str, Any]) -> list[Assignment]:
        """The jobs in a pop's answer. One that cannot be understood comes back without `wire`, so
        that it can be reported. Raises Away when the answer has no sense at all."""
        ...

    def described(self, assignment: Assignment) -> str:
        """What is to be done, in a few words for the owner. Never the prompt, which is private."""
        ...

    async def prepare(
        self, sources: Sources, settings: WorkerSettings, assignment: Assignment
    ) -> Job:
        """Fetch what the job needs and word it for an engine. Raises Unfit."""
        ...

    def uploads(self, assignment: Assignment, artifact: Artifact) -> bool:
        """Whether this result goes into the horde's storage, where there is a place for it.

        Raises JobFault when the engine made nonsense."""
        ...

    def result_body(
        self, assignment: Assignment, index: int, artifact: Artifact, uploaded: bool
    ) -> Struct:
        """How a result is handed in. Raises JobFault when the engine made nonsense."""
        ...

    def fault_body(self, job_id: str, reason: str, notes: list[Note]) -> Struct:
        """How a job is given back, with the reason."""
        ...


def names_left(names: list[str], offer: Offer) -> list[str]:
    """The names without those that rest."""
    return [name for name in names if name not in offer.resting]


def read_ids(answer: dict[str, Any]) -> list[str]:
    """The ids of the jobs in an answer, which go pairwise with what else it lists."""
    ids = answer.get("ids") or ([answer["id"]] if answer.get("id") else [])
    if not isinstance(ids, list) or not all(isinstance(one, str) and one for one in ids):
        raise Away("the horde's answer to a pop has no ids that can be read")
    return list(dict.fromkeys(ids))


def upload_url(given: Any) -> str | None:
    """An address to upload to, if it is one."""
    return given if isinstance(given, str) and given else None


def seconds_or(given: Any, otherwise: float) -> float:
    """A number of seconds off the wire, if it is one."""
    return float(given) if isinstance(given, int | float) and given > 0 else otherwise


def decoded(answer: dict[str, Any], wire: type[Wire]) -> tuple[Wire | None, str | None]:
    """The answer as its struct, or None and why it cannot be read."""
    try:
        return msgspec.convert(_without_nulls(answer), wire, strict=False), None
    except msgspec.ValidationError as error:
        return None, str(error)


def metadata(notes: list[Note]) -> list[GenerationMetadata]:
    """Notes as the wire has them, and no more of them than it takes."""
    return [
        GenerationMetadata(
            type=note.type,
            value=note.value,
            ref=note.ref[:NOTE_CHARACTERS_MAX] if note.ref is not None else None,
        )
        for note in notes[:NOTES_MAX]
    ]


def fault_metadata(reason: str, notes: list[Note]) -> list[GenerationMetadata]:
    """The notes of a fault and, last, its reason."""
    told = Note(type="information", value="see_ref", ref=reason)
    return metadata([*notes[: NOTES_MAX - 1], told])


def _without_nulls(value: Any) -> Any:
    """On this wire an explicit null counts as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
