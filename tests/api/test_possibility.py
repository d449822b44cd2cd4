# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the wire says of the prospects of a request."""

from typing import Any

import httpx
import pytest
from cast import Cast, image_pop

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde

PATH = "/api/v2/generate/async"
BODY: dict[str, Any] = {"prompt": "a red circle", "params": {"width": 1024, "height": 1024}}
PROSPECTS = {"is_possible", "workers_fitting", "eta", "ruled_out", "nearest"}


@pytest.fixture
async def headers(horde: Horde, cast: Cast, join: Any) -> dict[str, str]:
    """Of somebody who asks. A worker for small pictures is online."""
    await work.pop(horde, await cast.bob(), image_pop(max_pixels=512 * 512), "127.0.0.1")
    asker = await join("Alice")
    return {"Client-Agent": "test:1:nobody", **asker.headers}


async def test_a_request_that_somebody_fits(
    http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await http.post(PATH, headers=headers, json={"prompt": "a red circle"})
    queued = answer.json()
    assert answer.status_code == 202
    assert PROSPECTS & queued.keys() == {"is_possible", "workers_fitting", "eta"}
    assert (queued["is_possible"], queued["workers_fitting"]) == (True, 1)
    assert 0 < queued["eta"]["p50"] <= queued["eta"]["p90"]
    assert "message" not in queued


@pytest.mark.parametrize("dry_run", [False, True])
async def test_an_impossible_request_can_be_changed_as_it_is_told(
    http: httpx.AsyncClient, headers: dict[str, str], dry_run: bool
) -> None:
    told = (await http.post(PATH, headers=headers, json={**BODY, "dry_run": dry_run})).json()
    assert PROSPECTS & told.keys() == {"is_possible", "workers_fitting", "ruled_out", "nearest"}
    assert (told["is_possible"], told["workers_fitting"]) == (False, 0)
    assert told["ruled_out"] == [
        {
            "reason": "max_pixels",
            "workers": 1,
            "alone": 1,
            "sentence": "1 of 1 worker online does not make pictures as large as this one.",
        }
    ]
    assert told["nearest"]["changes"] == {"params.width": 512, "params.height": 512}
    (warning,) = told["warnings"]
    assert told["ruled_out"][0]["sentence"] in warning["message"]
    assert told["nearest"]["sentence"] in warning["message"]
    params = {
        path.removeprefix("params."): side for path, side in told["nearest"]["changes"].items()
    }
    changed = {"prompt": BODY["prompt"], "params": params, "dry_run": dry_run}
    assert (await http.post(PATH, headers=headers, json=changed)).json()["is_possible"]
