# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table of all operations: routes, documents, rate limits and privileges are made of it."""

from openhorde.server.api import blobs
from openhorde.server.api.documents import document_operations
from openhorde.server.api.operations import Operation
from openhorde.server.api.pages import front, register, source
from openhorde.server.api.push import events, steps
from openhorde.server.api.v2 import (
    alchemy,
    kudos,
    requests,
    stats,
    status,
    text,
    users,
    webhooks,
    work,
    workers,
)

_DECLARED: tuple[Operation, ...] = (
    *requests.OPERATIONS,
    *events.OPERATIONS,
    *webhooks.OPERATIONS,
    *work.OPERATIONS,
    *alchemy.OPERATIONS,
    *text.OPERATIONS,
    *steps.OPERATIONS,
    *workers.OPERATIONS,
    *users.OPERATIONS,
    *kudos.OPERATIONS,
    *register.OPERATIONS,
    *status.OPERATIONS,
    *stats.OPERATIONS,
    *front.OPERATIONS,
    *source.OPERATIONS,
    *blobs.OPERATIONS,
)

OPERATIONS: tuple[Operation, ...] = (*_DECLARED, *document_operations(_DECLARED))
