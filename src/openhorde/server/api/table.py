# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table of all operations: routes, documents, rate limits and privileges are made of it."""

from openhorde.server.api import blobs, documents, pages
from openhorde.server.api.operations import Operation
from openhorde.server.api.v2 import requests, status, users, work, workers

OPERATIONS: tuple[Operation, ...] = (
    *requests.OPERATIONS,
    *work.OPERATIONS,
    *workers.OPERATIONS,
    *users.OPERATIONS,
    *status.OPERATIONS,
    *documents.OPERATIONS,
    *pages.OPERATIONS,
    *blobs.OPERATIONS,
)
