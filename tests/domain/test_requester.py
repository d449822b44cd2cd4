# SPDX-License-Identifier: AGPL-3.0-or-later
from openhorde.server.domain.requester import floor_milli


def test_floors() -> None:
    assert floor_milli(anonymous=True, pseudonymous=False) == -50_000
    assert floor_milli(anonymous=False, pseudonymous=True) == 14_000
    assert floor_milli(anonymous=False, pseudonymous=False) == 25_000
