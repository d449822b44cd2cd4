# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests at random, over everything that the wire allows; mostly small, so that many can be made.

Values that no worker of a fresh horde can do are among them, and rare.
"""

import base64
import random
from collections.abc import Mapping
from io import BytesIO
from typing import Any, get_args

from PIL import Image
from worker.grid import values

from openhorde.wire.alchemy import AlchemyRequest, Form, Interrogation
from openhorde.wire.image import ImageParams
from openhorde.wire.requests import ImageRequest
from openhorde.wire.text import TextParams, TextRequest

PROMPT = "a red circle on a blue background"
SHAPES = ["openhorde_shapes"]


def encoded(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SOURCES = [
    encoded(Image.new("RGB", (100, 64), "red")),
    encoded(Image.new("L", (33, 77), 200)),
    encoded(Image.new("RGBA", (64, 65), (0, 90, 0, 100))),
]
MASKS = [None] * 5 + [
    encoded(Image.new("L", (64, 20), 255)),
    encoded(Image.new("RGB", (7, 7), "white")),
]
SIDES = [64, 128, 192, 256, 448]
IMAGE_PARAMS: dict[str, list[Any]] = {
    "cfg_scale": [0, 1, 4.25, 7.5, 100],
    "seed": ["", "7", "a text 🟥", "-5", str(2**40)],
    "width": SIDES,
    "height": SIDES,
    "steps": [1, 2, 9, 25, 500],
    "n": [1, 2],
    "post_processing": [[]] * 8 + [["GFPGAN"]],
    "loras": [[]] * 8 + [[{"name": "unheard-of"}]],
    "tis": [[], [{"name": "unheard-of", "inject_ti": "negprompt"}]],
    "control_type": [None] * 8 + ["canny"],
    "workflow": [None] * 8 + ["qr_code"],
    "transparent": [False] * 8 + [True],
    "extra_texts": [None],
    "special": [None],
}
IMAGE: dict[str, list[Any]] = {
    "prompt": [PROMPT, "a fox at dusk ### blurred", "ein Bär 🐻 im Wald", "((star:1.3)) [red]"],
    "params": [{}],
    "models": [[], SHAPES, ["stable_diffusion"], ["unheard-of", *SHAPES]] * 3 + [["unheard-of"]],
    "workers": [[]],
    "source_image": [None, None, *SOURCES],
    "source_mask": MASKS,
    "extra_source_images": [[]],
    "proxied_account": [None],
    "dry_run": [False],
    "webhook": [None],
    "style": [None],
}
TEXT_PARAMS: dict[str, list[Any]] = {
    "n": [1, 2],
    "max_length": [16, 40, 80],
    "max_context_length": [80, 1024, 6144],
    "sampler_order": [None, [6, 0, 1, 3, 4, 2, 5]],
    "stop_sequence": [None, ["."], ["\n", "User:"]],
}
TEXT: dict[str, list[Any]] = {
    "prompt": [
        "Once upon a time there was a red circle.",
        "Hello 日本語 🟥",
        "The star slept. " * 500,
    ],
    "params": [{}],
    "models": [[], ["openhorde/stories"]] * 4 + [["unheard-of"]],
    "softprompt": [None] * 8 + ["unheard-of"],
    "workers": [[]],
    "extra_source_images": [[], [{"image": SOURCES[0]}]],
    "proxied_account": [None],
    "dry_run": [False],
    "webhook": [None],
    "style": [None],
}
ALCHEMY: dict[str, list[Any]] = {
    "source_image": SOURCES,
    "forms": [[]],
    "dry_run": [False],
    "webhook": [None],
}


FORMS = [
    *get_args(Interrogation) * 9,
    *(name for kind in get_args(Form) for name in get_args(kind)),
]


def by_lot(struct: Any, own: Mapping[str, list[Any]], rolls: random.Random) -> dict[str, Any]:
    """Of some of a struct's fields, one of the values that the wire allows."""
    choices = values(struct, own)
    return {name: rolls.choice(some) for name, some in choices.items() if rolls.random() < 0.4}


def request_by_lot(kind: str, rolls: random.Random) -> dict[str, Any]:
    """A request of a kind, over everything that the wire allows."""
    if kind == "image":
        small = {"width": 128, "height": 64, "steps": 5}
        params = small | by_lot(ImageParams, IMAGE_PARAMS, rolls)
        needed = {"prompt": rolls.choice(IMAGE["prompt"]), "params": params}
        return by_lot(ImageRequest, IMAGE, rolls) | needed
    if kind == "text":
        params = {"max_length": 24} | by_lot(TextParams, TEXT_PARAMS, rolls)
        needed = {"prompt": rolls.choice(TEXT["prompt"]), "params": params}
        return by_lot(TextRequest, TEXT, rolls) | needed
    names = dict.fromkeys(rolls.choices(FORMS, k=rolls.choice((1, 1, 2, 3))))
    forms = [{"name": name} for name in names]
    needed = {"source_image": rolls.choice(SOURCES), "forms": forms}
    return by_lot(AlchemyRequest, ALCHEMY, rolls) | needed
