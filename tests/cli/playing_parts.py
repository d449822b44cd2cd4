# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python playing_parts.py FOLDER PORT`: `horde up` with playing parts, as a program."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from client.playing_horde import GOOD_KEY  # noqa: E402

from openhorde.cli.private_horde import Parts  # noqa: E402
from openhorde.cli.signals import Stopped  # noqa: E402
from openhorde.cli.up import run_up  # noqa: E402


async def add_operator(environment: Mapping[str, str], data: Path) -> str:
    """Notes that it was called."""
    with (data / "operators-made").open("a") as made:
        made.write("one\n")
    return GOOD_KEY


def playing_parts(**changes: list[str]) -> Parts:
    """A server and a worker that start at once."""
    play = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from client.playing_horde import main"
    scripts = {
        "server": [sys.executable, "-c", f"{play}; main()"],
        "worker": [sys.executable, str(TESTS / "cli" / "playing_worker.py")],
        **changes,
    }
    return Parts(
        server=scripts["server"],
        worker=scripts["worker"],
        add_operator=add_operator,
        restart_seconds=(0.0,),
    )


if __name__ == "__main__":
    try:
        asyncio.run(run_up(Path(sys.argv[1]), int(sys.argv[2]), parts=playing_parts()))
    except Stopped:
        print("stopped")
