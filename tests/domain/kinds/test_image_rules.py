# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest

from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.face import PictureFacts
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.image import ExtraSourceImage, ExtraText, ImageParams, Lora, TextualInversion
from openhorde.wire.requests import ImageRequest

REFERENCE = Reference.from_json(
    {
        "stable_diffusion": {"baseline": "stable diffusion 1"},
        "two": {"baseline": "stable diffusion 2 512"},
        "xl": {"baseline": "stable_diffusion_xl"},
        "cascade": {"baseline": "stable_cascade"},
        "flux": {"baseline": "flux_1"},
        "control": {"baseline": "stable diffusion 1", "type": "controlnet"},
        "picky": {
            "baseline": "stable diffusion 1",
            "requirements": {
                "clip_skip": 2,
                "min_steps": 40,
                "max_steps": 60,
                "min_cfg_scale": 6,
                "samplers": ["k_heun"],
                "schedulers": ["simple"],
            },
        },
        "strict": {
            "baseline": "stable diffusion 1",
            "requirements": {"cfg_scale": 3.5, "max_cfg_scale": 4, "max_steps": 10},
        },
    }
)
SOMEBODY = Requester(user_id=5, alias="somebody#5")
TRUSTED = msgspec.structs.replace(SOMEBODY, trusted=True)
SPECIAL = msgspec.structs.replace(SOMEBODY, special=True)
SPECIAL_MODEL = "horde_special::somebody#5"


def request(params: dict[str, Any] | None = None, **fields: Any) -> ImageRequest:
    return ImageRequest(
        **dict[str, Any](prompt="a cat", params=ImageParams(**(params or {}))) | fields,
    )


def extras(number: int) -> list[ExtraSourceImage]:
    return [ExtraSourceImage(image="x")] * number


def code_of(wanted: ImageRequest, requester: Requester = SOMEBODY) -> str:
    with pytest.raises(Refusal) as caught:
        image.check(wanted, requester, REFERENCE)
    return caught.value.code


def passes(wanted: ImageRequest, requester: Requester = SOMEBODY) -> ImageRequest:
    return image.check(wanted, requester, REFERENCE)[0]


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("NulByteInPayload", request(prompt="a\0b")),
        ("NulByteInPayload", request({"seed": "\0"})),
        ("NulByteInPayload", request({"special": {"a\0": [1]}})),
        ("BadRequest", request(webhook="http://example.org")),
        ("OnlyServiceAccountProxy", request(proxied_account="x")),
        ("TooManyExtraSourceImages.", request(extra_source_images=extras(6))),
        ("MoreThanMinExtraSourceImage.", request(extra_source_images=extras(2))),
        ("MissingPrompt", request(prompt=" \n")),
        ("InvalidPromptSize", request(prompt="cat " * 7501)),
        ("RequiresTrust", request({"n": 2}, disable_batching=True)),
    ],
)
def test_who_may_ask_for_what(code: str, wanted: ImageRequest) -> None:
    assert code_of(wanted) == code


def test_deleted_accounts_are_refused() -> None:
    gone = msgspec.structs.replace(SOMEBODY, deleted=True)
    assert code_of(request(), gone) == "DeletedUser"


def test_what_standing_permits() -> None:
    service = msgspec.structs.replace(SOMEBODY, service=True)
    patron = msgspec.structs.replace(SOMEBODY, patron=True)
    assert passes(request(proxied_account="x"), service)
    assert passes(request({"n": 2}, disable_batching=True), TRUSTED)
    assert passes(request({"n": 2}, disable_batching=True), patron)
    assert passes(request({"n": 1}, disable_batching=True))
    remix = request(models=["cascade"], source_processing="remix", extra_source_images=extras(5))
    assert passes(remix, TRUSTED)
    assert passes(request(prompt="cat " * 7500))


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("TooManyLoras", request({"loras": [Lora(name="a")] * 6})),
        ("BadLoraVersion", request({"loras": [Lora(name="12a", is_version=True)]})),
        ("TooManyTIs", request({"tis": [TextualInversion(name="a")] * 21})),
        ("TooManyUpscalers", request({"post_processing": ["NMKD_Siax", "RealESRGAN_x2plus"]})),
        ("BadCFGDecimals", request({"cfg_scale": 7.125})),
        ("SourceMaskUnnecessary", request(source_mask="x")),
        ("InvalidExtraSourceImages.", request(source_image="x", extra_source_images=extras(1))),
    ],
)
def test_parameters(code: str, wanted: ImageRequest) -> None:
    assert code_of(wanted) == code


def test_parameters_at_their_bounds() -> None:
    assert passes(
        request(
            {
                "loras": [Lora(name="12", is_version=True)] * 5,
                "tis": [TextualInversion(name="a")] * 20,
                "post_processing": ["NMKD_Siax", "GFPGAN", "CodeFormers", "strip_background"],
                "cfg_scale": 0.29,
            }
        )
    )


@pytest.mark.parametrize(
    ("code", "wanted", "requester"),
    [
        ("SpecialModelNeedsSpecialUser", request(models=[SPECIAL_MODEL]), SOMEBODY),
        ("SpecialMissingUsername", request(models=["horde_special"]), SPECIAL),
        ("SpecialForbidden", request(models=["horde_special::other#6"]), SPECIAL),
        ("SpecialMissingPayload", request(models=[SPECIAL_MODEL]), SPECIAL),
        ("SpecialFieldNeedsSpecialUser", request({"special": {}}), SOMEBODY),
    ],
)
def test_special_models(code: str, wanted: ImageRequest, requester: Requester) -> None:
    assert code_of(wanted, requester) == code
    assert passes(request({"special": {}}, models=[SPECIAL_MODEL]), SPECIAL)


@pytest.mark.parametrize(
    ("code", "params", "fields"),
    [
        ("ControlNetUnsupported", {"control_type": "normal"}, {"models": ["two"]}),
        ("ControlNetUnsupported", {"control_type": "hough"}, {"models": ["xl", "two"]}),
        ("ControlNetUnsupported", {"control_type": "hed"}, {"models": ["pix2pix"]}),
        ("ControlNetMismatch", {"control_type": "hed"}, {"models": ["xl"]}),
        ("ControlNetMismatch", {"control_type": "hed"}, {"models": ["[Qwen] x"]}),
        (
            "ControlNetInpaintingMismatch",
            {"control_type": "hed"},
            {"source_processing": "inpainting"},
        ),
        ("HiResMismatch", {"hires_fix": True}, {"models": ["flux"]}),
        ("InvalidTransparencyModel", {"transparent": True}, {"models": ["cascade"]}),
        ("InvalidTransparencyCN", {"transparent": True, "control_type": "hed"}, {}),
        ("InvalidRemix", {}, {"source_processing": "remix"}),
        ("InvalidRemix", {}, {"source_processing": "remix", "models": ["cascade", "xl"]}),
        ("InvalidExtraTexts.", {"extra_texts": [ExtraText(text="x", reference="abc")]}, {}),
        ("MissingExtraTexts.", {"workflow": "qr_code"}, {}),
        (
            "MissingExtraTexts.",
            {"workflow": "qr_code", "extra_texts": [ExtraText(text="x", reference="abc")]},
            {},
        ),
        (
            "ControlNetMismatch.",
            {"workflow": "qr_code", "extra_texts": [ExtraText(text="x", reference="qr_code")]},
            {"models": ["cascade"]},
        ),
    ],
)
def test_features_that_do_not_go_together(
    code: str, params: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert code_of(request(params, **{"source_image": "x"} | fields)) == code


def test_transparency_takes_no_extra_sources() -> None:
    wanted = request(
        {"transparent": True},
        models=["xl"],
        source_image="x",
        source_processing="remix",
        extra_source_images=extras(1),
    )
    assert code_of(wanted) == "InvalidTransparencyImg2Img"


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("ControlNetSourceMissing", request({"control_type": "hed"})),
        ("SourceImageRequiredForModel", request(models=["pix2pix"])),
        ("SourceImageRequiredForModel", request(models=["Stable Diffusion 2 Depth"])),
        ("UnexpectedModelName", request(models=["control"])),
        ("UnexpectedModelName", request(models=["GFPGAN"])),
    ],
)
def test_models_and_their_sources(code: str, wanted: ImageRequest) -> None:
    assert code_of(wanted) == code


def test_features_that_do_go_together() -> None:
    assert passes(request({"control_type": "normal"}, source_image="x"))
    assert passes(request({"hires_fix": True}, models=["cascade", "xl"]))
    assert passes(request({"transparent": True}, models=["xl", "stable_diffusion"]))
    assert passes(request(models=["control", "pix2pix"], source_image="x"))
    assert passes(request(source_image="x", source_mask="y", source_processing="inpainting"))


def test_the_first_broken_rule_is_told() -> None:
    wrong = request({"control_type": "hed", "cfg_scale": 1.234}, webhook="http://example.org")
    assert code_of(wrong) == "BadRequest"
    assert code_of(msgspec.structs.replace(wrong, webhook=None)) == "BadCFGDecimals"


@pytest.mark.parametrize("processing", ["img2img", "inpainting", "outpainting"])
@pytest.mark.parametrize("has_holes", [False, True])
@pytest.mark.parametrize("mask", [None, "blank", "white"])
def test_inpainting_needs_something_that_says_where(
    processing: str, has_holes: bool, mask: str | None
) -> None:
    wanted = request(source_image="x", source_mask=mask, source_processing=processing)
    source = PictureFacts(64, 64, has_holes=has_holes)
    given = PictureFacts(64, 64, is_blank=mask == "blank") if mask else None
    missing = processing == "inpainting" and mask is None and not has_holes
    blank = mask == "blank"
    if not (missing or blank):
        image.check_mask(wanted, source, given)
        return
    with pytest.raises(Refusal) as caught:
        image.check_mask(wanted, source, given)
    assert caught.value.code == "InpaintingMissingMask"
    assert caught.value.facts == ({"reason": "blank mask"} if blank else {})


def test_the_request_is_completed_and_the_original_left_alone() -> None:
    wanted = request(
        {"control_type": "hed", "post_processing": ["GFPGAN", "GFPGAN"]},
        source_image="x",
        workers=list("abcdefg"),
    )
    done = passes(wanted)
    assert done.params.steps == 20
    assert done.params.post_processing == ["GFPGAN"]
    assert done.workers == list("abcde")
    assert (wanted.params.steps, len(wanted.workers)) == (None, 7)
    assert passes(request()).params.steps == 30


def test_without_a_source_there_is_nothing_to_paint_on() -> None:
    assert passes(request(source_processing="inpainting")).source_processing == "img2img"


def test_a_qr_code_is_never_batched() -> None:
    qr_code = {"workflow": "qr_code", "extra_texts": [ExtraText(text="x", reference="qr_code")]}
    assert passes(request(qr_code | {"n": 3})).disable_batching


def test_education_accounts_are_kept_safe() -> None:
    school = msgspec.structs.replace(SOMEBODY, education=True)
    wanted = request(nsfw=True, censor_nsfw=False, shared=True, replacement_filter=False)
    done = passes(wanted, school)
    assert (done.nsfw, done.censor_nsfw, done.trusted_workers) == (False, True, True)
    assert (done.shared, done.replacement_filter) == (False, True)


def test_warnings_come_from_each_models_requirements_once() -> None:
    _, warnings = image.check(
        request(models=["picky", "picky", "strict", "stable_diffusion"]), SOMEBODY, REFERENCE
    )
    assert [warning.code for warning in warnings] == [
        "ClipSkipMismatch",
        "StepsTooFew",
        "CfgScaleTooSmall",
        "SamplerMismatch",
        "SchedulerMismatch",
        "StepsTooMany",
        "CfgScaleMismatch",
        "CfgScaleTooLarge",
    ]
    assert warnings[1].message == "picky works best with steps of at least 40, not 30."


def test_no_warning_when_the_model_is_served_as_it_likes() -> None:
    liked = {"clip_skip": 2, "steps": 50, "cfg_scale": 7.0, "sampler_name": "k_heun"}
    _, warnings = image.check(
        request(liked | {"karras": False}, models=["picky"]), SOMEBODY, REFERENCE
    )
    assert warnings == ()
