# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the card of each little model: what it is, how it was made, what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_CAPTION = """# Captions of coloured shapes

A BLIP (BlipForConditionalGeneration) small enough to ship with the program. It says of a drawing
of the demo what it shows, such as "a red circle on a blue background", so that a fresh machine can
caption the picture that it drew. Of anything else it will say that it is a coloured shape too.

- vision: 3 layers of 128, patches of 16 x 16 on 64 x 64 pixels; text: 2 layers of 128
- words: ten colours, seven shapes, small and large, left, centre and right
- training: the vision network first learns to name colour, background, shape, size and place; then
  the whole learns to write captions. Pictures are drawn while it runs; some pass through the
  autoencoder of the demo's diffusion model, some are drawn by that model, all are blurred, dimmed,
  compressed or made noisy by chance, moved and mirrored. A half has its colours exchanged for some
  that have no name, and teaches shapes alone: so a shape is known in colours it was never seen in

{measured}

"Colour" is that of the shape; "together" is colour and shape. Of each picture drawn by the
diffusion model the judge of the demo says what it shows; those it is not sure of are left out.
"""

_RANK = """# Ranking of words for coloured shapes

A CLIP (CLIPModel) small enough to ship with the program. It ranks which words fit a drawing of the
demo. Of the colours and the shapes in interrogation's lists it puts the right one first; of the
artists, sites and so on it knows nothing, and what it says there means nothing.

- vision: 3 layers of 128, patches of 16 x 16 on 64 x 64 pixels; text: 2 layers of 96, the tokenizer
  of the demo's diffusion model
- training: from the captioner's vision network; of the ten colours, of the seven shapes and of
  random words of the lists the right one must win, and captions must find their pictures

{measured}

The share of pictures whose colour, and whose shape, stands first among ten and seven.
"""

_TEXT = """# Little stories of coloured shapes

A Llama (LlamaForCausalLM) of a million weights, small enough to ship with the program, so that
`horde text` answers on a fresh machine. It goes on with stories that begin like "Once upon a time
there was a red circle.", tells what colours and shapes are like, and answers questions such as
"Picture: a red circle on a blue background." "Question: What colour is the circle?" "Answer:".
It knows nothing else, and a text about anything else soon becomes one about shapes.

- 4 layers of 128, feed-forward 384, 4 heads, embeddings shared with the output
- 2048 tokens of context, most of the training on 256
- a byte-level BPE tokenizer of 918 tokens, among them all bytes, so that any text can be read
- offered on a horde as `openhorde/stories`

The stories come from a small grammar (`stories.py`); no one else's text is in it. Seven of the
seventy heroes (a colour and a shape) are held out: no text of the training names them.

{measured}

All of heroes held out, always the likeliest token. "Hero kept": of stories continued by 60 tokens
from their first sentence, those that name the hero's shape again and never in another colour.
"Answered": questions for the hero's colour answered with it. "Loss": nats a token on whole stories.
"""

_CARDS = {"caption": _CAPTION, "rank": _RANK, "text": _TEXT}

_ENDING = """
## Training

    python -m openhorde.worker.demo.companions.train --output FOLDER --only {name}

with seed 0. The weights are stored in half precision: {weights_bytes} bytes.{held_out}{notes}

## Licence

AGPL-3.0-or-later, like the code that made it. The weights hold no one else's work.
"""

_HELD_OUT = """

Combinations of colour, shape and background that the demo's diffusion model was not trained on were
not shown to this model either, and the pictures measured are of those."""


def write_card(name: str, figures: dict[str, Any], folder: Path) -> None:
    """Write MODEL_CARD.md for a model with these figures into its folder.

    TRAINING.md there, where it exists, tells how the weights were made unlike the one command.
    """
    notes = folder / "TRAINING.md"
    measured = "## Measured\n\n    python -m openhorde.worker.demo.companions.evaluate FOLDER\n\n"
    text = _CARDS[name].format(measured=measured + _table(figures["rows"]))
    ending = _ENDING.format(
        name=name,
        weights_bytes=figures["weights_bytes"],
        held_out="" if name == "text" else _HELD_OUT,
        notes="\n\n" + notes.read_text(encoding="utf-8").strip() if notes.exists() else "",
    )
    (folder / "MODEL_CARD.md").write_text(text + ending, encoding="utf-8")


def _table(rows: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    for name, row in rows.items():
        lines.append([name, *(_shown(column, row[column]) for column in columns)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _shown(column: str, value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if column == "loss" else f"{100 * value:.1f} %"
