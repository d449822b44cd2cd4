# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest

from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.matching import fits, lacking
from openhorde.server.domain.needs import WORDS, Needs, Offer
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.requester import Requester
from openhorde.wire.image import ExtraSourceImage, ImageParams, Lora, TextualInversion
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImagePop

REFERENCE = Reference.from_json(
    {
        "stable_diffusion": {"baseline": "stable diffusion 1"},
        "painter": {"baseline": "stable diffusion 1", "inpainting": True},
        "xl": {"baseline": "stable_diffusion_xl"},
        "cascade": {"baseline": "stable_cascade"},
        "flux": {"baseline": "flux_1"},
        "patient": {
            "baseline": "stable diffusion 1",
            "requirements": {"min_steps": 40, "max_steps": 80},
        },
    }
)
OTHER_WORDS = {"fast_forms", "fast_text", "validated"}
IMAGE_WORDS = {word for word in WORDS if not word.startswith("form:")} - OTHER_WORDS
RICH = Requester(user_id=5, alias="rich#5", balance_milli=1_000_000)
REGEN = "AI Horde Worker reGen:13:x"
FULL = {
    "allow_controlnet": True,
    "allow_sdxl_controlnet": True,
    "allow_lora": True,
    "bridge_agent": REGEN,
}


def request(params: dict[str, Any] | None = None, **fields: Any) -> ImageRequest:
    return ImageRequest(
        **dict[str, Any](prompt="a cat", params=ImageParams(**(params or {}))) | fields
    )


def needs(
    wanted: ImageRequest, requester: Requester = RICH, price_each_milli: int = 8000, **facts: Any
) -> Needs:
    return image.needs(wanted, requester, REFERENCE, price_each_milli=price_each_milli, **facts)


def offer(
    models: tuple[str, ...] = ("stable_diffusion",),
    trusted_owner: bool = True,
    speed: float = 1e6,
    **pop: Any,
) -> Offer:
    return image.offer(
        ImagePop(**dict[str, Any](name="w", models=list(models)) | FULL | pop),
        worker_id="w1",
        models=models,
        trusted_owner=trusted_owner,
        speed_things_per_second=speed,
        reference=REFERENCE,
    )


def reasons(wanted: ImageRequest, **worker: Any) -> tuple[str, ...]:
    return lacking(needs(wanted), offer(**worker))


def test_the_table_of_kinds() -> None:
    assert image.NAME == "image"
    assert (image.NAME, image.DIVISOR) == ("image", 1_000_000)


def test_an_ordinary_request_needs_little() -> None:
    assert needs(request(nsfw=False)) == Needs(
        kind="image",
        words=("brisk", "ordinary_model", "r2", "sampler:k_euler_a:karras"),
        sizes=(("pixels", 512 * 512),),
        models=("stable_diffusion",),
    )


def test_needs_are_sorted_so_that_equal_ones_are_one() -> None:
    one = needs(request(models=["xl", "flux", "xl"], workers=["b", "a"]))
    other = needs(request(models=["flux", "xl"], workers=["a", "b"]))
    assert one.signature() == other.signature()


def test_all_words_exist() -> None:
    full = request(
        {
            "loras": [Lora(name="1", is_version=True)],
            "tis": [TextualInversion(name="a")],
            "post_processing": ["GFPGAN"],
            "control_type": "hed",
            "image_is_control": True,
            "return_control_map": True,
            "workflow": "qr_code",
            "transparent": True,
            "tiling": True,
            "hires_fix": True,
            "clip_skip": 2,
            "steps": 500,
        },
        models=[],
        source_image="x",
        source_processing="outpainting",
        extra_source_images=[ExtraSourceImage(image="y")],
        slow_workers=False,
        trusted_workers=True,
    )
    wanted = needs(full, Requester(user_id=0, alias="Anonymous#0"), unsafe_ip=True)
    asked = {word for word in wanted.words if ":" not in word}
    plain = {word for word in IMAGE_WORDS if ":" not in word}
    assert asked == plain - {"ordinary_model"}
    assert set(wanted.words) <= set(WORDS)
    assert offer().words | offer().lacking_agent_words <= set(WORDS)


def test_the_newest_agent_with_everything_allowed_serves_everything() -> None:
    words = offer(("stable_diffusion", "painter", "xl", "cascade", "flux")).words
    assert words == IMAGE_WORDS


@pytest.mark.parametrize(
    ("reason", "wanted", "worker"),
    [
        ("nsfw", request(), {"nsfw": False}),
        ("untrusted", request(trusted_workers=True), {"trusted_owner": False}),
        ("img2img", request(source_image="x"), {"allow_img2img": False}),
        (
            "painting",
            request(source_image="x", source_processing="inpainting", models=[]),
            {"models": ("painter",), "allow_painting": False},
        ),
        (
            "models",
            request(source_image="x", source_processing="outpainting", models=[]),
            {"models": ("stable_diffusion",)},
        ),
        ("models", request(models=[]), {"models": ("painter",)}),
        ("models", request(models=[]), {"models": ("horde_special::rich#5",)}),
        ("lora", request({"loras": [Lora(name="a")]}), {"allow_lora": False}),
        ("performance", request(slow_workers=False), {"speed": 499_999.0}),
        ("performance", request(), {"extra_slow_worker": True}),
        ("controlnet", request({"control_type": "hed"}), {"allow_controlnet": False}),
        ("controlnet", request({"transparent": True}), {"allow_sdxl_controlnet": False}),
        ("step_count", request({"steps": 31}), {"limit_max_steps": True}),
        ("post_processing", request({"post_processing": ["GFPGAN"]}), {}),
        ("controlnet", request({"control_type": "hed"}), {"control_types": ["canny"]}),
        (
            "post_processing",
            request({"post_processing": ["GFPGAN", "NMKD_Siax"]}),
            {"post_processors": ["GFPGAN"]},
        ),
        ("max_pixels", request({"width": 576}), {}),
    ],
)
def test_what_owners_forbid(reason: str, wanted: ImageRequest, worker: dict[str, Any]) -> None:
    if reason == "post_processing" and not worker:
        worker = {"allow_post_processing": False}
    assert reasons(wanted, **worker) == (reason,)


def test_who_names_what_it_has_serves_that() -> None:
    worker = {"control_types": ["hed"], "post_processors": ["GFPGAN"]}
    wanted = request({"control_type": "hed", "post_processing": ["GFPGAN"]})
    assert reasons(wanted, **worker, bridge_agent="openhorde worker:0.1.0:x") == ()
    assert reasons(request(), control_types=[], post_processors=[]) == ()


def test_our_own_agent_fills_in_with_any_model() -> None:
    wanted = request(source_image="x", source_processing="inpainting", r2=False)
    assert reasons(wanted, bridge_agent="openhorde worker:0.1.0:x") == ()


@pytest.mark.parametrize(
    ("params", "agent"),
    [
        ({"sampler_name": "lcm"}, "AI Horde Worker reGen:2:x"),
        ({"sampler_name": "DDIM"}, "AI Horde Worker:24:x"),
        ({"post_processing": ["RestoreFormer"]}, "AI Horde Worker reGen:12:x"),
        ({"loras": [Lora(name="1", is_version=True)]}, "AI Horde Worker reGen:2:x"),
        ({"tis": [TextualInversion(name="a")]}, "AI Horde Worker:23:x"),
        ({"tiling": True}, "AI Horde Worker:24:x"),
        ({"control_type": "hed", "image_is_control": True}, "AI Horde Worker:22:x"),
        ({"control_type": "hed", "return_control_map": True}, "AI Horde Worker:17:x"),
        ({"workflow": "qr_code"}, "AI Horde Worker reGen:6:x"),
        ({"transparent": True}, "AI Horde Worker reGen:7:x"),
        ({"hires_fix": True}, "AI Horde Worker:12:x"),
        ({"clip_skip": 2}, "AI Horde Worker:12:x"),
        ({}, "AI Horde Worker:7:x"),
        ({"post_processing": ["CodeFormers"]}, "openhorde worker:0.1.0:x"),
    ],
)
def test_what_older_agents_cannot_do(params: dict[str, Any], agent: str) -> None:
    wanted = request(params)
    assert "bridge_version" in reasons(wanted, bridge_agent=agent)
    assert reasons(wanted, bridge_agent=REGEN) == ()


def test_a_lone_clip_skip_is_no_need() -> None:
    assert "clip_skip" not in needs(request({"clip_skip": 1})).words


def test_two_passes_on_cascade_need_a_newer_agent() -> None:
    wanted = request({"hires_fix": True}, models=["cascade"])
    worker = {"models": ("cascade",)}
    assert reasons(wanted, **worker, bridge_agent="AI Horde Worker reGen:5:x") == (
        "bridge_version",
    )
    assert reasons(wanted, **worker, bridge_agent="AI Horde Worker reGen:6:x") == ()
    plain = request({"hires_fix": True})
    assert reasons(plain, bridge_agent="AI Horde Worker reGen:5:x") == ()


def test_flux_needs_a_newer_agent() -> None:
    wanted = request(models=["flux"])
    worker = {"models": ("flux",)}
    assert reasons(wanted, **worker, bridge_agent="AI Horde Worker reGen:8:x") == (
        "bridge_version",
    )
    assert reasons(wanted, **worker, bridge_agent="AI Horde Worker reGen:9:x") == ()


def test_a_qr_code_on_sdxl_needs_leave() -> None:
    wanted = request({"workflow": "qr_code"}, models=["xl", "stable_diffusion"])
    forbids = {"allow_sdxl_controlnet": False}
    assert reasons(wanted, models=("xl",), **forbids) == ("controlnet",)
    assert reasons(wanted, models=("stable_diffusion",), **forbids) == ()


def test_many_steps_are_judged_by_the_requests_own_models() -> None:
    worker = {"models": ("stable_diffusion", "patient"), "limit_max_steps": True}
    assert reasons(request({"steps": 30}), **worker) == ()
    assert reasons(request({"steps": 31}), **worker) == ("step_count",)
    assert reasons(request({"steps": 60}, models=["patient"]), **worker) == ()
    both = request({"steps": 60}, models=["patient", "stable_diffusion"])
    assert reasons(both, **worker) == ("step_count",)
    assert reasons(request({"steps": 31}, models=[]), **worker) == ("step_count",)


def test_both_spellings_of_unsafe_addresses() -> None:
    wanted = needs(request(), unsafe_ip=True)
    assert fits(wanted, offer())
    assert lacking(wanted, offer(allow_unsafe_ipaddr=False)) == ("unsafe_ip",)
    assert lacking(wanted, offer(allow_unsafe_ip=False)) == ("unsafe_ip",)
    assert fits(wanted, offer(allow_unsafe_ipaddr=True, allow_unsafe_ip=False))


def test_doubtful_addresses_of_untrusted_users_go_to_trusted_owners() -> None:
    assert lacking(needs(request(), unsafe_ip=True), offer(trusted_owner=False)) == ("untrusted",)
    trusted = msgspec.structs.replace(RICH, trusted=True)
    assert fits(needs(request(), trusted, unsafe_ip=True), offer(trusted_owner=False))


@pytest.mark.parametrize(
    ("balance_milli", "floor_milli", "trusted", "generous"),
    [
        (33_000, 25_000, False, False),
        (32_999, 25_000, False, True),
        (25_000, 25_000, False, True),
        (25_000, 25_000, True, False),
        (-10_000, -50_000, False, True),
        (0, -50_000, False, True),
    ],
)
def test_who_could_not_pay_in_advance_needs_generosity(
    balance_milli: int, floor_milli: int, trusted: bool, generous: bool
) -> None:
    who = Requester(
        user_id=1, alias="a#1", balance_milli=balance_milli, floor_milli=floor_milli,
        trusted=trusted,
    )  # fmt: skip
    wanted = needs(request(), who, price_each_milli=8000)
    assert ("generous" in wanted.words) is generous
    assert fits(wanted, offer(require_upfront_kudos=True)) is not generous


def test_inline_results_need_no_object_storage() -> None:
    assert "r2" not in needs(request(r2=False)).words
    assert reasons(request(), bridge_agent="nobody:1:x") == ("bridge_version",)
    assert reasons(request(r2=False), bridge_agent="nobody:1:x") == ()


def test_an_exclusion_list_without_workers_excludes_nobody() -> None:
    assert not needs(request(worker_blacklist=True)).workers_excluded
    assert reasons(request(worker_blacklist=True, workers=["w1"])) == ("worker_id",)


def test_the_payload_says_what_the_worker_reads() -> None:
    wanted = request(
        {"steps": 12, "width": 768, "n": 4, "seed": "old", "clip_skip": 2}, prompt="a ### b"
    )
    made = image.payload(wanted, seed=99, n_iter=3)
    assert (made.prompt, made.ddim_steps, made.seed, made.n_iter) == ("a ### b", 12, "99", 3)
    assert (made.width, made.height, made.clip_skip) == (768, 512, 2)
    sent = msgspec.to_builtins(made)
    named = ("sampler_name", "cfg_scale", "tiling", "karras", "post_processing")
    assert set(named) <= set(sent)


def test_censoring_is_asked_for_only_where_it_applies() -> None:
    def censor(**fields: Any) -> bool | None:
        return image.payload(request(**fields), seed=1, n_iter=1).use_nsfw_censor

    assert censor(nsfw=False, censor_nsfw=True) is True
    assert censor(nsfw=True, censor_nsfw=True) is None
    assert censor(nsfw=False, censor_nsfw=False) is None


def test_what_is_shared() -> None:
    anonymous = Requester(user_id=0, alias="Anonymous#0", anonymous=True)
    school = msgspec.structs.replace(RICH, education=True)
    assert image.sharing(request(shared=True), RICH)
    assert not image.sharing(request(), RICH)
    assert image.sharing(request(), anonymous)
    assert not image.sharing(request(shared=True, source_image="x"), RICH)
    assert not image.sharing(request(source_image="x"), anonymous)
    assert not image.sharing(request(shared=True), school)


def test_uptime_rewards() -> None:
    assert image.uptime_reward_milli(1, allow_lora=False) == 52_000
    assert image.uptime_reward_milli(10, allow_lora=True) == 100_000


@pytest.mark.parametrize(
    ("asked", "stand_ins", "drawn_with"),
    [
        ([], ["b"], ["a"]),
        (["b"], ["b"], ["b"]),
        (["a", "b"], ["b"], ["a", "b"]),
        ([], ["a", "b"], ["a", "b"]),
        ([], [], ["a", "b"]),
    ],
)
def test_a_name_that_stands_in_is_for_requests_that_name_it(
    asked: list[str], stand_ins: list[str], drawn_with: list[str]
) -> None:
    pop = ImagePop(name="w", models=["a", "b"], stand_ins=stand_ins)
    assert KINDS["image"].models_for(needs(request(models=asked)), ["a", "b"], pop) == drawn_with
