# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde image`: draw a picture."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from openhorde.cli.drawing import draw, report, usable_target
from openhorde.cli.generated import setting, with_settings
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, Wait, connect
from openhorde.cli.prices import show_price
from openhorde.cli.screen import messages, output, print_json

PICTURE, SOURCE, HORDE = "Picture", "Source image", "Horde"
SIDE = "Pixels, 64 to 3072, a multiple of 64."


SETTINGS = [
    setting("width", int, "--width", PICTURE, SIDE, "512"),
    setting("height", int, "--height", PICTURE, SIDE, "512"),
    setting("n", int, "--number -n", PICTURE, "How many pictures, 1 to 20.", "1"),
    setting("negative_prompt", str, "--negative", PICTURE, "What not to draw."),
    setting("steps", int, "--steps", PICTURE, "Sampling steps, 1 to 500.", "30"),
    setting("seed", str, "--seed", PICTURE, "Same seed, same picture.", "random"),
    setting("sampler_name", str, "--sampler", PICTURE, "k_dpmpp_2m, DDIM ...", "k_euler_a"),
    setting(
        "cfg_scale", float, "--cfg", PICTURE, "How closely to follow the prompt, 0 to 100.", "5"
    ),
    setting("karras", bool, "--karras/--no-karras", PICTURE, "Noise schedule of Karras.", "karras"),
    setting(
        "models", list[str], "--model", PICTURE, "Model that may draw it; repeatable.", "any model"
    ),
    setting("post_processing", list[str], "--post-processing", PICTURE, "GFPGAN ...; repeatable."),
    setting("source_image", str, "--source-image", SOURCE, "File or URL to start from."),
    setting("source_mask", str, "--mask", SOURCE, "File or URL: what to repaint."),
    setting(
        "source_processing",
        str,
        "--source-processing",
        SOURCE,
        "img2img, inpainting, outpainting or remix.",
        "inpainting with a mask, else img2img",
    ),
    setting("denoising_strength", float, "--denoise", SOURCE, "How much to change, 0.01 to 1."),
    setting(
        "allow_downgrade",
        bool,
        "--allow-downgrade",
        HORDE,
        "Let a busy horde shrink the request rather than refuse it.",
    ),
]


@with_settings(SETTINGS)
def image(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write: .webp, .png or .jpg. Several pictures get -1, -2 ...",
            show_default="horde-ID.webp",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would cost.")
    ] = False,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
    **settings: Any,
) -> None:
    """Draw a picture and write it to a file that records how it was made."""
    settings["models"] = settings["models"] or None
    settings["post_processing"] = settings["post_processing"] or None
    if settings["source_mask"] and not settings["source_processing"]:
        settings["source_processing"] = "inpainting"
    if out is not None:
        usable_target(out)
    if dry_run:
        asyncio.run(_price(url, api_key, prompt, settings, as_json))
    else:
        settings["wait_for_workers"] = wait
        asyncio.run(_draw(url, api_key, prompt, out, settings, as_json))


async def _draw(
    url: str, api_key: str, prompt: str, out: Path | None, settings: dict[str, Any], as_json: bool
) -> None:
    async with connect(url, api_key) as horde:
        drawn = await draw(horde, prompt, out, settings, messages())
    if as_json:
        print_json(drawn.facts())
    else:
        report(drawn, output())


async def _price(
    url: str, api_key: str, prompt: str, settings: dict[str, Any], as_json: bool
) -> None:
    async with connect(url, api_key) as horde:
        priced = await horde.price(prompt, **settings)
    if as_json:
        print_json(priced)
    else:
        show_price(priced)
