# SPDX-License-Identifier: AGPL-3.0-or-later
"""Face fixers, with a detector that takes a red square for a face and a network that paints."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from openhorde.worker.forms.base import FormFault
from openhorde.worker.forms.faces import DETECTOR, UPRIGHT
from openhorde.worker.forms.post_processors import offered, post_processor_kind

CELL = 32
# Where the five points of a face are, in cells from the corner of the cell that is red: as if a
# face 4 cells wide had its middle there.
POINTS = (UPRIGHT / 512 - 0.5) * 4 + 0.5


def branch(name: str, stride: int, bias: list[float], red: float) -> tuple[list[Any], list[Any]]:
    """One answer for each square of `stride` pixels: how red it is, times `red`, and the bias."""
    kernel = np.zeros((len(bias), 3, stride, stride), np.float32)
    for colour, share in ((2, 1.0), (1, -1.0), (0, -1.0)):  # the detector sees blue, green, red
        kernel[:, colour] = red * share / 255 / stride**2
    constants = [
        numpy_helper.from_array(kernel, f"{name}_kernel"),
        numpy_helper.from_array(np.array(bias, np.float32), f"{name}_bias"),
        numpy_helper.from_array(np.array([1, len(bias), -1]), f"{name}_shape"),
    ]
    nodes = [
        helper.make_node(
            "Conv",
            ["input", f"{name}_kernel", f"{name}_bias"],
            [f"{name}_map"],
            kernel_shape=[stride, stride],
            strides=[stride, stride],
        ),
        helper.make_node("Reshape", [f"{name}_map", f"{name}_shape"], [f"{name}_flat"]),
        helper.make_node("Transpose", [f"{name}_flat"], [name], perm=[0, 2, 1]),
    ]
    return nodes, constants


def save_detector(path: Path) -> None:
    """Has the outputs of YuNet; only its coarsest scale ever finds anything."""
    nodes, constants, outputs = [], [], []
    for stride in (8, 16, 32):
        seen = 1.0 if stride == CELL else 0.0
        for kind, bias, red in (
            ("cls", [0.0], seen),
            ("obj", [0.0], seen),
            ("bbox", [0.5, 0.5, float(np.log(4)), float(np.log(4))], 0.0),
            ("kps", POINTS.reshape(-1).tolist(), 0.0),
        ):
            name = f"{kind}_{stride}"
            more_nodes, more_constants = branch(name, stride, bias, red)
            nodes += more_nodes
            constants += more_constants
            shape = [1, None, len(bias)]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    seen_info = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "faces", [seen_info], outputs, constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path
    )


class Painter(torch.nn.Module):
    """Answers every face with pure green, in values from -1 to 1, and says what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, face: torch.Tensor) -> tuple[torch.Tensor]:
        self.seen.append(face)
        made = torch.full_like(face, -1.0)
        made[:, 1] = 1.0
        return (made,)


@pytest.fixture
def fixer(settings: Any, save: Any, spandrel: Any, tmp_path: Path) -> Any:
    save_detector(tmp_path / DETECTOR)
    save("GFPGAN", {"toRGB.0.weight": torch.zeros(1)})
    spandrel.found = spandrel.ImageModelDescriptor("GFPGAN", scale=1)
    spandrel.found.model = Painter()
    form = post_processor_kind("GFPGAN")(settings())
    form.open()
    return form


def scene(size: tuple[int, int] = (320, 320), cell: tuple[int, int] = (4, 5)) -> Image.Image:
    """Grey, with one red cell."""
    picture = Image.new("RGB", size, (90, 90, 90))
    left, top = cell[0] * CELL, cell[1] * CELL
    picture.paste((255, 0, 0), (left, top, left + CELL, top + CELL))
    return picture


def test_a_face_is_made_anew_and_the_rest_stays(fixer: Any, spandrel: Any) -> None:
    fixed = np.asarray(fixer.run(scene(), {}), dtype=int)
    middle = (5 * CELL + 16, 4 * CELL + 16)
    assert fixed[middle].tolist() == [0, 255, 0]
    (face,) = spandrel.found.model.seen
    assert face.shape == (1, 3, 512, 512)
    assert (float(face.min()), float(face.max())) == (-1.0, 1.0)
    # The face is upright and 4 cells wide, so the red cell is the middle quarter of what is seen.
    red = face[0, 0].numpy() > 0.9
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - 256) < 4
    assert abs(columns.mean() - 256) < 4
    assert abs(np.sqrt(red.sum()) - 128) < 8
    before = np.asarray(scene(), dtype=int)
    far = np.ones(before.shape[:2], bool)
    far[3 * CELL : 8 * CELL, 2 * CELL : 7 * CELL] = False
    assert (fixed[far] == before[far]).all()


@pytest.mark.parametrize(("strength", "green"), [(0.0, 0), (0.5, 128), (1, 255), (None, 255)])
def test_the_strength_says_how_much(fixer: Any, strength: float | None, green: int) -> None:
    fixed = fixer.run(scene(), {"facefixer_strength": strength})
    with pytest.raises(FormFault, match=r"GFPGAN: .*facefixer_strength"):
        fixer.run(scene(), {"facefixer_strength": 1.5})
    assert abs(fixed.getpixel((4 * CELL + 16, 5 * CELL + 16))[1] - green) <= 1


def test_every_face_is_found_however_large_the_picture(fixer: Any, spandrel: Any) -> None:
    two = scene()
    two.paste((255, 0, 0), (8 * CELL, CELL, 9 * CELL, 2 * CELL))
    fixer.run(two, {})
    assert len(spandrel.found.model.seen) == 2
    large = scene((640, 320)).resize((5120, 2560), Image.Resampling.NEAREST)
    fixed = fixer.run(large, {})
    middle = ((4 * CELL + 16) * 8, (5 * CELL + 16) * 8)
    assert fixed.size == large.size
    assert fixed.getpixel(middle)[1] > 200


def test_without_a_face_nothing_changes(fixer: Any) -> None:
    plain = Image.effect_noise((300, 200), 60).convert("RGB")
    assert fixer.run(plain, {}).tobytes() == plain.tobytes()
    holed = plain.copy()
    holed.putalpha(30)
    assert fixer.run(holed, {}).tobytes() == holed.tobytes()


def test_only_with_detector_and_network_it_is_offered(
    settings: Any, save: Any, spandrel: Any, tmp_path: Path
) -> None:
    kind = post_processor_kind("RestoreFormer")
    assert f"no {DETECTOR}" in str(kind.obstacle(settings()))
    save_detector(tmp_path / DETECTOR)
    assert "no RestoreFormer.safetensors" in str(kind.obstacle(settings()))
    save("RestoreFormer", {"quant_conv.weight": torch.zeros(1)})
    assert offered(settings()) == ["RestoreFormer"]
    with pytest.raises(RuntimeError, match="its network enlarges"):
        kind(settings()).open()
    spandrel.found = spandrel.ImageModelDescriptor("RestoreFormer", scale=1)
    (tmp_path / DETECTOR).write_bytes(b"no network")
    with pytest.raises(RuntimeError, match=DETECTOR):
        kind(settings()).open()
