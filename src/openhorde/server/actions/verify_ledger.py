# SPDX-License-Identifier: AGPL-3.0-or-later
"""Proves that the ledger is what it was: sums, balances, chain and roots, from one snapshot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from openhorde.server.domain import ledger
from openhorde.server.domain.chain import EMPTY, FIRST, Head, Seal, root_message
from openhorde.server.kit.signing import is_signed
from openhorde.server.store import chain, kudos
from openhorde.server.store.chain import Block, LedgerCounts, Root

if TYPE_CHECKING:
    from openhorde.server.store.statements import Statements

FAULTS_MAX: Final = 100
"""So many faults of one sort are told."""

TRANSFERS_AT_ONCE: Final = 20_000
ROOTS_MAX: Final = 1_000_000

Progress = Callable[[int, int], None]
"""Called with the transfers of the chain that are checked, and how many there are."""


@dataclass(slots=True)
class Report:
    """What was checked and what is wrong, in sentences. A ledger without faults is proved."""

    checked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


async def verify(
    statements: "Statements",
    *,
    public_key: bytes | None,
    kept: Sequence[Root] | None,
    progress: Progress,
) -> Report:
    """Check everything. `public_key` is the one this machine signs with, if it has one; `kept` are
    roots that somebody outside has kept. `statements` run on a pool."""
    report = Report()
    async with statements.snapshot() as snapshot:
        counts = await chain.counts(snapshot)
        await _check_balances(snapshot, counts, report)
        await _check_places(snapshot, counts, report)
        stored = await chain.roots(snapshot, None, ROOTS_MAX)
        wanted = {root.block for root in (*stored, *(kept or ()))}
        hashes = await _check_chain(snapshot, counts, wanted, report, progress)
    _check_roots(stored, hashes, "root", report)
    if stored:
        report.checked.append(f"{len(stored)} roots: signatures, and their places in the chain")
        report.checked += _signers(stored, public_key)
    if kept is not None:
        _check_roots(kept, hashes, "kept root", report)
        _check_kept(kept, stored, report)
        report.checked.append(f"{len(kept)} roots kept elsewhere: the chain still holds them")
    return report


async def _check_balances(statements: "Statements", counts: LedgerCounts, report: Report) -> None:
    if counts.balances_milli:
        report.faults.append(
            f"All balances together are {_kudos(counts.balances_milli)}, and must be 0."
        )
    drifts = await kudos.drifting_accounts(statements)
    report.faults += [
        f"{_account(drift.account)} is {_kudos(drift.balance_milli)}, but its transfers make"
        f" {_kudos(drift.moved_milli)}."
        for drift in drifts[:FAULTS_MAX]
    ]
    report.faults += [
        f"{_account(drift.account)}: the total {drift.bucket} is {_kudos(drift.total_milli)}, but"
        f" its transfers make {_kudos(drift.moved_milli)}."
        for drift in await chain.drifting_buckets(statements, FAULTS_MAX)
    ]
    report.checked.append(f"{counts.accounts} balances: each the sum of its transfers, all 0")
    report.checked.append(f"{counts.buckets} totals by bucket: each the sum of its transfers")


async def _check_places(statements: "Statements", counts: LedgerCounts, report: Report) -> None:
    for one in await chain.misplaced(statements, FAULTS_MAX):
        name = f"Transfer {one.source_id} ({one.purpose})"
        if not one.booked and one.sealed:
            continue  # Its block tells.
        if not one.booked:
            report.faults.append(f"{name} waits to be folded, but there is no such transfer.")
        elif not one.sealed + one.unfolded:
            report.faults.append(
                f"{name} is in no block and does not wait to be folded: it was put in by hand."
            )
        else:
            report.faults.append(
                f"{name} is in blocks {one.sealed} times and waits to be folded {one.unfolded}"
                " times, where it must be once in all."
            )
    report.checked.append(
        f"{counts.transfers} transfers: each in one block, or one of those of"
        f" {counts.unfolded} bookings that wait to be folded"
    )


async def _check_chain(
    statements: "Statements",
    counts: LedgerCounts,
    wanted: set[int],
    report: Report,
    progress: Progress,
) -> dict[int, bytes]:
    """Recompute the chain; the hashes of the wanted blocks as they are stored."""
    hashes: dict[int, bytes] = {}
    head, some, transfers, done = EMPTY, list[Block](), 0, 0
    async for block in chain.blocks(statements):
        head = _check_link(head, block, report)
        if block.number in wanted:
            hashes[block.number] = block.hash
        some.append(block)
        transfers += block.transfers
        if transfers >= TRANSFERS_AT_ONCE:
            await _check_contents(statements, some, report)
            done += transfers
            progress(done, counts.transfers)
            some, transfers = [], 0
    if some:
        await _check_contents(statements, some, report)
        progress(done + transfers, counts.transfers)
    report.checked.append(f"{counts.blocks} blocks: the chain is whole, up to {head.hash.hex()}")
    return hashes


def _check_link(head: Head, block: Block, report: Report) -> Head:
    if block.number != head.number + 1:
        report.faults.append(f"Block {head.number + 1} is gone: block {block.number} follows.")
    elif block.previous != head.hash:
        before = "the beginning" if head.hash == FIRST else f"block {head.number}"
        report.faults.append(f"Block {block.number} does not follow {before}: one was changed.")
    return Head(block.number, block.hash)


async def _check_contents(
    statements: "Statements", blocks: Sequence[Block], report: Report
) -> None:
    """Recompute the hashes of blocks that follow each other."""
    seals = {block.number: Seal(block.previous, block.number, block.sealed_at) for block in blocks}
    broken: set[int] = set()
    listing = chain.transfers_of(statements, blocks[0].number, blocks[-1].number)
    async for number, listed in listing:
        if listed.entry is None:
            broken.add(number)
            report.faults.append(
                f"Block {number} lists transfer {listed.source_id} ({listed.purpose}), which is"
                " gone: it was deleted or renamed."
            )
            continue
        try:
            seals[number].add(listed.entry)
        except ValueError:
            report.faults.append(
                f"Transfer {listed.source_id} ({listed.purpose}) in block {number} holds a text"
                " that no transfer has: it was changed."
            )
            broken.add(number)
    report.faults += [
        f"Block {block.number} does not have the hash of its transfers: it, its time or one of its"
        f" {block.transfers} transfers was changed."
        for block in blocks
        if block.number not in broken and seals[block.number].digest() != block.hash
    ]


def _check_roots(
    roots: Sequence[Root], hashes: dict[int, bytes], name: str, report: Report
) -> None:
    for root in roots:
        message = root_message(root.day, Head(root.block, root.hash))
        if not is_signed(root.public_key, root.signature, message):
            report.faults.append(f"The {name} of {root.day} is not signed by its key.")
        if root.block not in hashes:
            report.faults.append(f"The {name} of {root.day} is block {root.block}, which is gone.")
        elif hashes[root.block] != root.hash:
            report.faults.append(
                f"The {name} of {root.day} is another block {root.block} than the chain's: what"
                " came before it was rewritten."
            )


def _check_kept(kept: Sequence[Root], stored: Sequence[Root], report: Report) -> None:
    ours = {root.day: root for root in stored}
    for root in kept:
        mine = ours.get(root.day)
        if mine is None:
            report.faults.append(f"The root of {root.day} was kept elsewhere, but is gone here.")
        elif mine != root:
            report.faults.append(f"The root of {root.day} is not the one that was kept elsewhere.")


def _signers(roots: Sequence[Root], public_key: bytes | None) -> list[str]:
    keys = dict.fromkeys(root.public_key for root in roots)
    return [
        f"roots are signed by key {key.hex()}"
        + (", this machine's" if key == public_key else ", which is not on this machine")
        for key in keys
    ]


def _kudos(milli: int) -> str:
    return f"{milli / 1000:.3f}".rstrip("0").rstrip(".") + " kudos"


def _account(number: int) -> str:
    names = {ledger.TREASURY: "The balance of the treasury", ledger.MINT: "The balance of the mint"}
    user_id = ledger.user_of(number)
    if user_id is None:
        return names.get(number, f"The balance of account {number}")
    sort = "escrow" if number % 2 else "balance"
    return f"The {sort} of user {user_id}"
