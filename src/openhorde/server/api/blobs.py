# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures of a horde that keeps them in a folder: uploaded and fetched through signed URLs."""

from urllib.parse import parse_qsl

from openhorde.server.actions.pictures import is_upload_open
from openhorde.server.api.operations import Answer, Call, Operation
from openhorde.server.store.blobs import BlobGrant, BlobRefused, LocalBlobs
from openhorde.wire.errors import Error

_MEDIA_TYPES = {"webp": "image/webp", "png": "image/png", "jpg": "image/jpeg"}
_STATUSES = {"invalid_key": 404, "invalid_signature": 403, "expired": 403, "too_large": 413}
# What strangers uploaded must never run as a page of ours.
_SAFE = (
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)


async def get_blob(call: Call) -> Answer:
    """Fetch a picture."""
    try:
        blobs, grant = _granted(call, "GET")
        data = await blobs.get(grant.key)
    except BlobRefused as refused:
        return _refusal(refused)
    if data is None:
        return Answer(Error(message="There is no such picture (any more)."), 404)
    ending = grant.key.rpartition(".")[2]
    media_type = _MEDIA_TYPES.get(ending, "application/octet-stream")
    return Answer(data, headers=_SAFE, media_type=media_type)


async def put_blob(call: Call) -> Answer:
    """Upload a picture. The answer is exactly 200: workers take any other status for a failure."""
    try:
        blobs, grant = _granted(call, "PUT")
        if not await is_upload_open(call.horde, grant.key):
            raise BlobRefused("expired", "its job has been handed in")
        await blobs.receive(grant, call.chunks())
    except BlobRefused as refused:
        return _refusal(refused)
    return Answer(b"", 200)


def _granted(call: Call, method: str) -> tuple[LocalBlobs, BlobGrant]:
    """What the URL allows, checked before any of the body is read."""
    blobs = call.horde.blobs
    if not isinstance(blobs, LocalBlobs):
        raise BlobRefused("invalid_key", "pictures are kept elsewhere")
    query = dict(parse_qsl(call.query_string))
    return blobs, blobs.verify(method, call.path["key"], query, call.horde.clock.now())


def _refusal(refused: BlobRefused) -> Answer:
    return Answer(
        Error(message=f"This URL does not work: {refused.detail}."), _STATUSES[refused.reason]
    )


OPERATIONS = (
    Operation(
        name="get_blob",
        method="GET",
        path="/blobs/{key:path}",
        handler=get_blob,
        summary="Fetch a picture",
        tag="",
        limits=(),
    ),
    Operation(
        name="put_blob",
        method="PUT",
        path="/blobs/{key:path}",
        handler=put_blob,
        summary="Upload a picture",
        tag="",
        limits=(),
    ),
)
