# SPDX-License-Identifier: AGPL-3.0-or-later
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from openhorde.server.kit.logs import configure_logs


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_has_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(json=True, level="info")
    log = structlog.get_logger("room")
    log.debug("not shown")
    log.info("popped", worker="Bob", kudos=3)
    logging.getLogger("library").warning("slow: %s s", 5)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    ours, theirs, failed = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["worker"], ours["kudos"]) == ("popped", "Bob", 3)
    assert (ours["level"], ours["logger"]) == ("info", "room")
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["logger"]) == ("slow: 5 s", "library")
    assert "ValueError: broken" in failed["exception"]


def test_the_console_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    configure_logs()
    structlog.get_logger("room").info("popped", worker="Bob")
    (line,) = capsys.readouterr().err.splitlines()
    assert "popped" in line
    assert "worker=Bob" in line


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="use debug"):
        configure_logs(level="chatty")
