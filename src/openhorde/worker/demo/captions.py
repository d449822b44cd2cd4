# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes captions for drawings: many wordings, some attributes left out, some words of no meaning.

A caption always comes with the attributes that it states, because those are what the text encoder
learns to read. Templates marked as held out are kept for the evaluation and never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from openhorde.worker.demo.vocabulary import SHAPE_WORDS, Attributes, is_held_out

_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "purple": ("purple", "purple", "violet"),
    "cyan": ("cyan", "cyan", "turquoise"),
}
_SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "large": ("large", "large", "big", "huge"),
}
_PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side", "to the left", "at the left", "at left", "left"),
    "centre": (
        "in the centre",
        "in the center",
        "in the middle",
        "at the centre",
        "centred",
        "centered",
        "in the center of the image",
    ),
    "right": (
        "on the right",
        "on the right side",
        "to the right",
        "at the right",
        "at right",
        "right",
    ),
}
_BACKGROUND_PHRASES = (
    "on a {b} background",
    "on a {b} background",
    "on {b} background",
    "on {b}",
    "with a {b} background",
    "against a {b} background",
    "over a {b} background",
    "over {b}",
    "in front of a {b} background",
    "on a {b} backdrop",
    "on a plain {b} background",
    "and a {b} background",
    ", {b} background",
    ", {b} background",
    ", background is {b}",
    ", the background is {b}",
    ", background: {b}",
)
_BACKGROUND_FIRST_PHRASES = (
    "on a {b} background,",
    "a {b} background with",
    "{b} background with",
    "{b} background,",
    "against a {b} background,",
    "background {b},",
)
_PREFIXES = (
    "a picture of",
    "a drawing of",
    "an image of",
    "a photo of",
    "an illustration of",
    "picture of",
    "drawing of",
    "image of",
    "show me",
    "draw",
    "there is",
    "a simple drawing of",
    "icon of",
)
_ARTICLES = ("a ", "a ", "the ", "one ", "")
_NOISE_WORDS = (
    "simple",
    "flat",
    "high quality",
    "best quality",
    "masterpiece",
    "minimal",
    "clean",
    "vector art",
    "digital art",
    "detailed",
    "sharp",
    "4k",
    "8k",
    "beautiful",
    "geometric",
    "clipart",
    "please",
    "trending on artstation",
    "solid colours",
    "minimalist",
    "highly detailed",
    "sharp focus",
    "nice",
    "in colour",
    "full color",
)
_MEANINGLESS_CAPTIONS = (
    "",
    "",
    "blurry",
    "ugly",
    "low quality, worst quality",
    "bad, deformed",
    "blurry, ugly, low quality",
    "a shape",
    "a picture",
    "an image",
    "text, watermark, signature",
    "noise, jpeg artifacts",
    "a dog",
    "a cat in the garden",
    "a beautiful landscape",
    "a portrait of a woman",
    "person, face, hands",
    "something",
    "a drawing of a shape",
)
# Wordings that only the evaluation uses: {c} colour, {s} shape, {b} background.
HELD_OUT_TEMPLATES = (
    "an illustration of one {c} {s} in front of a {b} backdrop",
    "{c} {s} in front of {b}",
    "{b} backdrop, {c} {s}",
    "a simple {s}, {c}, with a plain {b} background",
    "The background is {b} and the {s} is {c}.",
    "Draw a flat {c} {s} against {b}!",
    "{s} in {c}, {b} background, clean, 4k",
    "show me the {b} background and a {c} {s}",
)


def _pick(choices: Sequence[str], generator: np.random.Generator) -> str:
    return choices[int(generator.integers(len(choices)))]


def _chance(share: float, generator: np.random.Generator) -> bool:
    return bool(generator.random() < share)


def _random_letters(generator: np.random.Generator) -> str:
    letters = generator.integers(ord("a"), ord("z") + 1, size=int(generator.integers(2, 9)))
    return "".join(chr(int(letter)) for letter in letters)


def random_noise_words(generator: np.random.Generator) -> str:
    """Return a word or two that say nothing about the picture."""
    if _chance(0.3, generator):
        return _random_letters(generator)
    return _pick(_NOISE_WORDS, generator)


def colour_word(colour: str, generator: np.random.Generator) -> str:
    """Return a word for a colour."""
    return _pick(_COLOUR_WORDS.get(colour, (colour,)), generator)


def _shape_phrase(stated: Attributes, generator: np.random.Generator) -> str:
    """Return the words for the shape with its size and colour, such as "a large red circle"."""
    shape = stated.shape
    noun = "shape" if shape is None else _pick(SHAPE_WORDS.get(shape, (shape,)), generator)
    adjectives = []
    if stated.size is not None:
        adjectives.append(_pick(_SIZE_WORDS[stated.size], generator))
    after = ""
    if stated.colour is not None:
        colour = colour_word(stated.colour, generator)
        if _chance(0.8, generator):
            adjectives.append(colour)
        else:
            forms = (
                "that is {c}",
                "in {c}",
                "coloured {c}",
                "colored {c}",
                "which is {c}",
                ", {c}",
                "is {c}",
            )
            after = " " + _pick(forms, generator).format(c=colour)
    if _chance(0.08, generator):
        adjectives.insert(0, random_noise_words(generator))
    if len(adjectives) == 2 and _chance(0.15, generator):
        adjectives.reverse()
    article = _pick(_ARTICLES, generator)
    return article + " ".join([*adjectives, noun]) + after


def _tidy(caption: str, generator: np.random.Generator) -> str:
    """Vary case and punctuation, and mend what joining phrases left."""
    caption = " ".join(caption.replace(" ,", ",").split())
    if _chance(0.8, generator):
        caption = f" {caption}".replace(" a orange", " an orange").strip()
    if _chance(0.08, generator):
        caption = caption.replace(",", "")
    if _chance(0.1, generator):
        caption += _pick((".", "!", ",", " ."), generator)
    return caption


def write_caption(stated: Attributes, generator: np.random.Generator) -> str:
    """Return a random caption that states exactly these attributes."""
    phrase = _shape_phrase(stated, generator)
    place = "" if stated.place is None else _pick(_PLACE_PHRASES[stated.place], generator)
    background = ""
    background_first = _chance(0.25, generator)
    if stated.background is not None:
        forms = _BACKGROUND_FIRST_PHRASES if background_first else _BACKGROUND_PHRASES
        background = _pick(forms, generator).format(b=colour_word(stated.background, generator))
    prefix = _pick(_PREFIXES, generator) if _chance(0.25, generator) else ""
    if background_first:
        caption = f"{background} {prefix} {phrase} {place}"
    elif place and _chance(0.15, generator):
        caption = f"{prefix} {place}, {phrase} {background}"
    elif place and _chance(0.4, generator):
        caption = f"{prefix} {phrase} {background}, {place}"
    else:
        caption = f"{prefix} {phrase} {place} {background}"
    for _ in range(4):
        if not _chance(0.15, generator):
            break
        noise = random_noise_words(generator)
        caption = f"{caption}, {noise}" if _chance(0.8, generator) else f"{noise}, {caption}"
    return _tidy(caption, generator)


def random_statement(
    picture: Attributes, generator: np.random.Generator, stated_share: float = 0.85
) -> Attributes:
    """Keep some of a picture's attributes and leave the others open."""
    return replace(
        picture,
        colour=picture.colour if _chance(stated_share, generator) else None,
        background=picture.background if _chance(stated_share, generator) else None,
        shape=picture.shape if _chance(stated_share, generator) else None,
        size=picture.size if _chance(0.5, generator) else None,
        place=picture.place if _chance(0.5, generator) else None,
    )


def random_caption(
    picture: Attributes, generator: np.random.Generator, silent_share: float = 0.1
) -> tuple[str, Attributes]:
    """Return a training caption for a picture, and the attributes that the caption states."""
    if is_held_out(picture):
        raise ValueError(f"training must not see the held-out combination {picture}")
    if _chance(silent_share, generator):
        return _pick(_MEANINGLESS_CAPTIONS, generator), Attributes()
    stated = random_statement(picture, generator)
    return write_caption(stated, generator), stated


def known_words() -> tuple[str, ...]:
    """Return every word of the captions in lower case, sorted: each becomes one token."""
    sources: list[str] = []
    for words in (_COLOUR_WORDS, SHAPE_WORDS, _SIZE_WORDS, _PLACE_PHRASES):
        for name, variants in words.items():
            sources += [name, *variants]
    for phrases in (
        _BACKGROUND_PHRASES,
        _BACKGROUND_FIRST_PHRASES,
        _PREFIXES,
        _ARTICLES,
        _NOISE_WORDS,
        _MEANINGLESS_CAPTIONS,
        HELD_OUT_TEMPLATES,
    ):
        sources += phrases
    sources += ["red orange yellow green blue pink black white", "triangle star heart"]
    sources += ["shape that which is in coloured colored colour color an"]
    text = " ".join(sources).lower()
    for name in "csb":
        text = text.replace("{" + name + "}", " ")
    cleaned = "".join(letter if letter.isalpha() else " " for letter in text)
    return tuple(sorted(set(cleaned.split())))
