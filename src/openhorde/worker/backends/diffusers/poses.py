# SPDX-License-Identifier: AGPL-3.0-or-later
"""Poses as openpose draws them: a stick for each limb and a dot for each joint, on black."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SCORE_MIN = 0.3
# COCO's joints: 0 nose, then left and right: 1 eye, 3 ear, 5 shoulder, 7 elbow, 9 wrist, 11 hip,
# 13 knee, 15 ankle. Openpose has a neck too, and orders them so (NECK stands for it):
NECK = -1
JOINTS = (0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
# Limbs between openpose's joints, in the order of their colours.
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
LIMB_SHARE = 0.6

Pixels = np.ndarray[Any, Any]


def draw_poses(size: tuple[int, int], people: Sequence[tuple[Pixels, Pixels]]) -> Image.Image:
    """One (17, 2) array of points in pixels and one (17,) of scores, 0 to 1, for each person."""
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    width = max(1, round(min(size) / 128))
    for points, scores in people:
        joints = [_joint(number, points, scores) for number in JOINTS]
        for index, (start, end) in enumerate(LIMBS):
            first, second = joints[start], joints[end]
            if first is not None and second is not None:
                draw.line([first, second], _colour(index, LIMB_SHARE), width=2 * width)
        for index, joint in enumerate(joints):
            if joint is not None:
                draw.circle(joint, width, _colour(index, 1.0))
    return picture


def _joint(number: int, points: Pixels, scores: Pixels) -> tuple[float, float] | None:
    """Where a joint is; None when nobody has seen it."""
    if number == NECK:
        shoulders = [_joint(side, points, scores) for side in (LEFT_SHOULDER, RIGHT_SHOULDER)]
        left, right = shoulders
        if left is None or right is None:
            return None
        return (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
    if scores[number] < SCORE_MIN:
        return None
    return float(points[number][0]), float(points[number][1])


def _colour(index: int, brightness: float) -> tuple[int, int, int]:
    """Once around the circle of colours, as controlnets for poses have learned it."""
    red, green, blue = colorsys.hsv_to_rgb(index / len(JOINTS), 1.0, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)
