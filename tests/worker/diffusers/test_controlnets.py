# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control maps guide a drawing, are the picture itself, or are made of it."""

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from openhorde.worker.backends.base import JobFault
from openhorde.worker.backends.diffusers.controlnets import find_controlnets, types_in_name


def save_controlnet(folder: Path, width: int, **changes: Any) -> None:
    torch.manual_seed(3)
    network = diffusers.ControlNetModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(4, 8, 8, 8),
        **changes,
    )
    # A fresh one is silent: what it says is multiplied by zero.
    for name, weights in network.named_parameters():
        if "controlnet_" in name and weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.5)
    network.save_pretrained(folder)


@pytest.fixture(scope="module")
def controlnets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Canny, scribble and, by what lies beside it, depth for the small models; canny for XL."""
    folder = tmp_path_factory.mktemp("controlnets")
    save_controlnet(folder / "control_sd15_canny", 16)
    save_controlnet(folder / "control_sd15_scribble", 16)
    save_controlnet(folder / "nameless", 16)
    (folder / "nameless" / "openhorde.json").write_text('{"control_types": ["depth", "hough"]}')
    save_controlnet(
        folder / "xl-canny",
        32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )
    save_controlnet(folder / "someone-elses-seg", 99)
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def source_bytes(encoded: Any) -> bytes:
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste("white", (16, 16, 48, 48))
    content: bytes = encoded(picture)
    return content


@pytest.fixture
def controlled(open_studio: Any, controlnets: Path) -> Any:
    return open_studio(controlnets_folder=controlnets)


def test_only_types_whose_networks_are_here_are_offered(
    controlled: Any, studio: Any, open_studio: Any, controlnets: Path
) -> None:
    offered = controlled.capabilities
    assert offered.control_types == ["fakescribbles", "scribble", "canny", "hough"]
    assert "controlnet" in offered.features
    assert studio.capabilities.control_types == []
    assert "controlnet" not in studio.capabilities.features
    xl_only = open_studio(controlnets_folder=controlnets, models_to_load=["tiny-xl"])
    assert xl_only.capabilities.control_types == ["canny"]
    with pytest.raises(RuntimeError, match="controlnets_folder"):
        open_studio(controlnets_folder=controlnets / "absent")


@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_a_map_guides_the_drawing(controlled: Any, source_bytes: bytes, model: str) -> None:
    over = {"model": model, "source": source_bytes, "control_type": "canny"}
    guided = controlled.content(**over)
    assert guided == controlled.content(**over)
    assert guided != controlled.content(model=model)
    assert guided != controlled.content(**over, control_strength=0.3)
    assert guided != controlled.content(**over, image_is_control=True)
    assert len(controlled.draw(**over, seeds=[1, 2], tiling=True, hires_fix=True)) == 2


def test_the_map_is_the_picture_where_that_is_asked_for(
    controlled: Any, source_bytes: bytes
) -> None:
    over = {"source": source_bytes, "control_type": "canny", "return_control_map": True}
    first, second = controlled.draw(**over, seeds=[1, 2])
    assert first.content == second.content
    drawn = Image.open(BytesIO(first.content)).convert("L")
    # Edges of a white square: bright at its border, dark inside and outside.
    assert max(drawn.crop((14, 30, 18, 34)).tobytes()) > 150
    assert max(drawn.crop((24, 24, 40, 40)).tobytes()) < 60
    assert controlled.picture(**over, width_pixels=128).size == (128, 64)
    given = controlled.picture(**over, image_is_control=True).convert("L")
    assert min(given.crop((24, 24, 40, 40)).tobytes()) > 200


def test_what_cannot_be_followed_is_a_fault(controlled: Any, source_bytes: bytes) -> None:
    with pytest.raises(JobFault, match="needs a source image"):
        controlled.draw(control_type="canny")
    with pytest.raises(JobFault, match="annotators_folder is not set"):
        controlled.draw(control_type="depth", source=source_bytes)
    with pytest.raises(JobFault, match="no controlnet of it for tiny-xl"):
        controlled.draw(model="tiny-xl", control_type="scribble", source=source_bytes)
    with pytest.raises(JobFault, match="tarot"):
        controlled.draw(control_type="tarot", source=source_bytes)
    with pytest.raises(JobFault, match="source_image"):
        controlled.draw(control_type="canny", source=b"no picture")
    # A map that is given needs no network that makes it.
    over = {"control_type": "depth", "image_is_control": True}
    assert len(controlled.draw(source=source_bytes, **over)) == 1


def test_a_single_file_is_read_with_its_configuration(
    controlled: Any, controlnets: Path, open_studio: Any, source_bytes: bytes, tmp_path: Path
) -> None:
    weights = controlnets / "control_sd15_canny"
    save_file(
        load_file(weights / "diffusion_pytorch_model.safetensors"), tmp_path / "canny.safetensors"
    )
    assert find_controlnets(tmp_path) == []
    (tmp_path / "canny.config").mkdir()
    shutil.copy(weights / "config.json", tmp_path / "canny.config")
    single = open_studio(controlnets_folder=tmp_path)
    over = {"source": source_bytes, "control_type": "canny"}
    assert single.content(**over) == controlled.content(**over)


def test_a_pickled_controlnet_is_not_seen(controlnets: Path, tmp_path: Path) -> None:
    shutil.copytree(controlnets / "control_sd15_canny", tmp_path / "canny")
    weights = tmp_path / "canny" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    (tmp_path / "depth.pth").write_bytes(b"pickle")
    assert find_controlnets(tmp_path) == []
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.safetensors").write_bytes(b"")
    (tmp_path / "broken" / "config.json").write_text(json.dumps({"cross_attention_dim": "wide"}))
    with pytest.raises(RuntimeError, match="broken"):
        find_controlnets(tmp_path)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("control_v11p_sd15_canny", ("canny",)),
        ("control_v11p_sd15_softedge", ("hed",)),
        ("control_v11p_sd15_mlsd", ("hough",)),
        ("control_v11p_sd15_normalbae", ("normal",)),
        ("control_v11p_sd15_openpose", ("openpose",)),
        ("sd-controlnet-seg", ("seg",)),
        ("control_v11f1p_sd15_depth", ("depth",)),
        ("control_v11p_sd15_scribble", ("scribble", "fakescribbles")),
        ("something", ()),
    ],
)
def test_a_name_tells_what_a_controlnet_is_for(name: str, types: tuple[str, ...]) -> None:
    assert types_in_name(name) == types
