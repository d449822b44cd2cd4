# SPDX-License-Identifier: AGPL-3.0-or-later
"""Large answers: written piece by piece, as their callers take them, within bounds of memory."""

import msgspec
from starlette.types import Send

from openhorde.server.api.budget import RETRY_SECONDS, BodiesTooMany
from openhorde.server.api.operations import Answer, Call
from openhorde.wire.errors import Error

PIECE_BYTES = 64 << 10
"""An answer up to this size is written at once, and counts as nothing."""


def held_answer(call: Call, answer: Answer) -> Answer:
    """The answer, which counts as held for the caller's address until the call lets go if it is
    large; or a refusal where it does not fit into memory.

    None counts for more than a quarter of what there is, so that each can be given to somebody.
    """
    if not isinstance(answer.value, bytes):
        answer.value = msgspec.json.encode(answer.value)
    if call.budget is not None and len(answer.value) > PIECE_BYTES:
        try:
            call.hold(min(len(answer.value), call.budget.bytes_max // 4))
        except BodiesTooMany as error:
            return too_many(error)
    return answer


def too_many(error: BodiesTooMany) -> Answer:
    """What is answered where no more bodies, or answers, fit into memory."""
    message = "This server holds as many bodies and answers as it can. Please try again soon."
    retry = (("Retry-After", str(RETRY_SECONDS)),)
    return Answer(Error(message=message), 429 if error.of_address else 503, retry)


async def send_body(send: Send, body: bytes) -> None:
    """Write the body of an answer; of a large one only so much waits to be sent."""
    start = 0
    while len(body) - start > PIECE_BYTES:
        piece = body[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        start += PIECE_BYTES
    await send({"type": "http.response.body", "body": body[start:]})
