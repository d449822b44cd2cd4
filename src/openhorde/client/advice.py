# SPDX-License-Identifier: AGPL-3.0-or-later
"""What to change after a refusal: by return code, and for a field by the bounds of the wire."""

from collections.abc import Mapping
from functools import cache

import msgspec

from openhorde.wire.alchemy import AlchemyRequest
from openhorde.wire.requests import ImageRequest
from openhorde.wire.text import TextRequest

REQUESTS = (ImageRequest, TextRequest, AlchemyRequest)

ADVICE = {
    "KudosUpfront": (
        "Let the horde shrink the request ({allow_downgrade}), ask for a smaller picture "
        "({width}, {height}), fewer {steps} or a shorter text ({max_length}), or earn kudos first "
        "by running a worker."
    ),
    "SharedKeyInsufficientKudos": (
        "Ask the owner of the shared key for more kudos, or allow {allow_downgrade}."
    ),
    "SharedKeyEmpty": "Ask the owner of the shared key for more kudos, or use your own {api_key}.",
    "SharedKeyExpired": "Ask the owner for a new shared key, or use your own {api_key}.",
    "InvalidAPIKey": (
        "Check {api_key} (OPENHORDE_API_KEY). Without an account use the anonymous key 0000000000."
    ),
    "TooManyPrompts": (
        "Wait until some of your requests are done, cancel some, or ask for fewer pictures or "
        "texts ({n})."
    ),
    "RequestNotFound": (
        "Check the id. A horde forgets a request about 20 minutes after it was last touched."
    ),
    "InvalidPromptSize": "Shorten the prompt to at most 7500 words.",
    "MissingPrompt": "Say in the prompt what to draw or to write.",
    "CorruptPrompt": "Rephrase the prompt: this horde's filters refuse it.",
    "BadCFGDecimals": "Give {cfg_scale} at most two decimals.",
    "TooManyUpscalers": "Keep only one upscaler in {post_processing}.",
    "TooManyLoras": "Use at most 5 {loras}.",
    "TooManyTIs": "Use at most 20 {tis}.",
    "TokenOverflow": "Make {max_length} smaller, or {max_context_length} larger.",
    "MissingFullSamplerOrder": "Name at least 7 different samplers in {sampler_order}.",
    "TooManyStopSequences": "Use at most 128 {stop_sequence}.",
    "ExcessiveStopSequence": "Shorten {stop_sequence} to at most 2000 characters in all.",
    "RequiresTrust": "Leave {disable_batching} off, or ask for one picture at a time.",
    "WorkerNotFound": "Check the ids in {workers}.",
    "MaintenanceMode": "The horde is being worked on: try again later.",
    "NoAvailableWorker": "Ask with {wait_for_workers} to wait for a worker that can do it.",
    "TimeoutIP": "This address is locked out for a while: wait before trying again.",
}
RATE_LIMITED = "Slow down: this horde limits how often it may be asked."


def advice_for(
    status: int, rc: str | None, retry_after_seconds: float | None, names: Mapping[str, str]
) -> str | None:
    """A sentence that says what to change, if there is one for this refusal."""
    if status == 429 and rc is None:
        wait = f" Try again in {retry_after_seconds:g} seconds." if retry_after_seconds else ""
        return RATE_LIMITED + wait
    sentence = ADVICE.get(rc or "")
    return sentence.format_map(_Names(names)) if sentence else None


def field_advice(path: str, text: str, names: Mapping[str, str]) -> str:
    """One wrong field: its name as the caller knows it, the horde's words, and its bounds."""
    parts = path.removeprefix("$").lstrip(".").split(".")
    name = names.get(parts[-1], ".".join(parts))
    bounds = field_bounds(parts)
    if bounds is None or _says(text, bounds):
        return f"{name}: {text}"
    return f"{name}: {text} (must be {bounds})"


def field_bounds(parts: list[str]) -> str | None:
    """What a request's field may be, in words; None for a field unknown here."""
    for request in _request_types():
        for start in (parts, ["params", *parts]):
            found: msgspec.inspect.Type | None = request
            for part in start:
                found = _inside(found, part)
            if found is not None:
                return _words(found)
    return None


def _says(text: str, bounds: str) -> bool:
    """Whether the horde's own words tell the bounds already."""
    words = {*text.replace(",", " ").split(), "a"}
    return words.issuperset(bounds.replace(",", " ").split())


class _Names(dict[str, str]):
    """Fields that the caller has no other name for are called what the wire calls them."""

    def __missing__(self, field: str) -> str:
        return field


@cache
def _request_types() -> tuple[msgspec.inspect.Type, ...]:
    """Of all kinds; fields that several of them have mean the same."""
    return tuple(msgspec.inspect.type_info(one) for one in REQUESTS)


def _inside(outer: msgspec.inspect.Type | None, part: str) -> msgspec.inspect.Type | None:
    if isinstance(outer, msgspec.inspect.ListType):
        return outer.item_type if part.isdigit() else _inside(outer.item_type, part)
    if not isinstance(outer, msgspec.inspect.StructType):
        return None
    for field in outer.fields:
        if field.encode_name == part:
            return _bare(field.type)
    return None


def _bare(outer: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type without its description and without "or null"."""
    if isinstance(outer, msgspec.inspect.Metadata):
        return _bare(outer.type)
    if isinstance(outer, msgspec.inspect.UnionType):
        types = [_bare(one) for one in outer.types if not isinstance(one, msgspec.inspect.NoneType)]
        literals = [one for one in types if isinstance(one, msgspec.inspect.LiteralType)]
        if len(literals) > 1:
            return msgspec.inspect.LiteralType(tuple(v for one in literals for v in one.values))
        return types[0]
    return outer


def _words(found: msgspec.inspect.Type) -> str | None:
    match found:
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(str(value) for value in values)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return _number_words(found)
        case msgspec.inspect.StrType():
            return _text_words(found)
        case msgspec.inspect.ListType(item_type=item):
            inner = _words(_bare(item))
            return f"a list, each {inner}" if inner else "a list"
        case _:
            return None


def _number_words(found: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    words = "a whole number" if isinstance(found, msgspec.inspect.IntType) else "a number"
    if found.ge is not None and found.le is not None:
        words += f" from {found.ge:.10g} to {found.le:.10g}"
    if found.multiple_of is not None:
        words += f", a multiple of {found.multiple_of:g}"
    return words


def _text_words(found: msgspec.inspect.StrType) -> str:
    if found.min_length and found.max_length:
        return f"a text of {found.min_length} to {found.max_length} characters"
    if not found.min_length:
        return "a text"
    characters = "character" if found.min_length == 1 else "characters"
    return f"a text of at least {found.min_length} {characters}"
