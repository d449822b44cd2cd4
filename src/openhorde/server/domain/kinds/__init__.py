# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kinds of work: each a module with the same face."""

from types import ModuleType
from typing import Final

from openhorde.server.domain.kinds import image

KINDS: Final[dict[str, ModuleType]] = {image.NAME: image}
