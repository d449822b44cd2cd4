# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prompt weights: `(words:1.2)`, `(words)` for 1.1 and `[words]` for its inverse, nested at will.

A bracket after a backslash, and one without its partner, is an ordinary character.
"""

import re
from itertools import groupby

from msgspec import Struct

STEP = 1.1
WEIGHT_MAX = 5.0
PARTNERS = {")": "(", "]": "["}
EXPLICIT = re.compile(r":\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*$")
TOKEN = re.compile(r"\\[()\[\]\\]|[()\[\]]|[^()\[\]\\]+|\\", re.DOTALL)


class Piece(Struct):
    """Words of a prompt that share a weight; 1 is plain."""

    text: str
    weight: float = 1.0


def parse(prompt: str) -> list[Piece]:
    """The pieces of a prompt, in order; weights are within +-WEIGHT_MAX."""
    tokens = TOKEN.findall(prompt)
    partners = _partners(tokens)
    pieces = [Piece("")]
    starts: list[int] = []
    spans: list[tuple[int, int, float]] = []
    words: list[str] = []
    closed = 0
    for index, sign in enumerate(tokens):
        if index not in partners:
            words.append(sign[1:] if sign in ("\\(", "\\)", "\\[", "\\]") else sign)
            continue
        pieces[-1].text = "".join(words)
        words.clear()
        if sign in PARTNERS:
            start = starts.pop()
            factor = STEP if sign == ")" else 1 / STEP
            if sign == ")" and len(pieces) > closed:
                explicit = EXPLICIT.search(pieces[-1].text)
                if explicit is not None:
                    pieces[-1].text = pieces[-1].text[: explicit.start()]
                    factor = float(explicit.group(1))
            spans.append((start, len(pieces), factor))
            closed = len(pieces)
            pieces.append(Piece(""))
        else:
            starts.append(len(pieces))
            pieces.append(Piece(""))
    pieces[-1].text = "".join(words)
    _weigh(pieces, spans)
    return _joined(pieces)


def _weigh(pieces: list[Piece], spans: list[tuple[int, int, float]]) -> None:
    """Weigh each piece by the factors of all spans around it. Spans (begin, end, factor) come in
    the order of their ends, inner ones first, and lie within or beside each other."""
    around: list[tuple[int, float]] = []
    spans = sorted(spans, key=lambda span: span[0], reverse=True)
    for place, piece in enumerate(pieces):
        while around and around[-1][0] <= place:
            around.pop()
        while spans and spans[-1][0] == place:
            _, end, factor = spans.pop()
            around.append((end, factor * (around[-1][1] if around else 1.0)))
        if around:
            piece.weight = around[-1][1]


def _partners(tokens: list[str]) -> set[int]:
    """The places of those brackets that have a partner."""
    waiting: list[int] = []
    found: set[int] = set()
    for index, token in enumerate(tokens):
        if token in PARTNERS.values():
            waiting.append(index)
        elif token in PARTNERS and waiting and tokens[waiting[-1]] == PARTNERS[token]:
            found |= {waiting.pop(), index}
    return found


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Without empty pieces; neighbours of one weight are one piece."""
    weighted = [
        (max(-WEIGHT_MAX, min(WEIGHT_MAX, piece.weight)), piece.text)
        for piece in pieces
        if piece.text
    ]
    return [
        Piece("".join(text for _, text in neighbours), weight)
        for weight, neighbours in groupby(weighted, key=lambda piece: piece[0])
    ]
