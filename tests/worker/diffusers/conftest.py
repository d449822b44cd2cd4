# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of a few hundred kilobytes whose weights are random, and a studio to draw with them.

What they draw is noise; but the seeds, the samplers and the passes are those of a real model.
"""

import json
import os
import shutil
import string
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessorPil
from worker.classifiers import save_classifier

from openhorde.worker.backends.base import Artifact, PictureJob
from openhorde.worker.backends.diffusers.backend import DiffusersBackend
from openhorde.worker.backends.diffusers.loading import Model
from openhorde.worker.settings import load_settings

torch.set_num_threads(1)

# Of libraries among themselves; nothing that this project could do otherwise.
STRANGERS_WARNINGS = (
    "ignore:__array:DeprecationWarning",
    "ignore:.*torch_dtype:FutureWarning",
    "ignore:Should have t:UserWarning:torchsde",
    "ignore:Already found a `peft_config`:UserWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in STRANGERS_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


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
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    )


def tiny_safety_checker() -> Any:
    """Finds everything objectionable."""
    config = transformers.CLIPConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config)
    torch.nn.init.constant_(checker.concept_embeds_weights, -10.0)
    return checker


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a classifier of the labels, which is sure of the one at that place."""

    def make(labels: list[str], favourite: int) -> Path:
        return save_classifier(tmp_path_factory.mktemp("classifier"), labels, favourite)

    return make


@pytest.fixture(scope="session")
def easygoing(classifier: Callable[..., Path]) -> Path:
    """A safety model that finds every picture decent."""
    return classifier(["sfw", "nsfw"], 0)


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `tiny`, `tiny-xl`, `careful` with a safety checker, `small-only` for 64x64 only."""
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
    careful = diffusers.StableDiffusionPipeline(
        **pipeline.components
        | {
            "safety_checker": tiny_safety_checker(),
            "feature_extractor": CLIPImageProcessorPil(size=32, crop_size=32),
        }
    )
    careful.save_pretrained(folder / "careful")
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


class Studio:
    """A backend and short ways to draw with it: 64x64 pixels, two steps, unless told otherwise."""

    def __init__(self, folder: Path, safety_model: Path, **changes: Any) -> None:
        flags = {
            "models_folder": folder,
            "device": "cpu",
            "cpu_threads": 1,
            "models_in_memory": 2,
            "safety_model": safety_model,
        }
        self.backend = DiffusersBackend(load_settings(None, None, flags | changes))
        self.capabilities = self.backend.open()

    def model(self, name: str) -> Model:
        assert self.backend._studio is not None
        return self.backend._studio.models.get(name)

    def draw(
        self,
        report: Callable[[int, int], None] = lambda step, steps: None,
        cancelled: Callable[[], bool] = lambda: False,
        **changes: Any,
    ) -> list[Artifact]:
        defaults: dict[str, Any] = {
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
        return self.backend.run(PictureJob(**(defaults | changes)), report, cancelled)

    def content(self, **changes: Any) -> bytes:
        (artifact,) = self.draw(**changes)
        return artifact.content

    def picture(self, **changes: Any) -> Image.Image:
        return Image.open(BytesIO(self.content(**changes)))


@pytest.fixture(scope="session")
def studio(models_folder: Path, easygoing: Path) -> Studio:
    return Studio(models_folder, easygoing)


@pytest.fixture
def open_studio(models_folder: Path, easygoing: Path) -> Callable[..., Studio]:
    """Open another one: over the same models, or another folder; keywords are settings."""

    def open_one(folder: Path = models_folder, **changes: Any) -> Studio:
        return Studio(folder, changes.pop("safety_model", easygoing), **changes)

    return open_one


@pytest.fixture(scope="session")
def source() -> Image.Image:
    """A picture to start from."""
    return Image.effect_noise((64, 64), 80).convert("RGB")


@pytest.fixture(scope="session")
def encoded() -> Callable[[Image.Image], bytes]:
    """Writes a picture as the file that a job carries."""

    def write(image: Image.Image) -> bytes:
        buffer = BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    return write


@pytest.fixture(scope="session")
def difference() -> Callable[[Image.Image, Image.Image], float]:
    """Measures the mean distance of two pictures' bytes, 0 to 255."""

    def measure(one: Image.Image, other: Image.Image) -> float:
        pairs = list(zip(one.tobytes(), other.tobytes(), strict=True))
        return sum(abs(left - right) for left, right in pairs) / len(pairs)

    return measure
