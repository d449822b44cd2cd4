# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process that stops an embedded PostgreSQL when its last user is gone, however it went.

Run as a script by `postgres.py`, with the standard library only. Each user holds a shared lock on
the users' file; the kernel drops it even when the user is killed. The keeper waits for the
exclusive lock, stops the server and ends.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence


def stop_server(
    server_file: str, command: Sequence[str], user: int | None, group: int | None
) -> None:
    """Run the command that stops the server, as the given ids, if any process of it is left.

    They all hold a lock on `server_file`. Without a server pg_ctl would signal whoever bears the
    process id in a stale file.
    """
    with open(server_file, "rb") as server:
        try:
            fcntl.flock(server, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
    subprocess.run(  # noqa: S603 - a program of the wheel
        command,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def main() -> None:
    """Arguments: the users' file, the file descriptor of the keeper's lock, and `stop_server`'s
    arguments as a JSON list."""
    users_file, keeper_lock, stop_arguments = sys.argv[1:]
    if os.fork():
        # The parent ends at once, so that the keeper is nobody's child to wait for.
        return
    os.setsid()
    os.chdir("/")
    # A supervisor that signals the whole group means the server; the keeper leaves with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(users_file, "rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        stop_server(*json.loads(stop_arguments))
        # In this order: whoever then gets the users' lock sees that there is no keeper any more.
        os.close(int(keeper_lock))


if __name__ == "__main__":
    main()
