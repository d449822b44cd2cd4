# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever takes texts and lists of strangers apart takes time linear in them."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from growth.inputs import TEXTS, Repeated
from growth.measure import grows_too_fast

from openhorde.incoming.base64_text import Base64Refused, decode_base64
from openhorde.server.api.addresses import Lookout
from openhorde.server.api.bodies import BodyReader, read_query
from openhorde.server.api.operations import Invalid, uuid_of
from openhorde.server.api.push.events import EventsQuery
from openhorde.server.api.routes import Routes
from openhorde.server.domain import bridges, marks, policy
from openhorde.server.domain.kinds.image_work import base_seed
from openhorde.server.domain.model_names import owner_of
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.shown_text import shown_text
from openhorde.server.domain.text_reference import spellings
from openhorde.server.kit.addresses import network
from openhorde.server.settings import ServerSettings
from openhorde.server.store.users import user_id_of
from openhorde.wire.alchemy import FormSubmit
from openhorde.wire.requests import ImageRequest
from openhorde.wire.text import TextRequest
from openhorde.wire.work import ImagePop
from openhorde.worker.backends.diffusers.weights import parse
from openhorde.worker.safety.words import compile_words

BODIES = [
    Repeated("{}" * 60 + '"', r"\""),
    Repeated('{"prompt": "', "\\\\", '\\ud83d"}'),
    Repeated('{"prompt": "', r"\ud83d", '"}'),
    Repeated('{"prompt": "', r"\ud83d\ude00", '\\ude00"}'),
    Repeated('{"prompt": "', r"\u0000", '"}'),
    Repeated('{"prompt": "', r"\\u0000", '"}'),
    Repeated('{"prompt": "', "[{,", '", "nsfw": null}'),
    Repeated('{"more": [', "[],", "1]}"),
    Repeated('{"more": [', "{},", "1]}"),
    Repeated('{"more": [', '"",', '""]}'),
    Repeated('{"more": [', "null,", "1]}"),
    Repeated('{"models": [', '"abc",', '"abc"]}'),
    Repeated('{"blacklist": [', "1.0,", "1]}"),
    Repeated('{"params": {"special": {', '"a": {},', '"b": 1}}}'),
    Repeated("", "["),
    Repeated("", '{"a":'),
    Repeated("[" * 60, "]"),
    Repeated("[" * 60, '"'),
    Repeated('{"threads": ', "9", "}"),
    Repeated('{"threads": 1.', "0", "}"),
    Repeated('{"threads": 1e', "0", "}"),
    Repeated("", " "),
    Repeated("\ufeff", "\ufeff"),
    Repeated('{"', "k", '": null, "nsfw": null}'),
]
KINDS = [ImageRequest, TextRequest, ImagePop, FormSubmit]
REFUSING = (Invalid, Refusal, Base64Refused, ValueError)
LOOKOUT = Lookout(ServerSettings())
ROUTES: Routes[str] = Routes()
for path in ("/api/v2/users/{id}", "/blobs/{key:path}", "/api/v2/workers/name/{name:path}"):
    ROUTES.add("GET", path, path)


def looked(header: bytes) -> Callable[[str], object]:
    """What is made of a header of a trusted proxy."""

    def look(text: str) -> object:
        value = text.encode("latin-1", "replace")
        scope = {"client": ("127.0.0.1", 1), "headers": [(header, value)], "scheme": "http"}
        return LOOKOUT.look(scope, {header: value})

    return look


def words_found(text: str) -> object:
    """An owner's words in a prompt."""
    pattern = compile_words(["a b", "ab", "a  a a", "<"])
    assert pattern is not None
    return pattern.search(text)


READERS: dict[str, Callable[[str], object]] = {
    "shown_text": lambda text: shown_text(text, 100),
    "blacklist of one": lambda text: policy.blacklist([text]),
    "blacklist of many": lambda text: policy.blacklist(text.split(",")),
    "priority_usernames": lambda text: policy.priority_user_ids(text.split(",")),
    "bridge agent": bridges.parse,
    "capabilities": bridges.capabilities,
    "spellings": spellings,
    "owner_of": owner_of,
    "base_seed": lambda text: base_seed(text, 1),
    "event id": lambda text: marks.read(text, 20),
    "user_id_of": user_id_of,
    "uuid_of": lambda text: uuid_of(text, "RequestNotFound"),
    "network": lambda text: network(text),
    "base64": lambda text: decode_base64(text, 24 << 20),
    "x-forwarded-for": looked(b"x-forwarded-for"),
    "forwarded": looked(b"forwarded"),
    "x-forwarded-host": looked(b"x-forwarded-host"),
    "x-forwarded-prefix": looked(b"x-forwarded-prefix"),
    "host": looked(b"host"),
    "path": lambda text: ROUTES.find("/" + text),
    "query": lambda text: read_query(EventsQuery, text),
    "words": words_found,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body.beginning[-20:] + body.piece))
def test_bodies(kind: Any, body: Repeated) -> None:
    reader = BodyReader(kind)

    def read(raw: bytes) -> None:
        with contextlib.suppress(*REFUSING):
            reader.read(raw)

    assert not grows_too_fast(read, lambda size: body.of(size).encode())


@pytest.mark.parametrize("name", READERS)
def test_texts(name: str) -> None:
    def read(text: str) -> None:
        with contextlib.suppress(*REFUSING):
            READERS[name](text)

    assert [text for text in TEXTS if grows_too_fast(read, text.of)] == []


def test_weights_of_prompts() -> None:
    def nested(size: int) -> str:
        return "(" * (size // 2) + ")" * (size // 2)

    for text in (nested, *(text.of for text in TEXTS), Repeated("", "(a:1.1)").of):
        assert not grows_too_fast(parse, text)


def test_the_square_is_found_out() -> None:
    """Taking a text apart from its beginning, again and again."""

    def peel(text: str) -> None:
        while text:
            text = text[16:]

    assert grows_too_fast(peel, Repeated("", "a").of)
