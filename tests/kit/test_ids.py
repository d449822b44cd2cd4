# SPDX-License-Identifier: AGPL-3.0-or-later
import hashlib
import time
from datetime import UTC, datetime

import pytest

from openhorde.server.kit import ids


def test_an_id_says_its_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    # The example of RFC 9562, appendix A.6.
    moment = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    monkeypatch.setattr(time, "time_ns", lambda: int(moment.timestamp()) * 1_000_000_000)
    new = ids.uuid7()
    assert str(new).startswith("017f22e2-79b0-7000-")
    assert new.version == 7
    assert new.variant == "specified in RFC 4122"


def test_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [5_000_000_000_000_000 + step * 250 for step in range(5000)]
    made = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        made.append(ids.uuid7())
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_key_is_22_characters_and_stored_as_its_salted_hash() -> None:
    key = ids.new_api_key()
    assert len(key) == 22
    assert key != ids.new_api_key()
    assert ids.hash_key(b"salt", key) == hashlib.sha256(b"salt" + key.encode()).digest()
    assert ids.hash_key(b"salt", key) != ids.hash_key(b"other", key)
