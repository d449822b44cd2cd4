# SPDX-License-Identifier: AGPL-3.0-or-later
import pytest

from openhorde.server.domain.model_names import owner_of
from openhorde.server.domain.reference import EVERY_NAME, ModelFacts, Reference, is_special

REFERENCE = Reference.from_json(
    {
        "stable_diffusion": {"baseline": "stable diffusion 1"},
        "AlbedoBase XL": {
            "baseline": "stable_diffusion_xl",
            "nsfw": True,
            "requirements": {"max_steps": None, "min_steps": 10},
        },
        "odd one": {"baseline": "something else"},
        "bare": None,
    }
)


def test_facts_come_from_the_reference_without_empty_requirements() -> None:
    facts = REFERENCE.facts("AlbedoBase XL")
    assert (facts.baseline, facts.nsfw) == ("stable_diffusion_xl", True)
    assert facts.requirements == {"min_steps": 10}
    assert REFERENCE.facts("bare") == ModelFacts(name="bare")


def test_only_known_families_are_known() -> None:
    assert REFERENCE.known == frozenset({"stable_diffusion", "AlbedoBase XL", "bare"})
    assert not REFERENCE.is_known("odd one")
    assert not REFERENCE.is_known("never heard of")


def test_a_star_makes_every_name_known() -> None:
    reference = Reference.from_json({"*": {}})
    assert reference.known is None
    assert reference.is_known("tiny-shapes")


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        ("My [SDXL] mix", "stable_diffusion_xl"),
        ("[Flux] x", "flux_1"),
        ("[Qwen] x", "qwen_image"),
        ("[ZModel] x", "z_image_turbo"),
        ("[ZImage] x", "z_image_turbo"),
        ("plain", "stable diffusion 1"),
    ],
)
def test_an_unknown_name_tells_its_family_by_its_tag(name: str, baseline: str) -> None:
    assert REFERENCE.baseline(name) == baseline


def test_an_unknown_name_may_say_that_it_inpaints() -> None:
    assert REFERENCE.facts("my_Inpainting_model").inpainting
    assert not REFERENCE.facts("plain").inpainting


@pytest.mark.parametrize(
    ("baseline", "multiplier"),
    [
        ("stable diffusion 1", 1),
        ("stable diffusion 2", 1),
        ("stable_diffusion_xl", 2),
        ("stable_cascade", 4),
        ("flux_1", 8),
        ("z_image_turbo", 8),
        ("qwen_image", 12),
    ],
)
def test_multipliers(baseline: str, multiplier: int) -> None:
    assert Reference.from_json({"m": {"baseline": baseline}}).multiplier("m") == multiplier


def test_unknown_models_are_dropped_unless_the_owner_is_a_customizer() -> None:
    declared = ["stable_diffusion", "mine", "stable_diffusion"]
    kept = REFERENCE.accept(declared, customizer=False, special_alias=None)
    assert kept == ("stable_diffusion",)
    kept = REFERENCE.accept(declared, customizer=True, special_alias=None)
    assert kept == ("stable_diffusion", "mine")


def test_only_the_first_300_models_count() -> None:
    reference = Reference.from_json({"*": None})
    declared = [f"model {number}" for number in range(301)]
    assert reference.accept(declared, customizer=False, special_alias=None) == tuple(declared[:300])


def test_a_special_model_is_accepted_only_from_its_alias() -> None:
    declared = ["horde_special::Ada#7", "horde_special::Bob#8", "horde_special"]
    kept = REFERENCE.accept(declared, customizer=True, special_alias="Ada#7")
    assert kept == ("horde_special::Ada#7",)
    assert REFERENCE.accept(declared, customizer=True, special_alias=None) == ()


def test_names_of_special_models() -> None:
    assert owner_of("horde_special::Ada#7") == "Ada#7"
    assert owner_of("plain") is None
    assert is_special("horde_special::Ada#7")
    assert not is_special("plain::Ada#7")


def test_a_name_that_cannot_be_shown_is_not_served() -> None:
    declared = ["good \U0001f525", "bad\u200b", "<b>bad</b>", "ba\u202ed"]
    everything = Reference.from_json({EVERY_NAME: None})
    served = everything.accept(declared, customizer=True, special_alias=None)
    assert served == ("good \U0001f525",)
    assert everything.texts.accept(declared, alias="Bob#1") == ("good \U0001f525",)
