# SPDX-License-Identifier: AGPL-3.0-or-later
import msgspec

from openhorde.server.domain.needs import POST_PROCESSORS, SAMPLERS, SIZES, WORDS, Needs
from openhorde.wire.alchemy import FormsSkipped
from openhorde.wire.text import TextsSkipped
from openhorde.wire.work import Skipped


def test_every_word_is_explained_and_has_reasons_that_a_worker_can_be_told() -> None:
    told = {
        field
        for skipped in (Skipped, FormsSkipped, TextsSkipped)
        for field in skipped.__struct_fields__
    }
    for size in SIZES.values():
        assert size.meaning
        assert size.reason in told
    for word, need in WORDS.items():
        assert need.word == word
        assert need.meaning
        assert {need.reason, need.reason_when_agent_lacks} <= told


def test_every_sampler_and_post_processor_is_a_word() -> None:
    assert len([word for word in WORDS if word.startswith("sampler:")]) == 2 * len(SAMPLERS)
    assert len([word for word in WORDS if word.startswith("post-pro")]) == len(POST_PROCESSORS)


def test_equal_needs_share_a_signature_and_others_do_not() -> None:
    needs = Needs(kind="image", words=("nsfw",), sizes=(("pixels", 4096),), models=("a",))
    assert needs.signature() == Needs(**msgspec.structs.asdict(needs)).signature()
    others = [
        msgspec.structs.replace(needs, **change)
        for change in (
            {"kind": "text"},
            {"words": ()},
            {"sizes": (("pixels", 8192),)},
            {"models": ("b",)},
            {"workers": ("w",)},
            {"workers_excluded": True},
        )
    ]
    assert len({needs.signature(), *(other.signature() for other in others)}) == 7


def test_a_signature_is_stable() -> None:
    assert len(Needs(kind="image").signature()) == 32
    assert Needs(kind="image").signature() == "21d45d591ddb6f989bdf273faa29c285"
