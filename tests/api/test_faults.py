# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who asked hears why no worker can do a request."""

import httpx
import pytest
from cast import Cast, alchemy_pop, ask, ask_forms, image_pop
from text_cast import ask_text, text_pop

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.kinds.face import AnyPop

PATHS = {
    "image": "/api/v2/generate/status/",
    "text": "/api/v2/generate/text/status/",
    "alchemy": "/api/v2/interrogate/status/",
}
NOTES = [{"type": "information", "value": "see_ref", "ref": "The prompt is too long by 7."}]


@pytest.mark.parametrize("kind", PATHS)
async def test_the_reason_is_told_to_who_asks_for_it(
    horde: Horde, cast: Cast, http: httpx.AsyncClient, kind: str
) -> None:
    alice = await cast.alice()
    owners = [await cast.make("Bob"), await cast.make("Dora")]
    if kind == "image":
        request_id = await ask(horde, alice)
    elif kind == "text":
        request_id = await ask_text(horde, alice)
    else:
        request_id = await ask_forms(horde, alice, "caption")
    extras = {"openhorde-extras": "1"}
    for owner in owners:
        shown = (await http.get(f"{PATHS[kind]}{request_id}", headers=extras)).json()
        assert "message" not in shown
        name = f"worker of {owner.username}"
        pops: dict[str, AnyPop] = {
            "image": image_pop(name=name),
            "text": text_pop(name=name),
            "alchemy": alchemy_pop("caption", name=name),
        }
        (job,) = (await work.pop(horde, owner, pops[kind], "127.0.0.1")).jobs
        await work.give_up(horde, job.id, outcome="faulted", metadata=NOTES)
    shown = (await http.get(f"{PATHS[kind]}{request_id}", headers=extras)).json()
    if kind == "alchemy":
        assert shown["state"] == "faulted"
        assert shown["forms"][0]["reason"] == NOTES[0]["ref"]
        return
    assert shown["faulted"] is True
    assert shown["done"] is True
    assert shown["message"] == f"No worker can do this request: {NOTES[0]['ref']}"
    plain = (await http.get(f"{PATHS[kind]}{request_id}")).json()
    assert plain == {name: value for name, value in shown.items() if name != "message"}
