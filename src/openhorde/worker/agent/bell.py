# SPDX-License-Identifier: AGPL-3.0-or-later
"""Something has changed: whoever waits for that looks again."""

import asyncio


class Bell:
    """Take `next_ring` before looking whether there is anything to do, then wait for it."""

    def __init__(self) -> None:
        self.next_ring = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        rung, self.next_ring = self.next_ring, asyncio.Event()
        rung.set()
