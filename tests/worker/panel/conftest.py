# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real horde, a real worker with its panel, and a real browser to look at it."""

from collections.abc import Iterator

import pytest
from browsing import Browser, Place, chromium
from processes import RunningServer, data_folder, wait_until


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with data_folder() as folder, RunningServer(folder) as server:
        at = Place(server, folder)
        with at.worker:
            at.password = at.made_up()
            wait_until(at.seen_by_the_horde, "the horde meets the worker")
            yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened
