# SPDX-License-Identifier: AGPL-3.0-or-later
"""What callers hear while the disk is full, wherever it is noticed."""

from typing import Any

import asyncpg
import pytest
from obstore.exceptions import GenericError
from structlog.testing import capture_logs

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.operations import Call, Operation
from openhorde.server.api.table import OPERATIONS

BEAT = "/api/v2/status/heartbeat"
FAILURES = (
    asyncpg.DiskFullError("could not extend file: No space left on device"),
    OSError(28, "No space left on device"),
    GenericError("Generic LocalFileSystem error: No space left on device (os error 28)\n\nDebug"),
)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
async def test_a_call_that_finds_no_room_is_asked_to_come_again(
    horde: Horde, calling: Any, failure: Exception
) -> None:
    async def fail(call: Call) -> object:
        raise failure

    failing = Operation(
        name="fail", method="GET", path="/fail", handler=fail, summary="", tag="", limits=()
    )
    async with calling(create_app(horde, operations=(*OPERATIONS, failing))) as http:
        assert (await http.get(BEAT)).json()["message"] == "OK"
        with capture_logs() as logs:
            answer = await http.get("/fail")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"
        (line,) = logs
        assert (line["event"], line["log_level"]) == ("disk_full", "error")
        assert "exc_info" not in line
        assert "\n" not in line["reason"]
        beat = (await http.get(BEAT)).json()
        assert (beat["message"], beat["db_connection"]) == ("DOWN", "OK")
