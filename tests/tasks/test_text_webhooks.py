# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks of texts."""

from cast import Cast
from standardwebhooks import Webhook
from tasks.receiver import Receiver
from text_cast import ask_text, take_text, text_delivery, with_text_models

from openhorde.server.actions import webhooks, work
from openhorde.server.actions.horde import Horde
from openhorde.server.tasks import call_webhooks


async def test_a_webhook_is_told_the_text(
    calling_horde: Horde, cast: Cast, receiver: Receiver
) -> None:
    horde = with_text_models(calling_horde)
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask_text(horde, alice, webhook=receiver.url())
    (job_id,) = await take_text(horde, bob)
    reward_milli = await work.deliver(horde, bob, text_delivery(job_id, "Once upon a time"))
    await call_webhooks.run(horde)
    (heard,) = receiver.heard
    told = Webhook(webhooks.secret(horde, request_id)).verify(heard.body, heard.headers)
    assert told == {
        "id": str(job_id),
        "text": "Once upon a time",
        "model": "seven",
        "worker_id": told["worker_id"],
        "worker_name": "Bob's scribe",
        "seed": 0,
        "state": "ok",
        "gen_metadata": [],
        "request": str(request_id),
        "kudos": reward_milli / 1000,
    }
