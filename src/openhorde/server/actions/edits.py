# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this process remembers of workers and users is forgotten as soon as it has changed."""

from typing import TYPE_CHECKING

from openhorde.server.store.signals import Edited, Offered

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


def forget_what_is_edited(horde: "Horde") -> None:
    """Listen for edits from now on, those of this process and of others, and for what workers offer
    to others.

    A signal may be lost: what is remembered has its maximum age all the same.
    """

    def edited(signal: Edited) -> None:
        if signal.noun == "worker":
            horde.check_ins.forget(signal.key)
        else:
            horde.accounts.forget(int(signal.key))
        horde.workforce.forget()

    def offered(signal: Offered) -> None:
        horde.check_ins.offered_elsewhere(signal.user_id, signal.name)
        horde.workforce.forget()

    def forget_all() -> None:
        horde.check_ins.forget_all()
        horde.accounts.forget_all()
        horde.workforce.forget()

    horde.signals.listen(Edited, edited)
    horde.signals.listen(Offered, offered)
    horde.signals.on_gap(forget_all)
