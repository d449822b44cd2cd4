# SPDX-License-Identifier: AGPL-3.0-or-later
"""The diffusers engine on a model of a few hundred kilobytes whose weights are random.

What it draws is noise; but the seeds, the samplers and the passes are those of a real model.
"""

import json
import os
import shutil
import string
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from openhorde.wire.image import Sampler  # noqa: E402
from openhorde.worker.backends.base import (  # noqa: E402
    Artifact,
    Cancelled,
    Embedding,
    JobFault,
    Note,
    PictureJob,
)
from openhorde.worker.backends.diffusers.backend import DiffusersBackend  # noqa: E402
from openhorde.worker.backends.diffusers.catalogue import find_models  # noqa: E402
from openhorde.worker.backends.diffusers.prompts import condition  # noqa: E402
from openhorde.worker.backends.diffusers.sizes import within  # noqa: E402
from openhorde.worker.settings import load_settings  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
torch.set_num_threads(1)


def tiny_tokenizer() -> Any:
    letters = string.ascii_lowercase + ","
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def tiny_text_encoder(tokenizer: Any, kind: str, width: int) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return getattr(transformers, kind)(config)


def tiny_vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    )


def tiny_unet(width: int, **changes: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=4,
        layers_per_block=1,
        **changes,
    )


def tiny_scheduler() -> Any:
    return diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True
    )


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `tiny`, `tiny-xl`, and `small-only`, which can draw 64x64 only."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(tokenizer, "CLIPTextModel", 16),
        tokenizer=tokenizer,
        unet=tiny_unet(16),
        scheduler=tiny_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "tiny")
    xl = diffusers.StableDiffusionXLPipeline(
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(tokenizer, "CLIPTextModel", 16),
        text_encoder_2=tiny_text_encoder(tokenizer, "CLIPTextModelWithProjection", 16),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=tiny_unet(
            32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        scheduler=tiny_scheduler(),
    )
    xl.save_pretrained(folder / "tiny-xl")
    shutil.copytree(folder / "tiny", folder / "small-only")
    about = {"native_side_pixels": 64, "name": "small only", "baseline": "stable diffusion 1"}
    (folder / "small-only" / "openhorde.json").write_text(json.dumps(about))
    return folder


def open_backend(folder: Path, **changes: Any) -> DiffusersBackend:
    flags = {"models_folder": folder, "device": "cpu", "cpu_threads": 1, "models_in_memory": 2}
    backend = DiffusersBackend(load_settings(None, None, flags | changes))
    backend.open()
    return backend


@pytest.fixture(scope="session")
def backend(models_folder: Path) -> DiffusersBackend:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_backend(models_folder)


def draw(backend: DiffusersBackend, **changes: Any) -> list[Artifact]:
    defaults = {
        "id": "1",
        "model": "tiny",
        "prompt": "a red circle",
        "negative_prompt": "blue",
        "width_pixels": 64,
        "height_pixels": 64,
        "steps": 2,
        "sampler": "k_euler",
        "seeds": [7],
    }
    job = PictureJob(**(defaults | changes))
    return backend.run(job, lambda step, steps: None, lambda: False)


def content(backend: DiffusersBackend, **changes: Any) -> bytes:
    (artifact,) = draw(backend, **changes)
    return artifact.content


def picture(backend: DiffusersBackend, **changes: Any) -> Image.Image:
    return Image.open(BytesIO(content(backend, **changes)))


def encoded(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SOURCE = Image.effect_noise((64, 64), 80).convert("RGB")


@pytest.mark.parametrize("karras", [True, False])
@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_and_honours_the_seed(
    backend: DiffusersBackend, sampler: str, karras: bool
) -> None:
    first = content(backend, sampler=sampler, karras=karras, steps=3)
    assert content(backend, sampler=sampler, karras=karras, steps=3) == first
    assert content(backend, sampler=sampler, karras=karras, steps=3, seeds=[8]) != first


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_over_a_picture(backend: DiffusersBackend, sampler: str) -> None:
    over = {"sampler": sampler, "source": encoded(SOURCE), "steps": 4, "denoising_strength": 0.5}
    first = content(backend, **over)
    assert content(backend, **over) == first


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_in_one_step(backend: DiffusersBackend, sampler: str) -> None:
    assert picture(backend, sampler=sampler, steps=1).size == (64, 64)


@pytest.mark.parametrize("sampler", ["k_euler_a", "k_dpmpp_sde", "k_dpmpp_2m"])
def test_a_batch_holds_what_each_seed_gives_alone(backend: DiffusersBackend, sampler: str) -> None:
    together = draw(backend, sampler=sampler, seeds=[7, 8, 9])
    assert [artifact.seed for artifact in together] == [7, 8, 9]
    alone = picture(backend, sampler=sampler, seeds=[8])
    assert difference(Image.open(BytesIO(together[1].content)), alone) < 3
    assert len({artifact.content for artifact in together}) == 3


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean distance of two pictures' bytes, 0 to 255."""
    pairs = list(zip(one.tobytes(), other.tobytes(), strict=True))
    return sum(abs(left - right) for left, right in pairs) / len(pairs)


def test_karras_and_sampler_make_a_difference(backend: DiffusersBackend) -> None:
    pictures = {
        content(backend, steps=4, sampler="k_dpmpp_2m", karras=True),
        content(backend, steps=4, sampler="k_dpmpp_2m", karras=False),
        content(backend, steps=4, sampler="DDIM"),
    }
    assert len(pictures) == 3


def test_guidance_and_both_prompts_make_a_difference(backend: DiffusersBackend) -> None:
    guided = content(backend)
    assert content(backend, cfg_scale=9.0) != guided
    assert content(backend, prompt="a green square") != guided
    assert content(backend, negative_prompt="yellow") != guided
    unguided = content(backend, cfg_scale=1.0)
    assert content(backend, cfg_scale=0.0) == unguided != guided
    assert content(backend, cfg_scale=1.0, negative_prompt="yellow") == unguided


def test_the_strength_says_how_much_of_a_source_is_left(backend: DiffusersBackend) -> None:
    source = encoded(SOURCE)
    drawn = [
        content(backend, source=source, steps=10, denoising_strength=strength)
        for strength in (0.01, 0.5, 1.0)
    ]
    assert len(set(drawn)) == 3
    assert len(draw(backend, source=source, seeds=[1, 2])) == 2


def test_only_what_the_mask_shows_is_drawn_anew(backend: DiffusersBackend) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    drawn = picture(backend, source=encoded(SOURCE), mask=encoded(mask), repaint=True)
    left, right = (0, 0, 32, 64), (40, 0, 64, 64)
    assert difference(drawn.crop(right), SOURCE.crop(right)) < 10
    assert difference(drawn.crop(left), SOURCE.crop(left)) > 20


def test_without_a_mask_the_transparent_parts_are_drawn(backend: DiffusersBackend) -> None:
    alpha = Image.new("L", (64, 64), 255)
    alpha.paste(0, (0, 0, 32, 64))
    source = SOURCE.copy()
    source.putalpha(alpha)
    drawn = picture(backend, source=encoded(source), repaint=True)
    right = (40, 0, 64, 64)
    assert difference(drawn.crop(right), SOURCE.crop(right)) < 10
    with pytest.raises(JobFault, match="mask") as caught:
        draw(backend, source=encoded(SOURCE), repaint=True)
    assert caught.value.notes == [Note(type="source_mask", value="parse_failed")]


def test_a_source_that_is_no_picture_is_told(backend: DiffusersBackend) -> None:
    with pytest.raises(JobFault) as caught:
        draw(backend, source=b"no picture")
    assert caught.value.notes == [Note(type="source_image", value="parse_failed")]


def test_clip_skip_takes_an_earlier_layer(backend: DiffusersBackend) -> None:
    drawn = [content(backend, clip_skip=skip) for skip in (1, 2, 3)]
    assert len(set(drawn)) == 3
    assert len(draw(backend, clip_skip=12)) == 1


def test_embeddings_are_those_of_diffusers(backend: DiffusersBackend) -> None:
    pipeline = backend._models.get("tiny").from_text
    ours = condition(pipeline, "a red circle", "blue", 1, True)
    theirs = pipeline.encode_prompt("a red circle", "cpu", 1, True, "blue")
    assert torch.allclose(ours.prompt, theirs[0], atol=1e-5)
    assert torch.allclose(ours.negative, theirs[1], atol=1e-5)
    pipeline = backend._models.get("tiny-xl").from_text
    ours = condition(pipeline, "a red circle", "", 1, True)
    theirs = pipeline.encode_prompt("a red circle", device="cpu", negative_prompt=None)
    assert torch.allclose(ours.prompt, theirs[0], atol=1e-5)
    assert torch.allclose(ours.negative, theirs[1], atol=1e-5)
    assert torch.allclose(ours.pooled, theirs[2], atol=1e-5)
    assert torch.allclose(ours.negative_pooled, theirs[3], atol=1e-5)


def test_no_word_of_a_long_prompt_is_lost(backend: DiffusersBackend) -> None:
    long = "a red circle " * 40
    assert content(backend, prompt=long + "green") != content(backend, prompt=long + "blue")
    assert len(draw(backend, prompt="x " * 10_000)) == 1


def test_hires_fix_draws_twice(backend: DiffusersBackend) -> None:
    large = {"width_pixels": 128, "height_pixels": 64, "steps": 4}
    steps = []
    job = PictureJob(
        id="1", model="tiny", prompt="x", seeds=[1, 2], sampler="k_euler", hires_fix=True, **large
    )
    drawn = backend.run(job, lambda step, _: steps.append(step), lambda: False)
    assert [Image.open(BytesIO(one.content)).size for one in drawn] == [(128, 64)] * 2
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 4)
    assert content(backend, hires_fix=True, **large) != content(backend, **large)
    assert content(backend, hires_fix=True) == content(backend)


def test_tiling_wraps_around_and_is_undone(backend: DiffusersBackend) -> None:
    plain = content(backend)
    assert content(backend, tiling=True) != plain
    assert content(backend) == plain


def test_a_model_that_draws_small_is_enlarged(backend: DiffusersBackend) -> None:
    drawn = picture(backend, model="small only", width_pixels=256, height_pixels=128)
    assert drawn.size == (256, 128)
    mask = encoded(Image.new("L", (64, 64), 255))
    over = {"model": "small only", "width_pixels": 128, "height_pixels": 128}
    masked = picture(backend, source=encoded(SOURCE), mask=mask, repaint=True, **over)
    assert masked.size == (128, 128)


@pytest.mark.parametrize(
    ("asked", "side", "drawn"),
    [
        ((512, 512), 64, (64, 64)),
        ((1024, 512), 64, (88, 48)),
        ((64, 64), 64, (64, 64)),
        ((3072, 64), 64, (448, 8)),
        ((512, 768), 1024, (512, 768)),
    ],
)
def test_a_shape_keeps_its_shape(
    asked: tuple[int, int], side: int, drawn: tuple[int, int]
) -> None:
    assert within(*asked, side, 8) == drawn


@pytest.mark.parametrize("sampler", ["k_euler_a", "k_dpmpp_2m"])
def test_an_xl_model_draws_too(backend: DiffusersBackend, sampler: str) -> None:
    over = {"model": "tiny-xl", "sampler": sampler}
    assert content(backend, **over) == content(backend, **over)
    assert content(backend, clip_skip=2, **over) != content(backend, **over)
    assert len(draw(backend, source=encoded(SOURCE), seeds=[1, 2], **over)) == 2
    mask = encoded(Image.new("L", (64, 64), 255))
    assert len(draw(backend, source=encoded(SOURCE), mask=mask, repaint=True, **over)) == 1
    large = {"width_pixels": 128, "height_pixels": 128, "hires_fix": True}
    assert len(draw(backend, seeds=[1, 2], **large, **over)) == 2


def test_an_approximated_sampler_is_told(backend: DiffusersBackend) -> None:
    (artifact,) = draw(backend, sampler="k_dpm_fast")
    (note,) = artifact.notes
    assert (note.type, note.value) == ("information", "see_ref")
    assert note.ref is not None
    assert note.ref.startswith("k_dpm_fast: drawn with")


def test_a_job_can_be_cancelled_between_steps(backend: DiffusersBackend) -> None:
    job = PictureJob(id="1", model="tiny", prompt="x", width_pixels=64, height_pixels=64)
    steps: list[int] = []
    with pytest.raises(Cancelled):
        backend.run(job, lambda step, _: steps.append(step), lambda: len(steps) >= 4)
    assert len(steps) == 4


@pytest.mark.parametrize("changes", [{"model": "absent"}, {"sampler": "k_new"}])
def test_what_is_not_here_is_a_fault(backend: DiffusersBackend, changes: dict[str, str]) -> None:
    with pytest.raises(JobFault, match=next(iter(changes.values()))):
        draw(backend, **changes)


def test_an_embedding_is_put_into_the_prompt(models_folder: Path, tmp_path: Path) -> None:
    save_file({"emb_params": torch.ones(2, 16)}, tmp_path / "my-style.safetensors")
    save_file({"emb_params": torch.ones(2, 3)}, tmp_path / "wrong.safetensors")
    backend = open_backend(models_folder, embeddings_folder=tmp_path)
    plain = content(backend)
    (artifact,) = draw(backend, embeddings=[Embedding(name="my-style", inject="prompt")])
    assert artifact.notes == []
    assert artifact.content != plain
    absent = [Embedding(name="absent"), Embedding(name="../wrong"), Embedding(name="wrong")]
    (artifact,) = draw(backend, embeddings=absent)
    assert artifact.content == plain
    assert artifact.notes == [
        Note(type="ti", value="download_failed", ref="absent"),
        Note(type="ti", value="download_failed", ref="../wrong"),
        Note(type="ti", value="parse_failed", ref="wrong"),
    ]


def test_a_pickled_model_is_refused(models_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "pickled"
    shutil.copytree(models_folder / "tiny", model)
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), model / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    for name in ("a.ckpt", "b.pt", "c.bin"):
        (tmp_path / name).write_bytes(b"pickle")
    assert [card.name for card in find_models(tmp_path, [])] == ["pickled"]
    with pytest.raises(OSError, match="safetensors"):
        draw(open_backend(tmp_path), model="pickled")


def test_models_are_found_by_name(models_folder: Path, tmp_path: Path) -> None:
    names = [card.name for card in find_models(models_folder, [])]
    assert names == ["small only", "tiny", "tiny-xl"]
    (card,) = find_models(models_folder / "small-only", ["small only"])
    assert (card.native_side_pixels, card.baseline) == (64, "stable diffusion 1")
    with pytest.raises(RuntimeError, match="there is: small only, tiny, tiny-xl"):
        find_models(models_folder, ["absent"])
    with pytest.raises(RuntimeError, match="holds no"):
        find_models(tmp_path, [])
    (tmp_path / "broken.safetensors").write_bytes(b"not at all")
    with pytest.raises(RuntimeError, match="broken"):
        find_models(tmp_path, [])
