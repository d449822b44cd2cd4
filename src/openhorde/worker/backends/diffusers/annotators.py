# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control maps that networks make: soft edges, depth, parts of a scene, poses.

Each network lies in `annotators_folder` under the name of what it makes: `hed.safetensors`, and
folders of the transformers library: `depth`, `seg` with a `palette.json` of one [r, g, b] for each
class, `pose` (ViTPose), and `people`, a detector that finds them for `pose`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from openhorde.incoming.texts import read_json_file
from openhorde.worker.backends.base import JobFault
from openhorde.worker.backends.diffusers import control_lines
from openhorde.worker.backends.diffusers.poses import draw_poses
from openhorde.worker.backends.diffusers.residents import Resident, Residents
from openhorde.worker.library.sizes import size_on_disk

HED = "hed.safetensors"
PALETTE = "palette.json"
# What each control type needs; what is not here needs nothing.
NEEDS = {
    "hed": [HED],
    "depth": ["depth/config.json"],
    "normal": ["depth/config.json"],
    "seg": ["seg/config.json", f"seg/{PALETTE}"],
    "openpose": ["pose/config.json"],
}
TYPES = ("canny", "hed", "depth", "normal", "openpose", "seg", "scribble", "fakescribbles", "hough")
PERSON = "person"
PERSON_SCORE_MIN = 0.5
PEOPLE_MAX = 8
HED_CHANNELS = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))

Pixels = np.ndarray[Any, Any]


def obstacle(control_type: str, folder: Path | None) -> str | None:
    """Why no map of that type can be made; None when it can."""
    if control_type not in TYPES:
        return "it is not known here"
    needed = NEEDS.get(control_type, [])
    if needed and folder is None:
        return "annotators_folder is not set"
    absent = [name for name in needed if folder is None or not (folder / name).is_file()]
    return f"there is no {', '.join(absent)} in {folder}" if absent else None


class Annotators:
    """Makes control maps; networks are loaded when they are asked for."""

    def __init__(self, folder: Path | None, device: torch.device, residents: Residents) -> None:
        self._folder = folder
        self._device = device
        self._residents = residents

    def make_map(self, control_type: str, picture: Image.Image) -> Image.Image:
        """The control map of an RGB picture, in RGB and of its size. Raises JobFault."""
        reason = obstacle(control_type, self._folder)
        if reason is not None:
            raise JobFault(f"control_type {control_type}: {reason}")
        match control_type:
            case "canny":
                return control_lines.canny(picture)
            case "hough":
                return control_lines.hough(picture)
            case "scribble":
                return control_lines.scribble(picture)
            case "fakescribbles":
                return control_lines.scribbled(self._edges(picture))
            case "hed":
                return _grey(self._edges(picture))
            case "depth":
                return _grey(self._depth(picture))
            case "normal":
                return control_lines.normals(self._depth(picture))
            case "seg":
                return self._segments(picture)
        return self._poses(picture)

    def _edges(self, picture: Image.Image) -> Pixels:
        if obstacle("hed", self._folder) is not None:
            return control_lines.soft_edges(picture)
        network = self._get(HED, _load_hed)
        tensor = _tensor(picture).to(self._device)
        with torch.inference_mode():
            edges: Pixels = network(tensor * 255)[0, 0].float().cpu().numpy()
        return edges

    def _depth(self, picture: Image.Image) -> Pixels:
        """How near everything is, 0 to 1, of shape (height, width)."""
        from transformers import AutoModelForDepthEstimation

        model, processor = self._get("depth", partial(_load, AutoModelForDepthEstimation))
        inputs = processor(images=picture, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            near = model(**inputs).predicted_depth.float()
        size = (picture.height, picture.width)
        near = functional.interpolate(near.reshape(1, 1, *near.shape[-2:]), size, mode="bicubic")
        depth: Pixels = near[0, 0].cpu().numpy()
        span = float(depth.max() - depth.min())
        return (depth - depth.min()) / span if span > 0 else np.zeros_like(depth)

    def _segments(self, picture: Image.Image) -> Image.Image:
        from transformers import AutoModelForSemanticSegmentation

        model, processor = self._get("seg", partial(_load, AutoModelForSemanticSegmentation))
        inputs = processor(images=picture, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            logits = model(**inputs).logits.float()
        size = (picture.height, picture.width)
        classes = functional.interpolate(logits, size, mode="bilinear")[0].argmax(0).cpu().numpy()
        palette = _palette((self._folder or Path()) / "seg" / PALETTE)
        return Image.fromarray(palette[classes % len(palette)])

    def _poses(self, picture: Image.Image) -> Image.Image:
        from transformers import VitPoseForPoseEstimation

        model, processor = self._get("pose", partial(_load, VitPoseForPoseEstimation))
        boxes = self._people(picture)
        inputs = processor(picture, boxes=[boxes], return_tensors="pt").to(self._device)
        with torch.inference_mode():
            said = model(**inputs)
        people = processor.post_process_pose_estimation(said, boxes=[boxes])[0]
        found = [
            (one["keypoints"].cpu().numpy(), one["scores"].cpu().numpy().reshape(-1))
            for one in people
        ]
        return draw_poses(picture.size, found)

    def _people(self, picture: Image.Image) -> list[list[float]]:
        """Boxes (left, top, width, height) around people; the whole picture if nobody looks."""
        whole = [[0.0, 0.0, float(picture.width), float(picture.height)]]
        if self._folder is None or not (self._folder / "people" / "config.json").is_file():
            return whole
        from transformers import AutoModelForObjectDetection

        model, processor = self._get("people", partial(_load, AutoModelForObjectDetection))
        inputs = processor(images=picture, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            said = model(**inputs)
        (found,) = processor.post_process_object_detection(
            said, threshold=PERSON_SCORE_MIN, target_sizes=[(picture.height, picture.width)]
        )
        boxes = [
            [left, top, right - left, bottom - top]
            for label, (left, top, right, bottom) in zip(
                found["labels"].tolist(), found["boxes"].tolist(), strict=True
            )
            if model.config.id2label[label].lower() == PERSON
        ]
        return boxes[:PEOPLE_MAX] or whole

    def _get(self, name: str, load: Any) -> Any:
        if self._folder is None:
            raise JobFault("annotators_folder is not set")
        path = self._folder / name
        return self._residents.get(f"annotator:{name}", size_on_disk(path), lambda: load(path))


def _load(kind: Any, folder: Path) -> Resident:
    from transformers import AutoImageProcessor

    processors: Any = AutoImageProcessor
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = kind.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
    processor = processors.from_pretrained(folder, **options)
    return Resident((model.eval(), processor), {"network": model})


class _HedBlock(nn.Module):
    """Some convolutions, and what they say of edges."""

    def __init__(self, channels_in: int, channels: int, count: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                nn.Conv2d(channels if index else channels_in, channels, 3, padding=1)
                for index in range(count)
            )
        )
        self.projection = nn.Conv2d(channels, 1, 1)


class Hed(nn.Module):
    """Holistically-nested edge detection: edges as five depths of a network see them, as one."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        for index, (channels_in, channels, count) in enumerate(HED_CHANNELS):
            self.add_module(f"block{index + 1}", _HedBlock(channels_in, channels, count))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(1, 3, height, width), 0 to 255, to edges (1, 1, height, width), 0 to 1."""
        size = picture.shape[-2:]
        seen = picture - self.norm
        sides = []
        for index in range(len(HED_CHANNELS)):
            block = self.get_submodule(f"block{index + 1}")
            seen = functional.max_pool2d(seen, 2, ceil_mode=True) if index else seen
            for layer in block.get_submodule("convs").children():
                seen = functional.relu(layer(seen))
            side = block.get_submodule("projection")(seen)
            sides.append(functional.interpolate(side, size, mode="bilinear"))
        return torch.stack(sides).mean(0).sigmoid()


def _load_hed(path: Path) -> Resident:
    from safetensors.torch import load_file

    network = Hed()
    network.load_state_dict(load_file(path))
    return Resident(network.eval(), {"network": network})


def _palette(path: Path) -> Pixels:
    try:
        colours = read_json_file(path, list[tuple[int, int, int]])
        return np.array(colours, dtype=np.uint8).reshape(-1, 3)
    except (OSError, msgspec.DecodeError, OverflowError) as error:
        raise JobFault(f"control_type seg: {path} cannot be read: {error}") from error


def _tensor(picture: Image.Image) -> torch.Tensor:
    """(1, 3, height, width), 0 to 1."""
    pixels = np.array(picture.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _grey(shares: Pixels) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)).convert("RGB")
