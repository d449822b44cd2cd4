# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a refusal means to the worker's owner: which setting is wrong, and where a key comes from.

Mistakes are what no waiting mends: a key that nobody has, a name that is somebody else's.
"""

from openhorde.worker.agent.api import HordeApi, Refused
from openhorde.worker.settings import ANONYMOUS_KEY, KindName, WorkerSettings

NAME_SETTINGS: dict[KindName, str] = {
    "image": "worker_name",
    "alchemy": "alchemist_name",
    "text": "scribe_name",
}
"""The settings that name a worker for each kind of work."""

UNKNOWN_KEY = frozenset({"InvalidAPIKey", "UserNotFound"})
OF_THE_ACCOUNT = frozenset({"AnonForbiddenWorker", "DeletedUser"})
OF_THE_NAME = frozenset({"WrongCredentials", "PolymorphicNameConflict", "ProfaneWorkerName"})
SET_KEY = (
    "Set api_key in the settings file, OPENHORDE_API_KEY or --api-key; a key of your own comes from"
)


def key_needed(settings: WorkerSettings) -> str | None:
    """Why the key in the settings cannot do, without asking the horde; None if it may."""
    if settings.api_key != ANONYMOUS_KEY:
        return None
    return f"api_key: no worker may run under the anonymous key. {_get_one(settings)}"


def key_mistake(error: Refused, settings: WorkerSettings) -> str | None:
    """What is wrong with the key, if the refusal is for that."""
    if error.status == 401 or error.rc in UNKNOWN_KEY:
        return f"api_key: {settings.horde_url} does not know this key. {_get_one(settings)}"
    if error.rc in OF_THE_ACCOUNT:
        return f"api_key: {error} {_get_one(settings)}"
    return None


def mistake(error: Refused, settings: WorkerSettings, kind: KindName) -> str | None:
    """What is wrong with the key or the name for a kind of work, if the refusal is for that."""
    if error.rc in OF_THE_NAME:
        return f"{NAME_SETTINGS[kind]}: {error}"
    return key_mistake(error, settings)


async def first_word(api: HordeApi, settings: WorkerSettings) -> str | None:
    """What is wrong with the key, before anything is opened; None if nothing, or if the horde does
    not say. Raises Away."""
    needed = key_needed(settings)
    if needed is not None:
        return needed
    try:
        await api.introduce()
    except Refused as error:
        return key_mistake(error, settings)
    return None


def _get_one(settings: WorkerSettings) -> str:
    return f"{SET_KEY} {settings.horde_url}/register"
