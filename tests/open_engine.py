# SPDX-License-Identifier: AGPL-3.0-or-later
"""The transformers engine in this process, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from openhorde.worker.backends.base import Capabilities, TextJob
from openhorde.worker.backends.transformers.backend import TransformersBackend
from openhorde.worker.settings import WorkerSettings, load_settings


def settings(models_folder: Path, **changes: Any) -> WorkerSettings:
    return load_settings(None, None, {"models_folder": models_folder, "device": "cpu"} | changes)


class OpenEngine:
    """A backend and what it offers; runs jobs that nobody cancels."""

    def __init__(self, chosen: WorkerSettings) -> None:
        self.backend = TransformersBackend(chosen)
        self.capabilities: Capabilities = self.backend.open()
        self.steps: list[tuple[int, int]] = []

    def write(self, cancelled: Callable[[], bool] = lambda: False, **changes: Any) -> str:
        """The text of a job about a red circle; keywords change it."""
        given: dict[str, Any] = {
            "id": "one",
            "model": self.capabilities.text_models[0],
            "prompt": "Once upon a time there was a red circle.",
            "tokens_max": 24,
            "seed": 1,
        }
        self.steps = []
        (artifact,) = self.backend.run(
            TextJob(**given | changes),
            lambda step, steps: self.steps.append((step, steps)),
            cancelled,
        )
        assert artifact.media_type == "text/plain"
        return artifact.content.decode()
