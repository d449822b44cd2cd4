# SPDX-License-Identifier: AGPL-3.0-or-later
"""One log for our own events and for those of the libraries, on standard error."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor


def configure_logs(json: bool = False, level: str = "info", *, process: int | None = None) -> None:
    """Set up structlog and the standard library's logging to write the same lines.

    `json` gives one JSON object per line, else readable console lines (coloured on a terminal).
    `level` is debug, info, warning or error; ValueError for anything else. With several processes
    each says its number, `process`, in every line. May be called again.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"log level {level!r} is unknown: use debug, info, warning or error")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if process is not None:
        shared.insert(0, _say_process(process))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Cached loggers would keep the processors of an earlier call.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)


def _say_process(number: int) -> Processor:
    def say(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["process"] = number
        return event

    return say


def _renderers(json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The richer formatters print local variables: keys, prompts, deep bodies for minutes on end.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
