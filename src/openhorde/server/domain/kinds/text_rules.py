# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a text request may ask for, and the first thing that is wrong with it (rules 2.12)."""

from typing import Any, Final

import msgspec

from openhorde.server.domain.kinds.text_work import CHARACTERS_MAX
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.text import TextParams, TextRequest

SAMPLERS_ORDERED_MIN: Final = 7
STOP_SEQUENCES_MAX: Final = 128
STOP_SEQUENCES_LENGTH_MAX: Final = 2000
SOFT_PROMPT_LENGTH_MAX: Final = 1000
WORKERS_MAX: Final = 5


def check(request: TextRequest, requester: Requester) -> TextRequest:
    """The request as it will be done. Raises `Refusal` for the first rule it breaks.

    Rules that need the database (concurrency, listed workers, kudos) are checked elsewhere.
    """
    _check_request(request, requester)
    _check_params(request.params)
    return normalised(request, requester)


def normalised(request: TextRequest, requester: Requester) -> TextRequest:
    """A copy with everything forced by the rules filled in."""
    changes: dict[str, Any] = {"workers": request.workers[:WORKERS_MAX]}
    stops = request.params.stop_sequence
    if stops is not None:
        # An empty one would stop every text before it begins.
        kept = [stop for stop in dict.fromkeys(stops) if stop]
        changes["params"] = msgspec.structs.replace(request.params, stop_sequence=kept or None)
    if requester.education:
        changes["trusted_workers"] = True
    return msgspec.structs.replace(request, **changes)


def _check_request(request: TextRequest, requester: Requester) -> None:
    if _holds_nul(request):
        raise Refusal("NulByteInPayload")
    if request.webhook is not None and not request.webhook.startswith("https://"):
        raise Refusal("BadRequest", field="webhook", given=request.webhook)
    if request.proxied_account is not None and not requester.service:
        raise Refusal("OnlyServiceAccountProxy")
    if requester.deleted:
        raise Refusal("DeletedUser")
    if request.extra_source_images:
        raise Refusal("InvalidExtraSourceImages.", field="extra_source_images")
    if not request.prompt.strip():
        raise Refusal("MissingPrompt")
    for field, text, maximum in (
        ("prompt", request.prompt, CHARACTERS_MAX),
        ("softprompt", request.softprompt or "", SOFT_PROMPT_LENGTH_MAX),
    ):
        if len(text) > maximum:
            raise Refusal("TooLong", field=field, maximum=maximum, given=len(text))


def _check_params(params: TextParams) -> None:
    if params.max_context_length < params.max_length:
        raise Refusal(
            "TokenOverflow",
            field="params.max_length",
            given=params.max_length,
            maximum=params.max_context_length,
        )
    order = params.sampler_order
    if order is not None and len(set(order)) < SAMPLERS_ORDERED_MIN:
        raise Refusal("MissingFullSamplerOrder", field="params.sampler_order")
    stops = set(params.stop_sequence or ())
    if len(stops) > STOP_SEQUENCES_MAX:
        raise Refusal(
            "TooManyStopSequences",
            field="params.stop_sequence",
            maximum=STOP_SEQUENCES_MAX,
            given=len(stops),
        )
    length = sum(map(len, stops))
    if length > STOP_SEQUENCES_LENGTH_MAX:
        raise Refusal(
            "ExcessiveStopSequence",
            field="params.stop_sequence",
            maximum=STOP_SEQUENCES_LENGTH_MAX,
            given=length,
        )


def _holds_nul(request: TextRequest) -> bool:
    texts = [request.prompt, request.softprompt, request.webhook, request.style]
    texts += [*request.models, *(request.params.stop_sequence or ())]
    return any("\0" in text for text in texts if text)
