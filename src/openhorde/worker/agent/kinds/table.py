# SPDX-License-Identifier: AGPL-3.0-or-later
"""All kinds of work, the name a worker has for each, and what several engines offer together."""

from collections.abc import Iterable

from openhorde.worker.agent.kinds import alchemy, image, text
from openhorde.worker.agent.kinds.base import Kind
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.backends.registry import KINDS_POSSIBLE
from openhorde.worker.settings import KindName, WorkerSettings

KINDS: dict[KindName, Kind] = {"image": image, "alchemy": alchemy, "text": text}
SUFFIXES: dict[KindName, str] = {"image": "", "alchemy": " alchemist", "text": " scribe"}
NAME_LENGTH_MAX = 100


def kinds_wanted(settings: WorkerSettings) -> list[KindName]:
    """The kinds that the owner wants and some backend may do, in the order of the table.

    It goes by the settings alone, so that it is the same at each start, whatever opens.
    """
    possible = {kind for backend in settings.backends for kind in KINDS_POSSIBLE[backend]}
    return [kind for kind in KINDS if kind in settings.kinds and kind in possible]


def worker_name(settings: WorkerSettings, kind: KindName) -> str:
    """The worker's name for a kind of work: a name belongs to one kind in its horde for ever."""
    given = {"alchemy": settings.alchemist_name, "text": settings.scribe_name}.get(kind, "")
    if given:
        return given
    # What has a name of its own leaves worker_name to the next.
    named = {"alchemy": settings.alchemist_name, "text": settings.scribe_name}
    unnamed = [one for one in kinds_wanted(settings) if not named.get(one)]
    if unnamed and unnamed[0] == kind:
        return settings.worker_name
    suffix = SUFFIXES[kind]
    return settings.worker_name[: NAME_LENGTH_MAX - len(suffix)] + suffix


def combined(several: Iterable[Capabilities], kind: KindName) -> Capabilities:
    """What engines offer together of one kind: all their models and forms, and beside these only
    what each of them can do, for a job may come to any."""
    able = [one for one in several if KINDS[kind].offered(one)]
    if not able:
        return Capabilities()
    first = able[0]
    bounds = [one.pixels_max for one in able if one.pixels_max is not None]
    return Capabilities(
        models=_all(one.models for one in able),
        warm_models=_all(one.warm_models for one in able),
        model_bytes={name: size for one in able for name, size in one.model_bytes.items()},
        memory_bytes=min(one.memory_bytes for one in able),
        samplers=[name for name in first.samplers if all(name in one.samplers for one in able)],
        features=[name for name in first.features if all(name in one.features for one in able)],
        control_types=[
            name for name in first.control_types if all(name in one.control_types for one in able)
        ],
        post_processors=[
            name
            for name in first.post_processors
            if all(name in one.post_processors for one in able)
        ],
        pixels_max=min(bounds, default=None),
        forms=_all(one.forms for one in able),
        text_models=_all(one.text_models for one in able),
        tokens_max=min(one.tokens_max for one in able),
        context_tokens_max=min(one.context_tokens_max for one in able),
    )


def _all(lists: Iterable[list[str]]) -> list[str]:
    """Every name once, in the order in which they come."""
    return list(dict.fromkeys(name for names in lists for name in names))
