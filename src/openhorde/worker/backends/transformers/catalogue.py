# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which language models there are. Looks only: nothing is loaded, and torch is not needed.

A folder may hold `openhorde.json`: `name`, under which the model is offered, `starts_texts` for one
that wants its first token before a text though its tokenizer does not set it, `tokens_offered` and
`context_tokens_offered` where other lengths are offered than the model has (of a longer prompt only
the end is read), and `subject` (see library/subject.py) for one that knows little.
"""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from openhorde.incoming.texts import read_json_file
from openhorde.worker.engine_settings import Name
from openhorde.worker.library.folders import CONFIG, find_model
from openhorde.worker.library.subject import Subject
from openhorde.worker.settings import WorkerSettings

SETTING = "text_models"
SHIPPED = "text"
# Of a model that does not say, as many as most requests ask for.
_CONTEXT_TOKENS = 2048
# What the families of models call the most tokens that they can read and write.
_LENGTH_WORDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


Tokens = Annotated[int, Meta(ge=2, le=2**31 - 1)]


class _Sidecar(Struct):
    name: Name | None = None
    starts_texts: bool = False
    tokens_offered: Tokens | None = None
    context_tokens_offered: Tokens | None = None
    subject: Subject | None = None


class TextCard(Struct, frozen=True, kw_only=True):
    """One language model on disk; `context_tokens` are the most it can read and write, and
    `tokens_offered` of at most `context_tokens_offered` what may be asked of it."""

    name: str
    folder: Path
    context_tokens: int
    tokens_offered: int
    context_tokens_offered: int
    starts_texts: bool = False
    subject: Subject | None = None


def find_text_models(settings: WorkerSettings) -> list[TextCard]:
    """The language models that the settings name, or the one that ships with the program.

    Downloads what may be downloaded. Raises RuntimeError, for the owner, when one cannot be had.
    """
    names = settings.text_models or [""]
    return [_card(name, find_model(SETTING, name, SHIPPED, settings, fetch=True)) for name in names]


def _card(name: str, folder: Path) -> TextCard:
    config = _read(folder / CONFIG, dict[str, Any])
    sidecar_path = folder / "openhorde.json"
    sidecar = _read(sidecar_path, _Sidecar) if sidecar_path.exists() else _Sidecar()
    lengths = [config[word] for word in _LENGTH_WORDS if isinstance(config.get(word), int)]
    context_tokens = lengths[0] if lengths else _CONTEXT_TOKENS
    return TextCard(
        name=sidecar.name or name or folder.name,
        folder=folder,
        context_tokens=context_tokens,
        tokens_offered=min(sidecar.tokens_offered or context_tokens, context_tokens - 1),
        context_tokens_offered=sidecar.context_tokens_offered or context_tokens,
        starts_texts=sidecar.starts_texts,
        subject=sidecar.subject,
    )


def _read(path: Path, kind: Any) -> Any:
    try:
        return read_json_file(path, kind)
    except (OSError, msgspec.DecodeError) as error:
        raise RuntimeError(f"{path} cannot be read: {error}") from error
