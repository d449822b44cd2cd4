# SPDX-License-Identifier: AGPL-3.0-or-later
"""The openai backend opened onto a scripted server, and short ways to have it write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from worker.engines.replay import serving
from worker.engines.scripted import Scripted, models

from openhorde.worker.backends.base import Capabilities, TextJob
from openhorde.worker.backends.openai.backend import OpenAIBackend
from openhorde.worker.settings import WorkerSettings, load_settings

COMPLETIONS = ("POST", "/v1/completions")


def settings(url: str, **changes: Any) -> WorkerSettings:
    return load_settings(None, None, {"openai_url": url, "backends": ["openai"]} | changes)


@contextmanager
def opened(
    answers: dict[tuple[str, str], Any], **changes: Any
) -> Iterator[tuple[Scripted, OpenAIBackend, Capabilities]]:
    server = Scripted(answers)
    with serving(server) as url:
        backend = OpenAIBackend(settings(url, **changes))
        yield server, backend, backend.open()


def plain(lines: Any, **more: Any) -> dict[tuple[str, str], Any]:
    """A generic server with one model, `tiny`."""
    return {("GET", "/v1/models"): models("tiny", **more), COMPLETIONS: lines}


def job(**changes: Any) -> TextJob:
    defaults: dict[str, Any] = {
        "id": "1",
        "model": "tiny",
        "prompt": "Once",
        "tokens_max": 16,
        "seed": 7,
    }
    return TextJob(**(defaults | changes))


def write(
    backend: OpenAIBackend,
    given: TextJob,
    report: Callable[[int, int], None] = lambda step, steps: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> str:
    (artifact,) = backend.run(given, report, cancelled)
    assert artifact.media_type == "text/plain"
    return artifact.content.decode()
