# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures whose edges meet: convolutions that wrap around instead of padding with zeros."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def seamless(*models: nn.Module) -> Iterator[None]:
    """Let every convolution of the models wrap around, for as long as this lasts."""
    layers = [
        layer for model in models for layer in model.modules() if isinstance(layer, nn.Conv2d)
    ]
    before = [layer.padding_mode for layer in layers]
    for layer in layers:
        layer.padding_mode = "circular"
    try:
        yield
    finally:
        for layer, mode in zip(layers, before, strict=True):
            layer.padding_mode = mode
