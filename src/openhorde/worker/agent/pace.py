# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many jobs must lie ready for engines not to wait for the horde: quick forms need several."""

import math
from collections import deque

CALLS_KEPT = 10
NEWEST_SHARE = 0.2
"""How much the newest job counts in the mean."""
AHEAD_MAX = 16
WAITED_CALLS_MAX = 2
"""Jobs that lie for longer than so many calls take are ahead enough."""


class Pace:
    """Of one kind of work: how long a call for it takes, and how long a job."""

    def __init__(self) -> None:
        self._calls_seconds: deque[float] = deque(maxlen=CALLS_KEPT)
        self._job_seconds: float | None = None
        self._waited_seconds = 0.0

    def called(self, seconds: float) -> None:
        """A call brought work after so long. The horde may have held it for most of that time."""
        self._calls_seconds.append(seconds)

    def ran(self, seconds: float, waited_seconds: float = 0.0) -> None:
        """A job was run in so long, after it had lain ready, or on its way, for some time."""
        self._waited_seconds = waited_seconds
        before = self._job_seconds
        self._job_seconds = (
            seconds if before is None else before + NEWEST_SHARE * (seconds - before)
        )

    def ahead(self, engines: int) -> int:
        """How many jobs so many engines do while work is called for."""
        if self._job_seconds is None or not self._calls_seconds:
            return 0
        # The shortest was not held.
        call_seconds = min(self._calls_seconds)
        if self._waited_seconds > WAITED_CALLS_MAX * call_seconds:
            # Something else holds them up: more of them would only grow old here.
            return 0
        jobs = engines * call_seconds / max(self._job_seconds, 1e-6)
        return min(math.ceil(jobs), AHEAD_MAX)
