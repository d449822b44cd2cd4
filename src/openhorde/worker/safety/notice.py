# SPDX-License-Identifier: AGPL-3.0-or-later
"""The picture that is sent in the place of one that is not."""

from PIL import Image, ImageDraw, ImageFont

GREY = (96, 96, 96)
WORDS = "censored"
SIDE_SHARE = 8


def notice(size: tuple[int, int]) -> Image.Image:
    """A grey picture of that size that says what it is, and nothing of what it stands for."""
    picture = Image.new("RGB", size, GREY)
    font = ImageFont.load_default(size=max(8, min(size) // SIDE_SHARE))
    middle = (size[0] / 2, size[1] / 2)
    ImageDraw.Draw(picture).text(middle, WORDS, font=font, fill="white", anchor="mm")
    return picture
