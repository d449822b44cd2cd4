# SPDX-License-Identifier: AGPL-3.0-or-later
"""The owner's settings, which may change while the worker works."""

from openhorde.worker.settings import WorkerSettings


class Wishes:
    """Holds the settings; who needs one reads it from `now` each time, and so sees a change."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.now = settings
