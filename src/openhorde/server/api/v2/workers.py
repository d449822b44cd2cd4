# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers: who is there, what one of them can do; owners and moderators change them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from openhorde.server.actions import workers as actions
from openhorde.server.api.operations import Bucket, Call, Limit, Operation, Who, uuid_of
from openhorde.server.api.v2.workers_shown import KIND_OF_TYPE, show_worker
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import workers
from openhorde.server.store.workers import WorkerChange
from openhorde.wire.workers import WorkerDeleted, WorkerDetails, WorkerEdit


class WorkersQuery(Struct, kw_only=True):
    """Which workers: of one type, or with some letters in their name."""

    type: Literal["image", "text", "interrogation"] | None = None
    name: Annotated[str, Meta(max_length=255)] | None = None


async def get_workers(call: Call) -> list[WorkerDetails]:
    """The workers that checked in during the last five minutes."""
    query: WorkersQuery = call.query
    kind = KIND_OF_TYPE[query.type] if query.type else None
    statements = call.horde.statements
    ids = await workers.online_worker_ids(statements, kind=kind, name_part=query.name)
    moderator = _is_moderator(call)
    return [show_worker(each, moderator) for each in await workers.shown_workers(statements, ids)]


async def get_worker(call: Call) -> WorkerDetails:
    """One worker by its id."""
    worker_id = uuid_of(call.path["worker_id"], "WorkerNotFound")
    worker = await workers.shown_worker(call.horde.statements, worker_id)
    if worker is None:
        raise Refusal("WorkerNotFound", id=str(worker_id))
    return show_worker(worker, _is_moderator(call))


async def get_worker_by_name(call: Call) -> WorkerDetails:
    """One worker by its exact name."""
    name = call.path["worker_name"]
    statements = call.horde.statements
    worker_id = None if "\0" in name else await workers.worker_id_by_name(statements, name)
    worker = None if worker_id is None else await workers.shown_worker(statements, worker_id)
    if worker is None:
        raise Refusal("WorkerNotFound", id=name)
    return show_worker(worker, _is_moderator(call))


async def put_worker(call: Call) -> WorkerEdit:
    """Change a worker; answers what has changed."""
    worker_id = uuid_of(call.path["worker_id"], "WorkerNotFound")
    edit: WorkerEdit = call.body
    changed = await actions.edit_worker(
        call.horde,
        call.caller,
        worker_id,
        WorkerChange(
            maintenance=edit.maintenance,
            maintenance_message=edit.maintenance_msg,
            paused=edit.paused,
            info=edit.info,
            name=edit.name,
        ),
    )
    return WorkerEdit(
        maintenance=changed.maintenance,
        maintenance_msg=changed.maintenance_message,
        paused=changed.paused,
        info=changed.info,
        name=changed.name,
    )


async def delete_worker(call: Call) -> WorkerDeleted:
    """Forget a worker."""
    worker_id = uuid_of(call.path["worker_id"], "WorkerNotFound")
    name = await actions.delete_worker(call.horde, call.caller, worker_id)
    return WorkerDeleted(deleted_id=str(worker_id), deleted_name=name)


def _is_moderator(call: Call) -> bool:
    return call.account is not None and call.account.moderator


_LIMITS = (Limit("30/minute", Bucket.ADDRESS_AND_PATH),)
_EDIT_REFUSALS = ("InvalidAPIKey", "WorkerNotFound", "NotOwner", "AnonForbidden")

OPERATIONS = (
    Operation(
        name="get_workers",
        method="GET",
        path="/api/v2/workers",
        handler=get_workers,
        summary="The workers that are online",
        tag="workers",
        who=Who.OPTIONAL,
        query=WorkersQuery,
        answer=list[WorkerDetails],
        refusals=("InvalidAPIKey",),
        cache_seconds=2,
    ),
    Operation(
        name="get_worker_single_name",
        method="GET",
        path="/api/v2/workers/name/{worker_name:path}",
        handler=get_worker_by_name,
        summary="One worker by its name",
        tag="workers",
        who=Who.OPTIONAL,
        answer=WorkerDetails,
        refusals=("InvalidAPIKey", "WorkerNotFound"),
    ),
    Operation(
        name="get_worker_single",
        method="GET",
        path="/api/v2/workers/{worker_id}",
        handler=get_worker,
        summary="One worker by its id",
        tag="workers",
        who=Who.OPTIONAL,
        answer=WorkerDetails,
        limits=_LIMITS,
        refusals=("InvalidAPIKey", "WorkerNotFound"),
    ),
    Operation(
        name="put_worker_single",
        method="PUT",
        path="/api/v2/workers/{worker_id}",
        handler=put_worker,
        summary="Change a worker: its owner or a moderator",
        tag="workers",
        who=Who.USER,
        body=WorkerEdit,
        answer=WorkerEdit,
        limits=_LIMITS,
        refusals=(
            *_EDIT_REFUSALS,
            "NoWorkerModSelected",
            "NotModerator",
            "WorkerNameAlreadyExists",
            "BadRequest",
        ),
    ),
    Operation(
        name="delete_worker_single",
        method="DELETE",
        path="/api/v2/workers/{worker_id}",
        handler=delete_worker,
        summary="Forget a worker: its owner or a moderator",
        tag="workers",
        who=Who.KNOWN,
        answer=WorkerDeleted,
        limits=_LIMITS,
        refusals=_EDIT_REFUSALS,
    ),
)
