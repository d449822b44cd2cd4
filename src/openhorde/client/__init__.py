# SPDX-License-Identifier: AGPL-3.0-or-later
"""The SDK: an async client and its blocking twin.

with Horde() as horde:
    horde.image("a lighthouse at dusk", steps=20)[0].save("lighthouse.webp")
"""

from openhorde.client.asynchronous import ANONYMOUS_KEY, DEFAULT_URL, AsyncHorde
from openhorde.client.blocking import Horde
from openhorde.client.errors import HordeError, HordeUnreachable
from openhorde.client.looks import Drawing, Look
from openhorde.client.metadata import read_facts
from openhorde.client.pictures import Picture, QueuedImage

__all__ = [
    "ANONYMOUS_KEY",
    "DEFAULT_URL",
    "AsyncHorde",
    "Drawing",
    "Horde",
    "HordeError",
    "HordeUnreachable",
    "Look",
    "Picture",
    "QueuedImage",
    "read_facts",
]
