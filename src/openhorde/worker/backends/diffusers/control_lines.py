# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control maps that need no network: lines and edges, white on black."""

from typing import Any

import cv2
import numpy as np
from PIL import Image

CANNY_LOW, CANNY_HIGH = 100, 200
FINE_SIGMA, COARSE_SIGMA = 0.5, 5.0
SKETCH_STEP = 12.0
LINE_PIXELS_MIN = 8
EDGE_QUANTILE = 0.98

Pixels = np.ndarray[Any, Any]


def canny(picture: Image.Image) -> Image.Image:
    """Thin edges."""
    return _white(cv2.Canny(_grey(picture), CANNY_LOW, CANNY_HIGH))


def hough(picture: Image.Image) -> Image.Image:
    """Straight lines."""
    grey = _grey(picture)
    lines, *_ = cv2.createLineSegmentDetector().detect(grey)
    drawn = np.zeros_like(grey)
    for start_x, start_y, end_x, end_y in [] if lines is None else lines.reshape(-1, 4):
        if np.hypot(end_x - start_x, end_y - start_y) >= LINE_PIXELS_MIN:
            ends = [
                (round(float(x)), round(float(y))) for x, y in ((start_x, start_y), (end_x, end_y))
            ]
            cv2.line(drawn, ends[0], ends[1], 255, 1)
    return _white(drawn)


def scribble(picture: Image.Image) -> Image.Image:
    """What somebody would draw with a pencil: where it is much darker than around."""
    grey = _grey(picture).astype(np.float32)
    fine = cv2.GaussianBlur(grey, (0, 0), FINE_SIGMA)
    coarse = cv2.GaussianBlur(grey, (0, 0), COARSE_SIGMA)
    return _white(np.where(coarse - fine > SKETCH_STEP, 255, 0).astype(np.uint8))


def soft_edges(picture: Image.Image) -> Pixels:
    """How steep each pixel's surroundings are, 0 to 1, shape (height, width): what stands in for
    a network's edges where there is none."""
    grey = cv2.GaussianBlur(_grey(picture).astype(np.float32), (0, 0), 1.0)
    steep = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    steepest = float(np.quantile(steep, EDGE_QUANTILE))
    return np.clip(steep / steepest, 0, 1) if steepest > 0 else steep


def scribbled(edges: Pixels) -> Image.Image:
    """Thick uneven lines, as by hand, along the ridges of soft edges (height, width), 0 to 1."""
    soft = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 3.0)
    ridges = np.zeros(soft.shape, bool)
    for kernel in (
        np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], np.uint8),
        np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]], np.uint8),
        np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.uint8),
        np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.uint8),
    ):
        ridges |= cv2.dilate(soft, kernel) == soft
    lines = np.where(ridges & (soft > 0.1), 255, 0).astype(np.uint8)
    thick = cv2.GaussianBlur(lines, (0, 0), 3.0)
    return _white(np.where(thick > 4, 255, 0).astype(np.uint8))


def normals(depth: Pixels) -> Image.Image:
    """Where surfaces face, as colours, from how near they are: (height, width), 0 far to 1 near."""
    near = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 1.0)
    height = max(depth.shape)
    x = -cv2.Sobel(near, cv2.CV_32F, 1, 0) / 8 * height
    y = cv2.Sobel(near, cv2.CV_32F, 0, 1) / 8 * height
    vectors = np.stack([x, y, np.ones_like(near)], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return Image.fromarray(np.rint((vectors + 1) / 2 * 255).astype(np.uint8))


def _grey(picture: Image.Image) -> Pixels:
    return np.array(picture.convert("L"))


def _white(lines: Pixels) -> Image.Image:
    return Image.fromarray(lines).convert("RGB")
