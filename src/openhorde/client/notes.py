# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker says of a result beside the result."""

from collections.abc import Iterable

from openhorde.wire.requests import Note


def words_of(notes: Iterable[Note]) -> list[str]:
    """Those of the notes that are words for people, in their order."""
    return [note.ref for note in notes if note.type == "information" and note.ref]
