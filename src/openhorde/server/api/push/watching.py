# SPDX-License-Identifier: AGPL-3.0-or-later
"""What operations that watch a request have in common: they are admitted, or told to come later."""

from uuid import UUID

from openhorde.server.actions.watching import TooManyWatchers, Watcher
from openhorde.server.api.operations import Answer, Call
from openhorde.server.kit.addresses import network
from openhorde.wire.errors import Error

RETRY_SECONDS = 10


async def watch(call: Call, request_id: UUID) -> Watcher | Answer:
    """A watcher of the request, or the answer that there are too many.

    Raises Refusal RequestNotFound.
    """
    address = network(call.client_address)
    try:
        return await call.horde.watches.open(request_id, address)
    except TooManyWatchers as refused:
        settings = call.horde.settings
        if refused.of_address:
            message = (
                f"Your address has {settings.watchers_per_address_max} event streams and held"
                " checks open, which is as many as it may. Close some, or ask without `wait`."
            )
        else:
            message = (
                f"This server holds {settings.watchers_max} event streams and checks, which is all"
                " it can. Ask without `wait`, or come back later."
            )
        return Answer(
            Error(message=message),
            429 if refused.of_address else 503,
            (("Retry-After", str(RETRY_SECONDS)),),
        )
