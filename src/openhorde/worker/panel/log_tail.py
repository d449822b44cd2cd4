# SPDX-License-Identifier: AGPL-3.0-or-later
"""The end of the log, kept in memory for the panel. Keys and prompts never get into it."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import structlog
from msgspec import Struct

LINES_MAX = 300
TEXT_LENGTH_MAX = 500
HIDDEN = "..."
# What may be in a log line only by mistake, and would tell of the people who asked.
PRIVATE = frozenset({"prompt", "negative_prompt", "apikey", "api_key", "payload", "password"})
OWN_NAMES = frozenset({"event", "level", "timestamp", "logger", "exc_info", "stack_info"})


class LogLine(Struct, frozen=True):
    """One entry: when, how bad (a method of the logger), what, and the facts."""

    at: datetime
    level: str
    text: str
    facts: dict[str, str]


class LogTail:
    """A structlog processor that keeps the last lines and passes every line on unchanged.

    `secrets` answers what is to be hidden wherever it turns up, such as the API key.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]], lines_max: int = LINES_MAX) -> None:
        self._secrets = secrets
        self._lines: deque[LogLine] = deque(maxlen=lines_max)

    @property
    def lines(self) -> list[LogLine]:
        """The last lines, the oldest first."""
        return list(self._lines)

    def __call__(
        self, logger: Any, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """Keep this line."""
        secrets = [secret for secret in self._secrets() if secret]
        facts = {
            name: HIDDEN if name in PRIVATE else _shown(value, secrets)
            for name, value in event.items()
            if name not in OWN_NAMES
        }
        text = _shown(event.get("event", ""), secrets)
        self._lines.append(LogLine(datetime.now(UTC), method, text, facts))
        return event

    def attach(self) -> Callable[[], None]:
        """Listen to everything that structlog logs; call the answer to stop that."""
        before = structlog.get_config()["processors"]
        structlog.configure(processors=[*before[:-1], self, before[-1]])
        return lambda: structlog.configure(processors=before)


def _shown(value: object, secrets: Iterable[str]) -> str:
    text = value if isinstance(value, str) else repr(value)
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text if len(text) <= TEXT_LENGTH_MAX else text[:TEXT_LENGTH_MAX] + " ..."
