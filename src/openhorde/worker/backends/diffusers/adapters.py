# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and textual inversions, for the length of one job."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import structlog
from msgspec import Struct, field
from safetensors.torch import load_file

from openhorde.worker.backends.base import Embedding, Note, PictureJob
from openhorde.worker.library.adapters import (
    About,
    Kind,
    choose_trigger,
    find_adapter,
    read_about,
)
from openhorde.worker.library.disk import touch
from openhorde.worker.settings import WorkerSettings

# The text encoders of Stable Diffusion XL, as files for it name them.
XL_KEYS = {
    "clip_l": ("tokenizer", "text_encoder"),
    "clip_g": ("tokenizer_2", "text_encoder_2"),
}
EMBEDDING_SIGN = "<ti"
LORA_SIGNS = ("lora", "lokr", "hada")

Failure = Literal["download_failed", "parse_failed", "baseline_mismatch"]
log = structlog.get_logger(__name__)


class Adapted(Struct):
    """The prompts with what was put into them, and notes about what could not be had."""

    prompt: str
    negative_prompt: str
    notes: list[Note] = field(default_factory=list)


class _Unusable(Exception):
    """An adapter that is left out; `value` is what the requester is told."""

    def __init__(self, value: Failure, reason: str) -> None:
        super().__init__(reason)
        self.value: Failure = value


def loras_possible() -> bool:
    """Whether the library that LoRAs need is there."""
    return find_spec("peft") is not None


@contextmanager
def adapted(
    pipeline: Any, family: str, job: PictureJob, settings: WorkerSettings
) -> Iterator[Adapted]:
    """Apply what the job names; take it off again in the end."""
    said = Adapted(job.prompt, job.negative_prompt)
    try:
        _apply_loras(pipeline, family, job, settings, said)
        for index, embedding in enumerate(job.embeddings):
            token = f"{EMBEDDING_SIGN}{index}>"
            try:
                path, _ = _find("embeddings", embedding.name, False, family, settings)
                _load_embedding(pipeline, path, token)
            except _Unusable as error:
                _leave_out(said, "ti", embedding.name, error)
                continue
            _word(said, embedding, token)
        yield said
    finally:
        if job.embeddings:
            _unload_embeddings(pipeline)
        if job.loras and loras_possible():
            pipeline.unload_lora_weights()


def _apply_loras(
    pipeline: Any, family: str, job: PictureJob, settings: WorkerSettings, said: Adapted
) -> None:
    names, strengths = [], []
    for index, lora in enumerate(job.loras):
        name = f"lora_{index}"
        try:
            if not loras_possible():
                raise _Unusable("download_failed", "LoRAs need the library peft")
            path, about = _find("loras", lora.name, lora.is_version, family, settings)
            _load_lora(pipeline, path, name)
        except _Unusable as error:
            _leave_out(said, "lora", lora.name, error)
            continue
        trigger = choose_trigger(about.triggers, lora.trigger)
        if trigger is not None:
            said.prompt = f"{said.prompt}, {trigger}"
        names.append(name)
        encoders = ["text_encoder", "text_encoder_2"][: 1 + hasattr(pipeline, "text_encoder_2")]
        strengths.append({"unet": lora.model} | dict.fromkeys(encoders, lora.clip))
    if names:
        pipeline.set_adapters(names, adapter_weights=strengths)


def _find(
    kind: Kind, name: str, is_version: bool, family: str, settings: WorkerSettings
) -> tuple[Path, About]:
    """The file and what it says of itself. Raises _Unusable."""
    folder = settings.loras_folder if kind == "loras" else settings.embeddings_folder
    path = find_adapter(kind, name, is_version, folder, settings.cache_folder)
    if path is None:
        raise _Unusable("download_failed", "it is not here")
    try:
        about = read_about(path)
    except ValueError as error:
        raise _Unusable("parse_failed", str(error)) from error
    if about.family not in (None, family):
        raise _Unusable("baseline_mismatch", f"it was made for {about.baseline}")
    touch(path)
    return path, about


def _load_lora(pipeline: Any, path: Path, name: str) -> None:
    weights = load_file(path)
    if not any(sign in key for key in weights for sign in LORA_SIGNS):
        raise _Unusable("parse_failed", "it holds no LoRA")
    try:
        pipeline.load_lora_weights(weights, adapter_name=name)
    except Exception as error:
        # Whatever a stranger's file is wrong in, the picture can be drawn without it.
        raise _Unusable("baseline_mismatch", str(error)) from error


def _load_embedding(pipeline: Any, path: Path, token: str) -> None:
    """Load it under a token. Raises _Unusable; a half that was loaded goes with the others."""
    weights = load_file(path)
    is_xl = hasattr(pipeline, "tokenizer_2")
    if set(XL_KEYS) <= set(weights):
        if not is_xl:
            raise _Unusable("baseline_mismatch", "it was made for Stable Diffusion XL")
        wanted: list[tuple[Any, dict[str, Any]]] = [
            (weights[key], {"tokenizer": getattr(pipeline, first), "text_encoder": encoder})
            for key, (first, second) in XL_KEYS.items()
            if (encoder := getattr(pipeline, second)) is not None
        ]
    elif is_xl:
        raise _Unusable("baseline_mismatch", "it was not made for Stable Diffusion XL")
    else:
        wanted = [(weights, {})]
    for one, where in wanted:
        try:
            pipeline.load_textual_inversion(one, token=token, **where)
        except Exception as error:
            wrong_width = "shape" in str(error)
            value: Failure = "baseline_mismatch" if wrong_width else "parse_failed"
            raise _Unusable(value, str(error)) from error


def _unload_embeddings(pipeline: Any) -> None:
    """Take all of them off in one go, for the tokens that stay get new numbers each time.

    An embedding of several vectors has a token for each, and every one must be named.
    """
    for first, second in XL_KEYS.values():
        tokenizer, encoder = getattr(pipeline, first, None), getattr(pipeline, second, None)
        if tokenizer is None or encoder is None:
            continue
        tokens = [
            token for token in tokenizer.get_added_vocab() if token.startswith(EMBEDDING_SIGN)
        ]
        if tokens:
            pipeline.unload_textual_inversion(tokens, tokenizer=tokenizer, text_encoder=encoder)


def _word(said: Adapted, embedding: Embedding, token: str) -> None:
    """Put the token where the requester names the embedding, or wants it to be put."""
    named = re.compile(
        rf"embedding:{re.escape(embedding.name)}(?![\w-])"
        rf"|(?<![\w-]){re.escape(embedding.name)}(?![\w-])",
        re.IGNORECASE,
    )
    said.prompt = named.sub(token, said.prompt)
    said.negative_prompt = named.sub(token, said.negative_prompt)
    weighted = f"({token}:{embedding.strength:g})"
    if embedding.inject == "prompt":
        said.prompt = f"{said.prompt}, {weighted}"
    elif embedding.inject == "negprompt":
        said.negative_prompt = f"{said.negative_prompt}, {weighted}".lstrip(", ")


def _leave_out(said: Adapted, kind: Literal["lora", "ti"], name: str, error: _Unusable) -> None:
    log.warning("an adapter is left out", kind=kind, name=name, reason=str(error))
    said.notes.append(Note(type=kind, value=error.value, ref=name))
