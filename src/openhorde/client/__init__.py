# SPDX-License-Identifier: AGPL-3.0-or-later
"""The SDK: an async client and its blocking twin.

with Horde() as horde:
    horde.image("a lighthouse at dusk", steps=20)[0].save("lighthouse.webp")
    horde.caption("lighthouse.webp")
    horde.text("The lighthouse keeper")[0].text
"""

from openhorde.client.asynchronous import ANONYMOUS_KEY, DEFAULT_URL, AsyncHorde
from openhorde.client.blocking import Horde
from openhorde.client.errors import HordeError, HordeUnreachable, Impossible
from openhorde.client.forms import FormFault, FormResult, Keyword, QueuedForms
from openhorde.client.kinds import ALCHEMY, IMAGE, TEXT
from openhorde.client.looks import Drawing, Look
from openhorde.client.metadata import read_facts
from openhorde.client.pictures import Picture, QueuedImage
from openhorde.client.texts import QueuedText, Text
from openhorde.wire.alchemy import AskedForm

__all__ = [
    "ALCHEMY",
    "ANONYMOUS_KEY",
    "DEFAULT_URL",
    "IMAGE",
    "TEXT",
    "AskedForm",
    "AsyncHorde",
    "Drawing",
    "FormFault",
    "FormResult",
    "Horde",
    "HordeError",
    "HordeUnreachable",
    "Impossible",
    "Keyword",
    "Look",
    "Picture",
    "QueuedForms",
    "QueuedImage",
    "QueuedText",
    "Text",
    "read_facts",
]
