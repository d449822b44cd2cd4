# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the worker and its engine processes say to each other, and how it is framed.

A frame is four bytes of length, big-endian, and one message in msgpack.
"""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, field

from openhorde.incoming.texts import all_mended
from openhorde.worker.backends.base import Artifact, Capabilities, InMemory, Job, Note
from openhorde.worker.settings import WorkerSettings

LENGTH_BYTES = 4
FRAME_BYTES_MAX = 1 << 30


class Open(Struct, tag="open"):
    """To the engine, first: become the backend of this name, as the settings say."""

    backend: str
    settings: WorkerSettings


class Run(Struct, tag="run"):
    """To the engine: do this job."""

    job: Job


class Cancel(Struct, tag="cancel"):
    """To the engine: give this job up."""

    job_id: str


class Ready(Struct, tag="ready"):
    """From the engine: open, and this is what it can do, and has in memory already."""

    capabilities: Capabilities
    in_memory: list[InMemory] = field(default_factory=list)


class Unable(Struct, tag="unable"):
    """From the engine: it cannot be opened, for this reason."""

    reason: str


class Progress(Struct, tag="progress"):
    """From the engine: this many steps are done."""

    job_id: str
    step: int
    steps: int


class Holds(Struct, tag="holds"):
    """From the engine, before the end of a job: this is what it has in memory now."""

    in_memory: list[InMemory]


class Done(Struct, tag="done"):
    """From the engine: the job's results."""

    job_id: str
    artifacts: list[Artifact]


class Faulted(Struct, tag="faulted"):
    """From the engine: the job could not be done; the engine itself is well."""

    job_id: str
    reason: str
    notes: list[Note] = field(default_factory=list)


ToEngine = Open | Run | Cancel
FromEngine = Ready | Unable | Progress | Holds | Done | Faulted


def _encode_path(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_path(kind: type, value: Any) -> Path:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_path)
_to_engine = msgspec.msgpack.Decoder(ToEngine, dec_hook=_decode_path)
_from_engine = msgspec.msgpack.Decoder(FromEngine, dec_hook=_decode_path)


def frame(message: ToEngine | FromEngine) -> bytes:
    """The message as it travels."""
    try:
        content = _encoder.encode(message)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(message, builtin_types=(bytes,), enc_hook=_encode_path)
        content = _encoder.encode(all_mended(plain))
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def frame_length(head: bytes) -> int:
    """The length that a frame's head tells. Raises ValueError when it cannot be right."""
    length = int.from_bytes(head, "big")
    if length > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {length} bytes")
    return length


def from_engine(content: bytes) -> FromEngine:
    """Decode what an engine said."""
    message: FromEngine = _from_engine.decode(content)
    return message


def read_to_engine(pipe: BinaryIO) -> ToEngine | None:
    """The next message for an engine, waiting for it; None at the end of the pipe."""
    head = pipe.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = frame_length(head)
    content = pipe.read(length)
    if len(content) < length:
        return None
    message: ToEngine = _to_engine.decode(content)
    return message
