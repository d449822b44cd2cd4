# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a refusal's code to its HTTP status and its sentence.

`{name}` in a sentence stands for the fact of that name; a part in [square brackets] is left out
when one of its facts was not given. Some texts are matched by programs that exist and must keep
these words: "No user matching sent API Key.", "maintenance mode", "we cannot accept workers
serving", "wrong credentials", "Processing Job with ID ... does not exist", "already submitted",
"Please check your worker speed".
"""

import re
from collections.abc import Mapping

from openhorde.server.api.words_accounts import ACCOUNT_WORDS, UNKNOWN_KEY
from openhorde.server.api.words_images import IMAGE_WORDS
from openhorde.server.domain.refusals import Refusal
from openhorde.wire.errors import Error

_GENERAL_WORDS: dict[str, tuple[int, str]] = {
    "BadRequest": (400, "This cannot be done as asked[: {reason}]."),
    "MaintenanceMode": (
        400,
        "The horde is in maintenance mode and takes no new requests. Try again later.",
    ),
    "NulByteInPayload": (400, "Text may not contain the NUL character. Remove it and send again."),
    "Profanity": (400, "{field} contains words that are not allowed here. Choose others."),
    "TooLong": (400, "{field} is too long[: {given} characters where at most {maximum} fit]."),
    "NoValidActions": (400, "Nothing to change was sent. Name at least one field."),
    "NoHordeModSelected": (400, "Nothing to change was sent. Name at least one mode."),
    "NoFilterModSelected": (400, "Nothing to change was sent. Name at least one field of it."),
    "Forbidden": (403, "This is not allowed[: {reason}]."),
    "UnsafeIP": (403, "The address you call from looks like a proxy or VPN. Use another one."),
    "TimeoutIP": (
        403,
        "The address you call from is blocked for a while[: {seconds} seconds left].",
    ),
    "TooManyNewIPs": (403, "Too many new addresses have been seen. Try again later."),
    "BannedClientAgent": (
        403,
        "The header Client-Agent names an example. Set it to name:version:contact of your client.",
    ),
    "RequestNotFound": (
        404,
        "No request has the ID[ {id}]. Requests are kept for about 20 minutes after they last"
        " changed.",
    ),
    "FilterNotFound": (404, "No filter has the ID[ {id}]."),
    "RequestExpired": (410, "The request[ {id}] has expired. Send it again."),
    "Locked": (423, "This is still in use by something else. Try again later."),
    "TooManyPrompts": (
        429,
        "Too many of your jobs wait[: {waiting} wait and {given} would be added, at most {maximum}"
        " may]. Wait for some of them, or ask for fewer.",
    ),
}

WORDS: Mapping[str, tuple[int, str]] = {**_GENERAL_WORDS, **IMAGE_WORDS, **ACCOUNT_WORDS}

REASONS: Mapping[tuple[str, str], str] = {
    ("BadRequest", "models"): (
        "Unfortunately we cannot accept workers serving {given}: no such model is known here."
        " Offer models of the reference."
    ),
    ("BadRequest", "text models"): (
        "Unfortunately we cannot accept workers serving {given}: a model that is named MODEL::ALIAS"
        " is served by the account of that alias alone. Offer at least one model of your own."
    ),
    ("BadRequest", "name"): (
        "name[ {given}] cannot be used for a worker. Choose one that says nothing of colab, tpu or"
        " google, with at least one visible character."
    ),
    ("UserNotFound", "key"): UNKNOWN_KEY,
    ("BadRequest", "forms"): "forms names {given} more than once. Ask for each form once.",
    ("BadRequest", "payload"): (
        "forms: the payload of {form} is too large. Send at most {maximum} bytes of JSON."
    ),
    ("BadRequest", "result"): "result {why}.",
    ("ImageValidationFailed", "not_uploaded"): (
        "{field}: there is no picture at the upload link of this job. PUT the file there before you"
        ' hand in "R2", or send it as base64.'
    ),
    ("SourceImageResolutionExceeded", "tiles"): (
        "{field}: the picture has {given} tiles (squares of 512 pixels, begun ones too) where at"
        " most {maximum} are taken. Send a smaller one."
    ),
    ("TooManyPrompts", "pictures waiting"): (
        "Too many of your pictures wait to be looked at: at most {maximum} may. Send this one again"
        " in a moment."
    ),
    ("TooManyPrompts", "source bytes"): (
        "The source pictures of your unfinished requests would take {given} bytes where at most"
        " {maximum} are granted (OPENHORDE_SOURCE_BYTES_PER_USER). Wait for some of them, or send"
        " smaller pictures."
    ),
    ("SourceStorageFull", "pictures waiting"): (
        "More pictures than this server can hold wait to be looked at. Send this one again in a"
        " moment."
    ),
    ("InpaintingMissingMask", "blank mask"): (
        "source_mask selects nothing: no part of it is lighter than mid grey. Send one that is"
        " white, or has strokes on a transparent layer, where the picture is to be drawn anew."
    ),
    ("BadRequest", "webhook"): (
        "webhook must be an https URL that this horde can call[: {why}][, not {given}]."
    ),
    ("WrongCredentials", "job"): (
        "wrong credentials: the worker that took job {id} belongs to another account. Send its"
        " owner's API key."
    ),
    ("WorkerMaintenance", "paused"): ("This worker is in maintenance mode: a moderator paused it."),
    ("BadRequest", "username"): (
        "username must have 1 to 30 characters besides spaces and control characters."
    ),
}
"""Sentences in the place of a code's own when the fact `reason` or `field` is that word."""

_FALLBACK = (400, "This was refused ({code}).")
_ABSENT: tuple[object, ...] = (None, "", (), [])
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_FACT = re.compile(r"\{(\w+)\}")


def status_of(code: str) -> int:
    """The HTTP status of a refusal."""
    return WORDS.get(code, _FALLBACK)[0]


def sentence_of(code: str, facts: Mapping[str, object]) -> str:
    """The sentence of a refusal, with its facts filled in."""
    template = (
        REASONS.get((code, str(facts.get("reason"))))
        or REASONS.get((code, str(facts.get("field"))))
        or WORDS.get(code, _FALLBACK)[1]
    )
    known: dict[str, object] = {"code": code, **facts}
    for name, fact in facts.items():
        if name.endswith("_milli") and isinstance(fact, int):
            known[name.removesuffix("milli") + "kudos"] = f"{fact / 1000:g}"

    def keep(match: re.Match[str]) -> str:
        names = _FACT.findall(match[1])
        return match[1] if all(known.get(name) not in _ABSENT for name in names) else ""

    def fill(match: re.Match[str]) -> str:
        return _shown(known.get(match[1], f"the {match[1]}"))

    return _FACT.sub(fill, _OPTIONAL.sub(keep, template))


def refusal_answer(refusal: Refusal) -> tuple[int, Error]:
    """The status and body with which a refusal is answered."""
    message = sentence_of(refusal.code, refusal.facts)
    return status_of(refusal.code), Error(message=message, rc=refusal.code)


def _shown(fact: object) -> str:
    if isinstance(fact, (list, tuple, set, frozenset)):
        return ", ".join(str(each) for each in fact)
    return str(fact)
