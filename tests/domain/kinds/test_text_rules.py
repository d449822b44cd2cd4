# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest

from openhorde.server.domain.kinds import text_rules
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.text import TextParams, TextRequest

SOMEBODY = Requester(user_id=5, alias="somebody#5")


def request(params: dict[str, Any] | None = None, **fields: Any) -> TextRequest:
    return TextRequest(
        **dict[str, Any](prompt="Once", params=TextParams(**(params or {}))) | fields
    )


def passes(wanted: TextRequest, requester: Requester = SOMEBODY) -> TextRequest:
    return text_rules.check(wanted, requester)


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("NulByteInPayload", request(prompt="a\0b")),
        ("NulByteInPayload", request({"stop_sequence": ["\0"]})),
        ("NulByteInPayload", request(models=["\0"])),
        ("NulByteInPayload", request(softprompt="\0")),
        ("BadRequest", request(webhook="http://example.org")),
        ("OnlyServiceAccountProxy", request(proxied_account="x")),
        ("InvalidExtraSourceImages.", request(extra_source_images=[{"image": "x"}])),
        ("MissingPrompt", request(prompt=" \n")),
        ("TooLong", request(prompt="a" * (10 * 1024 * 1024 + 1))),
        ("TooLong", request(softprompt="a" * 1001)),
        ("TokenOverflow", request({"max_length": 81, "max_context_length": 80})),
        ("MissingFullSamplerOrder", request({"sampler_order": [6, 0, 1, 2, 3, 4]})),
        ("MissingFullSamplerOrder", request({"sampler_order": [6, 0, 1, 2, 3, 4, 4]})),
        ("MissingFullSamplerOrder", request({"sampler_order": []})),
        ("TooManyStopSequences", request({"stop_sequence": [str(n) for n in range(129)]})),
        ("ExcessiveStopSequence", request({"stop_sequence": ["a" * 1000, "b" * 1001]})),
    ],
)
def test_what_may_not_be_asked(code: str, wanted: TextRequest) -> None:
    with pytest.raises(Refusal) as caught:
        passes(wanted)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "wanted",
    [
        request(),
        request({"max_length": 80, "max_context_length": 80}),
        request({"sampler_order": [6, 0, 1, 2, 3, 4, 5]}),
        request({"stop_sequence": [str(n) for n in range(128)]}),
        request({"stop_sequence": ["a" * 1000, "b" * 1000]}),
        request({"n": 20}, disable_batching=True),
        request(prompt="word " * 10_000),
        request(models=["any name::at#1"]),
    ],
)
def test_what_may_be_asked(wanted: TextRequest) -> None:
    assert passes(wanted).prompt == wanted.prompt


def test_who_is_deleted_asks_nothing() -> None:
    with pytest.raises(Refusal) as caught:
        passes(request(), msgspec.structs.replace(SOMEBODY, deleted=True))
    assert caught.value.code == "DeletedUser"


def test_a_service_may_name_whom_it_asks_for() -> None:
    service = msgspec.structs.replace(SOMEBODY, service=True)
    assert passes(request(proxied_account="x"), service).proxied_account == "x"


def test_repeated_and_empty_stops_are_dropped() -> None:
    kept = passes(request({"stop_sequence": ["\n", "", "\n", "###"]})).params.stop_sequence
    assert kept == ["\n", "###"]
    assert passes(request({"stop_sequence": ["", ""]})).params.stop_sequence is None


def test_repeated_stops_count_once() -> None:
    assert passes(request({"stop_sequence": ["a" * 1500] * 200})).params.stop_sequence is not None


def test_five_workers_count() -> None:
    assert passes(request(workers=[str(n) for n in range(9)])).workers == list("01234")


def test_education_accounts_are_served_by_trusted_workers() -> None:
    pupil = msgspec.structs.replace(SOMEBODY, education=True)
    assert passes(request(), pupil).trusted_workers
    assert not passes(request()).trusted_workers
