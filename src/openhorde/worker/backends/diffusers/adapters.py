# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and textual inversions, from the owner's folders, for the length of one job."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import structlog
from msgspec import Struct, field
from safetensors.torch import load_file

from openhorde.worker.backends.base import Note, PictureJob

log = structlog.get_logger(__name__)


class Adapted(Struct):
    """The prompts with what was put into them, and notes about what could not be had."""

    prompt: str
    negative_prompt: str
    notes: list[Note] = field(default_factory=list)


def loras_possible() -> bool:
    """Whether the library that LoRAs need is there."""
    return find_spec("peft") is not None


@contextmanager
def adapted(
    pipeline: Any, job: PictureJob, loras_folder: Path | None, embeddings_folder: Path | None
) -> Iterator[Adapted]:
    """Apply what the job names; take it off again in the end."""
    said = Adapted(job.prompt, job.negative_prompt)
    tokens: list[str] = []
    try:
        _apply_loras(pipeline, job, loras_folder, said)
        for embedding in job.embeddings:
            path = _file(embeddings_folder, embedding.name)
            if path is None:
                _note(said, "ti", "download_failed", embedding.name)
                continue
            try:
                pipeline.load_textual_inversion(load_file(path), token=embedding.name)
            except Exception as error:
                # Whatever a stranger's file is wrong in, the picture can be drawn without it.
                log.warning("an embedding does not fit", name=embedding.name, reason=str(error))
                _note(said, "ti", "parse_failed", embedding.name)
                continue
            tokens.append(embedding.name)
            if embedding.inject == "prompt":
                said.prompt = f"{said.prompt}, {embedding.name}"
            elif embedding.inject == "negprompt":
                said.negative_prompt = f"{said.negative_prompt}, {embedding.name}".lstrip(", ")
        yield said
    finally:
        if tokens:
            pipeline.unload_textual_inversion(tokens)
        if job.loras and loras_possible():
            pipeline.unload_lora_weights()


def _apply_loras(pipeline: Any, job: PictureJob, loras_folder: Path | None, said: Adapted) -> None:
    names, strengths = [], []
    for index, lora in enumerate(job.loras):
        path = _file(loras_folder, lora.name) if loras_possible() else None
        if path is None:
            _note(said, "lora", "download_failed", lora.name)
            continue
        name = f"lora_{index}"
        try:
            pipeline.load_lora_weights(load_file(path), adapter_name=name)
        except Exception as error:
            log.warning("a LoRA does not fit", name=lora.name, reason=str(error))
            _note(said, "lora", "baseline_mismatch", lora.name)
            continue
        names.append(name)
        encoders = ["text_encoder", "text_encoder_2"][: 1 + hasattr(pipeline, "text_encoder_2")]
        strengths.append({"unet": lora.model} | dict.fromkeys(encoders, lora.clip))
    if names:
        pipeline.set_adapters(names, adapter_weights=strengths)


def _file(folder: Path | None, name: str) -> Path | None:
    """The file of that name in the folder, and never one outside it."""
    if folder is None or not folder.is_dir():
        return None
    return next((path for path in folder.glob("*.safetensors") if path.stem == name), None)


def _note(
    said: Adapted,
    kind: Literal["lora", "ti"],
    value: Literal["download_failed", "parse_failed", "baseline_mismatch"],
    name: str,
) -> None:
    said.notes.append(Note(type=kind, value=value, ref=name))
