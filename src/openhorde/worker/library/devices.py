# SPDX-License-Identifier: AGPL-3.0-or-later
"""The device that models run on."""

import torch


def choose_device(wanted: str) -> torch.device:
    """The device of that name; for "auto" the best there is."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
