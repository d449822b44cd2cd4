# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a text as a stream of events."""

from typing import Any

import httpx
import pytest
from api.test_text import ask, write
from text_cast import with_text_models

from openhorde.server.actions.horde import Horde


@pytest.fixture
def horde(horde: Horde) -> Horde:
    """A horde that knows the sizes of some text models."""
    return with_text_models(horde)


async def test_a_stream_tells_of_a_text(http: httpx.AsyncClient, join: Any, follow: Any) -> None:
    charlie, bob = await join("Charlie"), await join("Bob")
    request_id = await ask(http, charlie)
    stream = follow(request_id)
    await stream.named("queued")
    job_id = await write(http, bob)
    events = await stream.all()
    assert [each.name for each in events][-3:] == ["started", "generation", "done"]
    assert (events[-2].data["id"], events[-2].data["text"]) == (job_id, "Once upon a time")
    assert events[-1].data["generations"] == [events[-2].data]
    assert events[-1].data["done"]
