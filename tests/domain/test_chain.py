# SPDX-License-Identifier: AGPL-3.0-or-later
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from openhorde.server.domain import ledger
from openhorde.server.domain.chain import (
    EMPTY,
    FIRST,
    Entry,
    Head,
    entry_bytes,
    root_message,
    seal,
)
from openhorde.server.domain.ledger import Bucket, Phase, Purpose, Transfer

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ROOT = UUID(int=7)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
BUCKETS = st.sampled_from([None, *get_args(Bucket)])
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
TRANSFERS = st.builds(
    Transfer,
    source_id=st.uuids(),
    purpose=st.sampled_from(get_args(Purpose)),
    phase=st.sampled_from(get_args(Phase)),
    debit=NUMBERS,
    credit=NUMBERS,
    amount_milli=NUMBERS,
    hold=st.none() | st.uuids(),
    debit_bucket=BUCKETS,
    credit_bucket=BUCKETS,
)
ENTRIES = st.builds(Entry, TRANSFERS, MOMENTS)
BLOCKS = st.lists(st.lists(ENTRIES, min_size=1, max_size=4), min_size=1, max_size=4)


def head_of(blocks: list[list[Entry]]) -> Head:
    head = EMPTY
    for block in blocks:
        head = seal(head, NOW, block)
    return head


def test_the_encoding_is_as_documented() -> None:
    entry = Entry(
        Transfer(
            source_id=UUID(int=1),
            purpose="tax",
            phase="posted",
            debit=-1,
            credit=2,
            amount_milli=3,
            hold=UUID(int=4),
            credit_bucket="gifted",
        ),
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    )
    assert entry_bytes(entry) == (
        bytes(15) + b"\x01"
        b"\x03tax"
        b"\x06posted"
        + b"\xff" * 8 + bytes(7) + b"\x02" + bytes(7) + b"\x03"
        + (1_000_000).to_bytes(8)
        + b"\x10" + bytes(15) + b"\x04"
        b"\xff"
        b"\x06gifted"
    )  # fmt: skip


def test_a_chain_begins_and_goes_on() -> None:
    assert Head(0, FIRST) == EMPTY
    first = seal(EMPTY, NOW, [])
    assert (first.number, len(first.hash)) == (1, 32)
    assert seal(first, NOW, []).number == 2
    assert seal(EMPTY, NOW + timedelta(microseconds=1), []).hash != first.hash
    assert seal(Head(1, FIRST), NOW, []).hash != first.hash


def test_what_is_signed_is_text() -> None:
    message = root_message(date(2026, 7, 1), Head(5, b"\xab"))
    assert message == b"openhorde ledger root\n2026-07-01\n5\nab\n"


@pytest.mark.parametrize("field", Transfer.__struct_fields__)
@given(entry=ENTRIES, other=TRANSFERS)
@settings(max_examples=30, deadline=None)
def test_every_field_counts(field: str, entry: Entry, other: Transfer) -> None:
    assume(getattr(entry.transfer, field) != getattr(other, field))
    changes: dict[str, Any] = {field: getattr(other, field)}
    edited = msgspec.structs.replace(entry.transfer, **changes)
    assert entry_bytes(entry) != entry_bytes(Entry(edited, entry.recorded_at))


@given(entry=ENTRIES, moment=MOMENTS)
def test_the_moment_counts(entry: Entry, moment: datetime) -> None:
    assume(entry.recorded_at != moment)
    assert entry_bytes(entry) != entry_bytes(Entry(entry.transfer, moment))


@given(one=ENTRIES, two=ENTRIES)
def test_no_bytes_begin_with_anothers(one: Entry, two: Entry) -> None:
    # So that a row of entries can be taken apart in one way only.
    assume(one != two)
    assert not entry_bytes(one).startswith(entry_bytes(two))


@given(blocks=BLOCKS, data=st.data())
@settings(deadline=None)
def test_every_edit_changes_the_head(blocks: list[list[Entry]], data: st.DataObject) -> None:
    before = head_of(blocks)
    changed = [list(block) for block in blocks]
    block = data.draw(st.sampled_from(changed))
    place = data.draw(st.integers(0, len(block) - 1))
    how = data.draw(st.sampled_from(["edit", "delete", "insert", "swap", "move"]))
    if how == "edit":
        block[place] = data.draw(ENTRIES)
    elif how == "delete":
        del block[place]
    elif how == "insert":
        block.insert(place, data.draw(ENTRIES))
    elif how == "swap":
        block[place], block[0] = block[0], block[place]
    else:
        changed[-1].append(block.pop(place))
    assume(changed != blocks)
    assert head_of(changed) != before


@given(blocks=BLOCKS)
def test_a_block_less_changes_the_head(blocks: list[list[Entry]]) -> None:
    assert head_of(blocks[:-1]) != head_of(blocks)
    assert head_of(blocks[1:]) != head_of(blocks)


MOVES = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.integers(-60_000, 100_000)), min_size=1, max_size=25
)


@given(moves=MOVES, cuts=st.sets(st.integers(1, 24)))
@settings(deadline=None)
def test_balances_do_not_depend_on_how_the_folds_are_cut(
    moves: list[tuple[int, int]], cuts: set[int]
) -> None:
    floors = {0: -50_000, 2: 25_000, 4: 14_000}
    transfers = [
        leg
        for number, (user, milli) in enumerate(moves)
        for leg in ledger.grant(uuid5(ROOT, str(number)), user, milli, purpose="admin")
    ]
    whole = ledger.fold({}, {}, transfers, floors)
    balances: dict[int, int] = {}
    sealed: list[Transfer] = []
    bounds = [0, *sorted(cut for cut in cuts if cut < len(transfers)), len(transfers)]
    for start, end in pairwise(bounds):
        part = ledger.fold(balances, {}, transfers[start:end], floors)
        balances, sealed = part.balances, [*sealed, *part.applied]
    assert balances == whole.balances
    assert tuple(sealed) == whole.applied
    # What the blocks list is all there is to a balance, floors included.
    assert ledger.fold({}, {}, sealed, {}).balances == balances
