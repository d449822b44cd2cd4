# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control maps: those that are reckoned, and those that networks make."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from openhorde.wire.image import ControlType
from openhorde.worker.backends.base import JobFault
from openhorde.worker.backends.diffusers.annotators import TYPES, Annotators, Hed, obstacle
from openhorde.worker.backends.diffusers.control_lines import normals
from openhorde.worker.backends.diffusers.poses import draw_poses
from openhorde.worker.backends.diffusers.residents import Residents
from openhorde.worker.library.memory import Budgets
from openhorde.worker.library.sizes import Sizes

SIZE = (96, 64)


@pytest.fixture
def annotators() -> Callable[[Path | None], Annotators]:
    def make(folder: Path | None = None) -> Annotators:
        cpu = torch.device("cpu")
        return Annotators(folder, cpu, Residents(cpu, Budgets(ram_bytes=2**30), Sizes(None)))

    return make


@pytest.fixture(scope="module")
def house() -> Image.Image:
    """A dark square on light ground."""
    picture = Image.new("RGB", SIZE, (230, 230, 220))
    ImageDraw.Draw(picture).rectangle((30, 16, 66, 48), fill=(40, 40, 60))
    return picture


def array(picture: Image.Image) -> Any:
    return np.asarray(picture.convert("L"), dtype=int)


def test_every_type_of_the_wire_is_known() -> None:
    assert set(TYPES) == set(get_args(ControlType))


@pytest.mark.parametrize("kind", ["canny", "hough", "scribble", "fakescribbles"])
def test_lines_are_where_the_picture_has_them(
    annotators: Any, house: Image.Image, kind: str
) -> None:
    assert obstacle(kind, None) is None
    made = annotators().make_map(kind, house)
    assert (made.size, made.mode) == (SIZE, "RGB")
    lines = array(made)
    assert set(np.unique(lines)) <= {0, 255}
    assert lines[28:36, 24:36].max() == 255  # the left edge
    assert lines[28:36, 44:52].max() == 0  # inside
    assert lines[2:8, 2:8].max() == 0  # far away
    blank = annotators().make_map(kind, Image.new("RGB", SIZE, "grey"))
    assert array(blank).max() == 0


def test_scribbles_are_thicker_than_edges(annotators: Any, house: Image.Image) -> None:
    thin, thick = (array(annotators().make_map(kind, house)) for kind in ("canny", "fakescribbles"))
    assert (thick > 0).sum() > 2 * (thin > 0).sum()


@pytest.mark.parametrize("kind", sorted(set(TYPES) - {"canny", "hough", "scribble"}))
def test_what_needs_a_network_says_which(annotators: Any, tmp_path: Path, kind: str) -> None:
    if kind == "fakescribbles":
        assert obstacle(kind, tmp_path) is None
        return
    assert obstacle(kind, None) == "annotators_folder is not set"
    assert f"in {tmp_path}" in str(obstacle(kind, tmp_path))
    with pytest.raises(JobFault, match=f"control_type {kind}: there is no"):
        annotators(tmp_path).make_map(kind, Image.new("RGB", SIZE))


def save_hed(path: Path) -> None:
    """Finds an edge where red is: its first block passes red on, the others are silent."""
    network = Hed()
    weights = {name: torch.zeros_like(one) for name, one in network.state_dict().items()}
    for index in range(2):
        weights[f"block1.convs.{index}.weight"][0, 0, 1, 1] = 1.0
    weights["block1.projection.weight"][0, 0] = 1.0
    for index in range(1, 6):
        weights[f"block{index}.projection.bias"] = torch.full((1,), -20.0)
    save_file(weights, path)


def test_soft_edges_are_what_the_network_sees(annotators: Any, tmp_path: Path) -> None:
    save_hed(tmp_path / "hed.safetensors")
    picture = Image.new("RGB", SIZE, "blue")
    picture.paste("red", (40, 20, 60, 40))
    made = annotators(tmp_path).make_map("hed", picture)
    edges = array(made)
    assert made.size == SIZE
    assert edges[30, 50] > 200
    assert edges[5, 5] < 10
    scribbles = array(annotators(tmp_path).make_map("fakescribbles", picture))
    assert set(np.unique(scribbles)) == {0, 255}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random networks of the transformers library, each in its folder."""
    folder = tmp_path_factory.mktemp("annotators")
    torch.manual_seed(5)
    configs: Any = transformers  # its types know less than it takes
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 32,
        "patch_size": 16,
    }
    depth: Any = transformers.DPTForDepthEstimation(
        transformers.DPTConfig(
            **sizes,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 8, 8],
            fusion_hidden_size=8,
            is_hybrid=False,
        )
    )
    depth.save_pretrained(folder / "depth")
    small = {"height": 32, "width": 32}
    transformers.DPTImageProcessorPil(size=small).save_pretrained(folder / "depth")
    seg: Any = transformers.SegformerForSemanticSegmentation(
        configs.SegformerConfig(
            hidden_sizes=[8, 8, 8, 8],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 1, 1],
            decoder_hidden_size=8,
            num_labels=3,
        )
    )
    torch.nn.init.zeros_(seg.decode_head.classifier.weight)
    with torch.no_grad():
        seg.decode_head.classifier.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
    seg.save_pretrained(folder / "seg")
    transformers.SegformerImageProcessorPil(size=small).save_pretrained(folder / "seg")
    (folder / "seg" / "palette.json").write_text(json.dumps([[1, 2, 3], [40, 50, 60], [7, 8, 9]]))
    pose: Any = transformers.VitPoseForPoseEstimation(
        configs.VitPoseConfig(
            backbone_config=configs.VitPoseBackboneConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=[64, 48],
                patch_size=[16, 16],
                out_features=["stage1"],
                out_indices=[1],
            ),
            num_labels=17,
        )
    )
    pose.save_pretrained(folder / "pose")
    transformers.VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(
        folder / "pose"
    )
    return folder


def test_depth_goes_from_black_to_white_and_normals_follow_from_it(
    annotators: Any, networks: Path, house: Image.Image
) -> None:
    makes = annotators(networks)
    depth = makes.make_map("depth", house)
    assert depth.size == SIZE
    assert array(depth).min() == 0
    assert array(depth).max() == 255
    facing = np.asarray(makes.make_map("normal", house), dtype=float) / 255 * 2 - 1
    assert facing.shape == (SIZE[1], SIZE[0], 3)
    assert np.allclose(np.linalg.norm(facing, axis=-1), 1, atol=0.02)
    assert np.array_equal(np.asarray(makes.make_map("depth", house)), np.asarray(depth))


def test_a_slope_faces_aside_and_a_wall_faces_us() -> None:
    flat = np.asarray(normals(np.zeros((32, 32))))
    assert flat[16, 16].tolist() == [128, 128, 255]
    nearer_to_the_right = np.tile(np.linspace(0, 1, 32), (32, 1))
    assert np.asarray(normals(nearer_to_the_right))[16, 16, 0] < 100
    nearer_below = nearer_to_the_right.T
    assert np.asarray(normals(nearer_below))[16, 16, 1] > 156


def test_each_part_of_a_scene_has_its_classes_colour(
    annotators: Any, networks: Path, house: Image.Image, tmp_path: Path
) -> None:
    made = annotators(networks).make_map("seg", house)
    assert made.size == SIZE
    assert made.getextrema() == ((40, 40), (50, 50), (60, 60))
    assert obstacle("seg", networks) is None
    (tmp_path / "seg").mkdir()
    (tmp_path / "seg" / "config.json").write_text("{}")
    assert "palette.json" in str(obstacle("seg", tmp_path))


def test_poses_are_drawn_from_what_a_network_sees(
    annotators: Any, networks: Path, house: Image.Image
) -> None:
    made = annotators(networks).make_map("openpose", house)
    assert (made.size, made.mode) == (SIZE, "RGB")


def test_a_pose_has_openposes_colours_and_leaves_out_what_is_not_seen() -> None:
    points = np.array([[index * 10.0 + 10, 20.0 + 40 * (index % 2)] for index in range(17)])
    scores = np.ones(17)
    drawn = draw_poses((200, 100), [(points, scores)])
    assert drawn.getpixel((10, 20)) == (255, 0, 0)  # the nose comes first in the circle
    neck = (round((points[5][0] + points[6][0]) / 2), round((points[5][1] + points[6][1]) / 2))
    assert drawn.getpixel(neck) == (255, 85, 0)
    scores[:] = 0.1
    assert draw_poses((200, 100), [(points, scores)]).getextrema() == ((0, 0),) * 3
    scores[5] = 1.0
    one = np.asarray(draw_poses((200, 100), [(points, scores)]))
    assert one.any()
    assert not one[:, :50].any()
