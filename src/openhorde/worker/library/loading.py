# SPDX-License-Identifier: AGPL-3.0-or-later
"""Loads models of the transformers library: safetensors only, no code of theirs, no network."""

from pathlib import Path
from typing import Any

import torch

_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load_model(kind: Any, folder: Path, device: torch.device) -> Any:
    """A model of an Auto class, ready to use: half precision on a graphics card, else single.

    Raises RuntimeError when the folder holds something else, or cannot be read.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    try:
        model = kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, **_SAFE)
    except Exception as error:
        # A model is many files of others' making, and they can be wrong in any way.
        raise RuntimeError(f"the model in {folder} cannot be loaded: {error}") from error
    return model.to(device).eval()


def load_beside(kind: Any, folder: Path) -> Any:
    """What prepares a model's input: a processor or tokenizer of an Auto class.

    Raises RuntimeError when it cannot be read.
    """
    try:
        return kind.from_pretrained(folder, **_SAFE)
    except Exception as error:
        reason = f"what belongs to the model in {folder} cannot be loaded: {error}"
        raise RuntimeError(reason) from error
