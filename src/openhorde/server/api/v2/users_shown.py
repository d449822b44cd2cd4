# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is shown of an account, and to whom."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntEnum
from uuid import UUID

from openhorde.server.actions.user_edits import Edit
from openhorde.server.domain.transfers import monthly_milli
from openhorde.server.store.users import ShownUser
from openhorde.wire.users import (
    ActiveGenerations,
    AmountRecords,
    Contributions,
    KudosDetails,
    MonthlyKudos,
    Records,
    ThingRecords,
    Usage,
    UserDetails,
    UserEdited,
)

_MEGA = 1_000_000


class Level(IntEnum):
    """How much the caller may see."""

    PUBLIC = 0
    SELF = 1
    MODERATOR = 2


def show_user(
    user: ShownUser, level: Level, now: datetime, requests: Iterable[tuple[UUID, str]] = ()
) -> UserDetails:
    """An account as somebody of that level sees it; `requests` are its open ones (id, kind)."""
    shown = _public(user, now)
    worker_ids = [str(each) for each in user.worker_ids]
    if user.public_workers or level >= Level.SELF:
        shown.worker_ids = worker_ids
    if level >= Level.SELF:
        shown.sharedkey_ids = []
        shown.contact = user.contact
        shown.vpn = "vpn" in user.roles
        shown.special = "special" in user.roles
        shown.active_generations = _generations(requests)
    if level >= Level.MODERATOR:
        shown.evaluating_kudos = user.escrow_milli / 1000
        shown.monthly_kudos = _monthly_kudos(user)
        shown.suspicious = user.suspicion
        shown.admin_comment = user.admin_comment
    return shown


def _public(user: ShownUser, now: datetime) -> UserDetails:
    records = _records(user)
    return UserDetails(
        username=f"{user.username}#{user.id}",
        id=user.id,
        kudos=user.balance_milli / 1000,
        kudos_details=_kudos_details(user),
        concurrency=user.concurrency,
        worker_invited=user.worker_invited,
        moderator="moderator" in user.roles,
        trusted="trusted" in user.roles,
        flagged="flagged" in user.roles,
        service="service" in user.roles,
        education="education" in user.roles,
        customizer="customizer" in user.roles,
        deleted="deleted" in user.roles,
        pseudonymous=user.pseudonymous,
        worker_count=len(user.worker_ids),
        account_age=max(0, int((now - user.created_at).total_seconds())),
        records=records,
        usage=Usage(
            megapixelsteps=records.usage.megapixelsteps,
            requests=records.request.image + records.request.text + records.request.interrogation,
        ),
        contributions=Contributions(
            megapixelsteps=records.contribution.megapixelsteps,
            fulfillments=records.fulfillment.image
            + records.fulfillment.text
            + records.fulfillment.interrogation,
        ),
    )


def _monthly_kudos(user: ShownUser) -> MonthlyKudos:
    granted = monthly_milli(user.monthly_kudos_milli, moderator="moderator" in user.roles)
    received_at = user.monthly_kudos_received_at
    return MonthlyKudos(
        amount=granted // 1000,
        last_received=None
        if received_at is None
        else received_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _kudos_details(user: ShownUser) -> KudosDetails:
    known = KudosDetails.__struct_fields__
    return KudosDetails(
        **{bucket: milli / 1000 for bucket, milli in user.buckets.items() if bucket in known}
    )


def _records(user: ShownUser) -> Records:
    nothing = (0, 0, 0, 0)
    image, text, alchemy = (
        user.records.get(kind, nothing) for kind in ("image", "text", "alchemy")
    )
    return Records(
        usage=ThingRecords(megapixelsteps=image[1] / _MEGA, tokens=text[1]),
        contribution=ThingRecords(megapixelsteps=image[3] / _MEGA, tokens=text[3]),
        request=AmountRecords(image=image[0], text=text[0], interrogation=alchemy[0]),
        fulfillment=AmountRecords(image=image[2], text=text[2], interrogation=alchemy[2]),
    )


def _generations(requests: Iterable[tuple[UUID, str]]) -> ActiveGenerations:
    active = ActiveGenerations()
    for request_id, kind in requests:
        getattr(active, kind).append(str(request_id))
    return active


def show_edit(edit: Edit) -> UserEdited:
    """What an edit has changed, and nothing else."""
    change = edit.change
    return UserEdited(
        new_kudos=None if edit.balance_milli is None else edit.balance_milli / 1000,
        monthly_kudos=None if edit.monthly_milli is None else edit.monthly_milli // 1000,
        usage_multiplier=change.usage_multiplier,
        concurrency=change.concurrency,
        worker_invited=change.worker_invited,
        public_workers=change.public_workers,
        username=change.username,
        contact=change.contact,
        admin_comment=change.admin_comment,
        new_suspicion=0 if change.reset_suspicion else None,
        **dict.fromkeys(change.roles_taken, False),
        **dict.fromkeys(change.roles_given, True),
    )
