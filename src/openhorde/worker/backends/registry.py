# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engines by name. Only the chosen one is imported, because some are heavy."""

from importlib import import_module

from openhorde.worker.backends.base import Backend
from openhorde.worker.settings import KindName, WorkerSettings

BACKENDS = {
    "comfyui": "openhorde.worker.backends.comfyui.backend:ComfyBackend",
    "diffusers": "openhorde.worker.backends.diffusers.backend:DiffusersBackend",
    "transformers": "openhorde.worker.backends.transformers.backend:TransformersBackend",
    "fake": "openhorde.worker.backends.fake:FakeBackend",
    "koboldcpp": "openhorde.worker.backends.koboldcpp:KoboldBackend",
    "openai": "openhorde.worker.backends.openai.backend:OpenAIBackend",
}
KINDS_POSSIBLE: dict[str, tuple[KindName, ...]] = {
    "diffusers": ("image", "alchemy"),
    "transformers": ("alchemy", "text"),
    "comfyui": ("image",),
    "openai": ("text",),
    "koboldcpp": ("text",),
    "fake": ("image", "alchemy", "text"),
}
"""The kinds of work that a backend may turn out to do; what it can do is known once it is open."""
ON_SERVERS = ("comfyui", "openai", "koboldcpp")
"""Backends that only ask a server of the owner's, which may do several jobs at once."""


def engines_of(settings: WorkerSettings, name: str) -> int:
    """How many engines of a backend run side by side."""
    if name in ON_SERVERS and settings.threads_on_servers:
        return settings.threads_on_servers
    return settings.max_threads


def make_backend(settings: WorkerSettings, name: str) -> Backend:
    """The engine of that name, not open yet. Raises RuntimeError when it is not to be had."""
    if name not in BACKENDS:
        raise RuntimeError(f"there is no backend named {name!r}")
    module, _, maker = BACKENDS[name].partition(":")
    backend: Backend = getattr(import_module(module), maker)(settings)
    return backend
