# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fits the constants of `server/domain/pricing.py` to the sampled prices and prints them.

    python bench/fit_pricing.py

Least squares on the logarithm of the price, softened so that single odd points count little, over
the sizes and steps that people use (256 to 2048 pixels a side, at most 150 steps). Points outside
that range count a tenth, and samplers that no request can name are left out. Needs numpy and scipy.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

POINTS = Path(__file__).parent.parent / "tests" / "domain" / "price_points.csv"
DOUBLE_STEPS = {"k_dpm_2", "k_dpm_2_a", "k_heun", "k_dpmpp_2s_a", "k_dpmpp_sde"}
NOT_ON_THE_WIRE = {"ddim", "plms", "uni_pc", "uni_pc_bh2"}
CONTROLS = ["canny", "hed", "depth", "normal", "openpose", "seg"]
CONTROLS += ["scribble", "fakescribbles", "hough"]
PROCESSORS = ["GFPGAN", "CodeFormers", "strip_background", "RealESRGAN_x4plus"]
PROCESSORS += ["RealESRGAN_x2plus", "RealESRGAN_x4plus_anime_6B", "NMKD_Siax", "4x_AnimeSharp"]
NAMES = ["start", "size", "size_power", "step", "step_size", "step_power"]
NAMES += ["adaptive", "hires", "source_fixed", "source_strength", "outpainting"]
NAMES += [f"control {name}" for name in CONTROLS]
NAMES += [f"{part} {name}" for name in PROCESSORS for part in ("flat", "area")]


def price(point: dict[str, str], constants: dict[str, float]) -> float:
    """The kudos of one point; the same formula as `pricing.image_base`."""
    area = int(point["w"]) * int(point["h"]) / 512**2
    steps = float(point["steps"]) * (2 if point["sampler"] in DOUBLE_STEPS else 1)
    factor = 1.0
    if point["sampler"] == "k_dpm_adaptive":
        steps, factor = 40.0, constants["adaptive"]
    control = point["control_type"]
    if point["source_image"] == "True" and control == "None":
        factor *= constants["source_fixed"] + constants["source_strength"] * float(point["denoise"])
    if point["source_processing"] == "outpainting":
        factor *= constants["outpainting"]
    kudos: float = constants["start"] + constants["size"] * area ** constants["size_power"]
    each = constants["step"] + constants["step_size"] * area ** constants["step_power"]
    kudos += steps * each * factor
    if point["hires_fix"] == "True":
        kudos += steps * constants["hires"]
    if control != "None":
        kudos += steps * each * constants[f"control {control}"]
    for name in filter(None, point["pp"].split("+")):
        kudos += constants[f"flat {name}"] + constants[f"area {name}"] * area
    return kudos


def common(point: dict[str, str]) -> bool:
    """Whether people ask for such a picture."""
    sides = (int(point["w"]), int(point["h"]))
    return min(sides) >= 256 and max(sides) <= 2048 and int(point["steps"]) <= 150


def fit(points: list[dict[str, str]]) -> dict[str, float]:
    """The constants, by name."""
    kudos = np.log([float(point["kudos"]) for point in points])
    weights = np.array([1.0 if common(point) else 0.1 for point in points])

    def residuals(vector: Any) -> Any:
        constants = dict(zip(NAMES, vector, strict=True))
        return weights * (np.log([price(point, constants) for point in points]) - kudos)

    first = [3.0, 0.4, 1.7, 0.1, 0.05, 1.0, 1.5, 0.1, 0.7, 0.3, 1.3]
    first += [1.0] * len(CONTROLS) + [1.0, 0.5] * len(PROCESSORS)
    lower = [0.0] * len(NAMES)
    solution = least_squares(residuals, first, bounds=(lower, np.inf), loss="soft_l1", f_scale=0.05)
    return dict(zip(NAMES, solution.x, strict=True))


def report(points: list[dict[str, str]], constants: dict[str, float]) -> None:
    """Prints the constants, then the errors."""
    for name, value in constants.items():
        print(f"{name:34s} {value:.4f}")
    for label, chosen in (("common", [p for p in points if common(p)]), ("all", points)):
        wanted = np.array([float(point["kudos"]) for point in chosen])
        errors = np.abs(np.array([price(point, constants) for point in chosen]) / wanted - 1)
        marks = ", ".join(f"p{mark} {np.percentile(errors, mark):.1%}" for mark in (50, 90, 95, 99))
        print(f"{label}: {len(chosen)} points, {marks}, worst {errors.max():.0%}")


if __name__ == "__main__":
    with POINTS.open() as file:
        sampled = [p for p in csv.DictReader(file) if p["sampler"] not in NOT_ON_THE_WIRE]
    report(sampled, fit(sampled))
