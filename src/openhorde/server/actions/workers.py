# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers: owners and moderators edit and delete them."""

from typing import TYPE_CHECKING
from uuid import UUID

from openhorde.server.domain import policy
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.shown_text import shown_text
from openhorde.server.store import workers
from openhorde.server.store.signals import Edited
from openhorde.server.store.workers import NameTaken, ShownWorker, WorkerChange

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

INFO_LENGTH_MAX = 1000
MESSAGE_LENGTH_MAX = 300


async def edit_worker(
    horde: "Horde", caller: "Account", worker_id: UUID, change: WorkerChange
) -> WorkerChange:
    """Change a worker; answers what was changed, as it was stored.

    Raises Refusal: WorkerNotFound, NoWorkerModSelected, NotOwner, NotModerator (to pause),
    AnonForbidden, WorkerNameAlreadyExists.
    """
    worker = await workers.shown_worker(horde.statements, worker_id)
    if worker is None:
        raise Refusal("WorkerNotFound", id=str(worker_id))
    if change == WorkerChange():
        raise Refusal("NoWorkerModSelected")
    if change.paused is not None and not caller.moderator:
        raise Refusal("NotModerator")
    _require_owner(caller, worker)
    cleaned = WorkerChange(
        maintenance=change.maintenance,
        maintenance_message=_clipped(change.maintenance_message, MESSAGE_LENGTH_MAX),
        paused=change.paused,
        info=_clipped(change.info, INFO_LENGTH_MAX),
        name=None if change.name is None else policy.worker_name(change.name),
    )
    try:
        if not await workers.change_worker(horde.statements, worker_id, cleaned):
            raise Refusal("WorkerNotFound", id=str(worker_id))
    except NameTaken:
        raise Refusal("WorkerNameAlreadyExists", name=cleaned.name) from None
    horde.signals.send(Edited("worker", worker.name))
    return cleaned


async def delete_worker(horde: "Horde", caller: "Account", worker_id: UUID) -> str:
    """Forget a worker; answers its name. Its owner and moderators may.

    Raises Refusal: WorkerNotFound, NotOwner, AnonForbidden.
    """
    worker = await workers.shown_worker(horde.statements, worker_id)
    if worker is None:
        raise Refusal("WorkerNotFound", id=str(worker_id))
    _require_owner(caller, worker)
    if not await workers.delete_worker(horde.statements, worker_id):
        raise Refusal("WorkerNotFound", id=str(worker_id))
    horde.signals.send(Edited("worker", worker.name))
    return worker.name


def _require_owner(caller: "Account", worker: ShownWorker) -> None:
    if caller.anonymous:
        raise Refusal("AnonForbidden")
    if caller.id != worker.user_id and not caller.moderator:
        raise Refusal("NotOwner", name=worker.name)


def _clipped(text: str | None, length: int) -> str | None:
    return None if text is None else shown_text(text, length)
