# SPDX-License-Identifier: AGPL-3.0-or-later
"""Face fixers: each face is found, turned upright, made anew by a network, and put back.

The network is NAME.safetensors and the detector face_detector.onnx (YuNet), both in
`post_processors_folder`.
"""

from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta, Struct
from PIL import Image

from openhorde.worker.forms.base import read_payload
from openhorde.worker.settings import WorkerSettings

DETECTOR = "face_detector.onnx"
SIDE_PIXELS = 512
FACES_MAX = 32
SCORE_MIN = 0.7
# Larger pictures are shrunk for the search alone.
SEARCH_SIDE_PIXELS_MAX = 1280
FEATHER_PIXELS = 48
# Where eyes, nose and corners of the mouth are in the pictures such networks were trained on, for
# a square of 512 pixels: right eye, left eye, nose, right corner, left corner, as YuNet tells them.
UPRIGHT = np.array(
    [(193.0, 240.0), (319.0, 240.0), (256.5, 314.0), (201.3, 371.4), (313.1, 371.2)], np.float32
)


class _Payload(Struct):
    facefixer_strength: Annotated[float, Meta(ge=0, le=1)] = 1.0


class FixFaces:
    """One face fixer, by its name on the wire."""

    name: ClassVar[str]

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @classmethod
    def obstacle(cls, settings: WorkerSettings) -> str | None:
        """Why it cannot be offered; None when it can."""
        from openhorde.worker.forms.networks import why_unreadable

        folder = settings.post_processors_folder
        if folder is not None and not (folder / DETECTOR).is_file():
            return f"there is no {DETECTOR} in {folder}"
        return why_unreadable(folder, cls.name)

    def open(self) -> None:
        """Load network and detector. Raises RuntimeError when one of them cannot be had."""
        import cv2

        from openhorde.worker.forms.networks import load_network

        self._network = load_network(self._settings, self.name)
        if self._network.scale != 1:
            raise RuntimeError(f"{self.name}: its network enlarges, so it is no face fixer")
        folder = self._settings.post_processors_folder
        try:
            self._detector = cv2.FaceDetectorYN.create(
                str(folder / DETECTOR) if folder is not None else "", "", (320, 320), SCORE_MIN
            )
        except cv2.error as error:
            raise RuntimeError(f"{DETECTOR} cannot be read: {error}") from error

    @property
    def parts(self) -> dict[str, Any]:
        """The networks whose weights take room in memory."""
        return {"network": self._network.module}

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> Image.Image:
        """The picture with its faces made anew; `facefixer_strength` 0 to 1 says how much.

        Raises FormFault for any other.
        """
        strength = read_payload(self.name, payload, _Payload).facefixer_strength
        pixels = np.asarray(picture.convert("RGB"))
        result = pixels.astype(np.float32)
        for landmarks in self._faces(pixels):
            result = self._fixed(result, pixels, landmarks, strength)
        fixed = Image.fromarray(np.rint(np.clip(result, 0, 255)).astype(np.uint8))
        if picture.has_transparency_data:
            fixed.putalpha(picture.convert("RGBA").getchannel("A"))
        return fixed

    def _faces(self, pixels: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Five points, (x, y) in pixels, of each face; the surest first."""
        import cv2

        height, width = pixels.shape[:2]
        share = min(1.0, SEARCH_SIDE_PIXELS_MAX / max(height, width))
        size = max(1, round(width * share)), max(1, round(height * share))
        self._detector.setInputSize(size)
        searched = cv2.resize(pixels[..., ::-1], size, interpolation=cv2.INTER_AREA)
        _, found = self._detector.detect(np.ascontiguousarray(searched))
        if found is None:
            return []
        surest = sorted(found, key=lambda face: -float(face[14]))[:FACES_MAX]
        return [face[4:14].reshape(5, 2).astype(np.float32) / share for face in surest]

    def _fixed(
        self,
        result: np.ndarray[Any, Any],
        pixels: np.ndarray[Any, Any],
        landmarks: np.ndarray[Any, Any],
        strength: float,
    ) -> np.ndarray[Any, Any]:
        import cv2
        import torch

        turn, _ = cv2.estimateAffinePartial2D(landmarks, UPRIGHT, method=cv2.LMEDS)
        if turn is None or abs(np.linalg.det(turn[:, :2])) < 1e-6:
            return result
        square = (SIDE_PIXELS, SIDE_PIXELS)
        face = cv2.warpAffine(pixels, turn, square, borderMode=cv2.BORDER_REFLECT)
        seen = torch.from_numpy(face.astype(np.float32) / 255).permute(2, 0, 1)[None]
        made = self._network.enlarge(seen)[0].permute(1, 2, 0).float().cpu().numpy()
        made = np.clip(np.nan_to_num(made), 0, 1) * 255
        mask: np.ndarray[Any, Any] = np.zeros((SIDE_PIXELS, SIDE_PIXELS), np.float32)
        inner = slice(FEATHER_PIXELS, -FEATHER_PIXELS)
        mask[inner, inner] = strength
        mask = cv2.GaussianBlur(mask, (0, 0), FEATHER_PIXELS / 3)
        back = cv2.invertAffineTransform(turn)
        size = (pixels.shape[1], pixels.shape[0])
        placed = cv2.warpAffine(made, back, size)
        share = cv2.warpAffine(mask, back, size)[..., None]
        mixed: np.ndarray[Any, Any] = result * (1 - share) + placed * share
        return mixed
