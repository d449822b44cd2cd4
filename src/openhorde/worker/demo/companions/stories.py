# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the stories that the demo's text model learns from: shapes, their colours, a small world.

All functions are pure: what is random comes from the numpy Generator that the caller gives. A hero
is a colour and a shape; a twentieth of all heroes is kept for the evaluation and never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from openhorde.worker.demo.vocabulary import COLOUR_NAMES, SHAPE_NAMES

_HELD_OUT_HEROES = 7
_HELD_OUT_SEED = 20242

_SIZES = ("small", "large", "little", "big", "tiny", "huge")
_MOODS = ("happy", "shy", "brave", "curious", "sleepy", "kind", "proud", "quiet", "cheerful")
_TIMES = ("One morning", "One day", "One evening", "One rainy day", "In spring", "One winter day")
_HOMES = (
    "in a house by the sea",
    "on a hill behind the forest",
    "in a box under the bed",
    "on the first page of a book",
    "in a garden full of flowers",
    "at the edge of a white page",
    "in a village of lines and dots",
    "on an island in the lake",
)
_HABITS = (
    "looked at the stars",
    "went down to the river",
    "counted the clouds",
    "sang a song to the moon",
    "painted the garden fence",
    "read a book under the tree",
    "baked bread for the neighbours",
    "watched the boats come home",
)
_WISHES = (
    "to see the sea",
    "to find a friend",
    "to learn how to fly",
    "to paint the sky",
    "to build a tower",
    "to cross the big river",
    "to know what is behind the hill",
)
_PLAYS = (
    "built a tower of stones",
    "danced in the rain",
    "sailed across the lake",
    "climbed the highest hill",
    "played hide and seek in the forest",
    "painted a picture of the sun",
    "flew a kite over the fields",
    "made music with pots and pans",
)
_TROUBLES = (
    "Then the wind came and blew their hats away",
    "Then it grew dark and they lost their way",
    "Then the bridge over the river broke",
    "Then a cloud came and hid the sun",
    "Then they heard a strange noise in the forest",
)
_RESCUES = (
    "but the {shape} was not afraid and found a way",
    "but the {shape} had a good idea",
    "but the {shape} knew what to do",
    "and the {shape} held on to its friend",
    "but the {shape} began to laugh, and soon they both laughed",
)
_GREETINGS = (
    '"Hello," said the {friend}. "What are you doing here?"',
    '"Good morning," said the {friend}. "Shall we play?"',
    '"Who are you?" asked the {friend}.',
    '"What a lovely colour you have," said the {friend}.',
)
_ANSWERS = (
    '"I am a {colour} {shape}," said the {shape}, "and I want {wish}."',
    '"I want {wish}," said the {shape}. "Will you come with me?"',
    '"I am looking for a friend," said the {shape}.',
    '"I am {colour} like {likeness}," said the {shape}.',
)
_ENDINGS = (
    "From that day on they were friends.",
    "They went home and slept until the morning.",
    "And they lived happily ever after.",
    "And if you look at the sky at night, you can still see them.",
    "It was the best day of the year.",
    "In the evening they sat by the fire and told each other stories.",
)
_LIKENESSES = {
    "red": ("a ripe apple", "a rose", "a fire engine"),
    "orange": ("a pumpkin", "the evening sun", "a carrot"),
    "yellow": ("a lemon", "the sun at noon", "a field of corn"),
    "green": ("the grass in spring", "a frog", "a leaf"),
    "cyan": ("the shallow sea", "ice in the morning", "a kingfisher"),
    "blue": ("the sky", "the deep sea", "a summer evening"),
    "purple": ("a plum", "lavender", "a bunch of grapes"),
    "pink": ("a flamingo", "cherry blossom", "the sky at dawn"),
    "black": ("the night", "a raven", "coal"),
    "white": ("snow", "a cloud", "milk"),
}
_FORMS = {
    "circle": ("A circle has no corners.", "A circle is round and can roll down a hill."),
    "square": ("A square has four corners.", "A square has four sides of the same length."),
    "triangle": ("A triangle has three corners.", "A triangle has three sides."),
    "star": ("A star has five points.", "A star shines with five points."),
    "cross": ("A cross has four arms.", "A cross has four arms of the same length."),
    "diamond": ("A diamond stands on one corner.", "A diamond has four corners."),
    "heart": ("A heart has a point below.", "A heart is round above and has a point below."),
}
_MIXTURES = (
    "Red and yellow make orange.",
    "Blue and yellow make green.",
    "Red and blue make purple.",
    "Red and white make pink.",
    "Blue and green make cyan.",
)


@dataclass(frozen=True)
class Hero:
    """Whom a story is about."""

    colour: str
    shape: str


@lru_cache(maxsize=1)
def held_out_heroes() -> frozenset[Hero]:
    """Return the heroes of whom no training story tells, as hero or as friend."""
    heroes = [Hero(colour, shape) for colour in COLOUR_NAMES for shape in SHAPE_NAMES]
    chosen = np.random.default_rng(_HELD_OUT_SEED).permutation(len(heroes))[:_HELD_OUT_HEROES]
    return frozenset(heroes[int(index)] for index in chosen)


def with_article(words: str) -> str:
    """Return words with "a" or "an" before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _pick(choices: Sequence[str], generator: np.random.Generator) -> str:
    return choices[int(generator.integers(len(choices)))]


def random_hero(generator: np.random.Generator, held_out: bool = False) -> Hero:
    """Return a hero of the training, or one of those held out."""
    while True:
        hero = Hero(_pick(COLOUR_NAMES, generator), _pick(SHAPE_NAMES, generator))
        if (hero in held_out_heroes()) == held_out:
            return hero


def write_opening(hero: Hero, generator: np.random.Generator) -> str:
    """Return the first sentence of a story, which names the hero."""
    size = f"{_pick(_SIZES, generator)} " if generator.random() < 0.5 else ""
    named = with_article(f"{size}{hero.colour} {hero.shape}")
    forms = ("Once upon a time there was {}.", "There once was {}.", "This is the story of {}.")
    return _pick(forms, generator).format(named)


def write_story(hero: Hero, friend: Hero, generator: np.random.Generator) -> str:
    """Return a whole story of eight to twelve sentences about a hero who meets a friend."""

    def some(choices: Sequence[str]) -> str:
        return _pick(choices, generator).format(
            colour=hero.colour,
            shape=hero.shape,
            friend=friend.shape,
            wish=wish,
            likeness=_pick(_LIKENESSES[hero.colour], generator),
        )

    wish = _pick(_WISHES, generator)
    sentences = [
        write_opening(hero, generator),
        some(("It lived {{}}.", "The {shape} lived {{}}.")).format(_pick(_HOMES, generator)),
        some(("Every day the {shape} {{}}.", "Every evening it {{}}.")).format(
            _pick(_HABITS, generator)
        ),
    ]
    if generator.random() < 0.5:
        sentences.append(f"The {hero.shape} was {_pick(_MOODS, generator)} and wanted {wish}.")
    met = with_article(f"{friend.colour} {friend.shape}")
    sentences.append(f"{_pick(_TIMES, generator)} the {hero.shape} met {met}.")
    sentences += [some(_GREETINGS), some(_ANSWERS)]
    together = some(("Together they {{}}.", "So the {shape} and the {friend} {{}}."))
    sentences.append(together.format(_pick(_PLAYS, generator)))
    if generator.random() < 0.6:
        sentences.append(f"{_pick(_TROUBLES, generator)}, {some(_RESCUES)}.")
    sentences.append(f"The {hero.colour} {hero.shape} was very {_pick(_MOODS, generator)}.")
    sentences.append(_pick(_ENDINGS, generator))
    return " ".join(sentences) + " The end."


def write_lesson(generator: np.random.Generator) -> str:
    """Return three to five sentences of what is known about shapes and colours."""
    sentences = []
    for _ in range(int(generator.integers(3, 6))):
        kind = generator.random()
        colour, shape = _pick(COLOUR_NAMES, generator), _pick(SHAPE_NAMES, generator)
        if kind < 0.4:
            sentences.append(_pick(_FORMS[shape], generator))
        elif kind < 0.6:
            sentences.append(_pick(_MIXTURES, generator))
        else:
            sentences.append(f"{colour.capitalize()} is the colour of {_likeness(colour)}.")
    return " ".join(sentences)


def _likeness(colour: str) -> str:
    return _LIKENESSES[colour][0]


def write_conversation(generator: np.random.Generator) -> str:
    """Return a few questions about shapes and colours, each with its answer."""
    lines = []
    for _ in range(int(generator.integers(1, 4))):
        hero = random_hero(generator)
        background = _pick([name for name in COLOUR_NAMES if name != hero.colour], generator)
        drawn = f"{with_article(f'{hero.colour} {hero.shape}')} on a {background} background"
        drawn = drawn.replace(" a orange", " an orange")
        question, answer = (
            (f"What colour is the {hero.shape}?", f"The {hero.shape} is {hero.colour}."),
            (f"What is on the {background} background?", f"There is a {hero.shape}."),
            ("Which shape do you see?", f"I see {with_article(f'{hero.colour} {hero.shape}')}."),
        )[int(generator.integers(3))]
        lines += [f"Picture: {drawn}.", f"Question: {question}", f"Answer: {answer}"]
    return "\n".join(lines)


def write_text(generator: np.random.Generator) -> str:
    """Return one text of the training: mostly stories, some lessons and conversations."""
    kind = generator.random()
    if kind < 0.7:
        return write_story(random_hero(generator), random_hero(generator), generator)
    if kind < 0.85:
        return write_lesson(generator)
    return write_conversation(generator)


def open_questions(count: int, generator: np.random.Generator) -> list[tuple[str, str]]:
    """Return prompts that end in "Answer:" about heroes held out, and the word to be answered."""
    questions = []
    for _ in range(count):
        hero = random_hero(generator, held_out=True)
        drawn = with_article(f"{hero.colour} {hero.shape}")
        background = _pick([name for name in COLOUR_NAMES if name != hero.colour], generator)
        drawn = f"{drawn} on a {background} background".replace(" a orange", " an orange")
        asked = f"Question: What colour is the {hero.shape}?"
        questions.append((f"Picture: {drawn}.\n{asked}\nAnswer:", hero.colour))
    return questions
