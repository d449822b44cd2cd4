# SPDX-License-Identifier: AGPL-3.0-or-later
"""The forms by name. Only the ones that are done are imported, because some are heavy."""

from importlib import import_module

from openhorde.worker.forms.base import Form
from openhorde.worker.forms.post_processors import POST_PROCESSORS, post_processor_kind
from openhorde.worker.settings import WorkerSettings

FORMS = {
    "caption": "openhorde.worker.forms.caption:Caption",
    "interrogation": "openhorde.worker.forms.interrogation:Interrogation",
    "nsfw": "openhorde.worker.forms.nsfw:Nsfw",
    "palette": "openhorde.worker.forms.palette:Palette",
    "describe": "openhorde.worker.forms.describe:Describe",
    "vectorize": "openhorde.worker.forms.vectorize:Vectorize",
}
KNOWN = frozenset({*FORMS, *POST_PROCESSORS})


def form_kind(name: str) -> type[Form]:
    """The class of the form of that name. Raises KeyError when there is none."""
    if name in POST_PROCESSORS:
        return post_processor_kind(name)
    module, _, kind = FORMS[name].partition(":")
    found: type[Form] = getattr(import_module(module), kind)
    return found


def obstacles(settings: WorkerSettings) -> dict[str, str | None]:
    """For every form why it cannot be offered, None when it can.

    Those that make pictures count only where the owner has a folder for what they need.
    """
    makers = POST_PROCESSORS if settings.post_processors_folder is not None else ()
    return {name: form_kind(name).obstacle(settings) for name in (*FORMS, *makers)}
