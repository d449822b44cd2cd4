# SPDX-License-Identifier: AGPL-3.0-or-later
"""Little image classifiers that the tests make."""

from pathlib import Path
from typing import Any

import torch
import transformers


def save_classifier(folder: Path, labels: list[str], favourite: int) -> Path:
    """A tiny image classifier that is all but sure of one of its labels, whatever it sees."""
    config = transformers.ViTConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=16,
        patch_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    model: Any = transformers.ViTForImageClassification(config)
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    with torch.no_grad():
        model.classifier.bias[favourite] = 10.0
    model.save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
