# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engines by name. Only the chosen one is imported, because some are heavy."""

from importlib import import_module

from openhorde.worker.backends.base import Backend
from openhorde.worker.settings import WorkerSettings

BACKENDS = {
    "diffusers": "openhorde.worker.backends.diffusers.backend:DiffusersBackend",
    "fake": "openhorde.worker.backends.fake:FakeBackend",
}


def make_backend(settings: WorkerSettings) -> Backend:
    """The engine that the settings name, not open yet."""
    module, _, name = BACKENDS[settings.backend].partition(":")
    backend: Backend = getattr(import_module(module), name)(settings)
    return backend
