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


def main() -> None:
    """Argument: a JSON object with users_file, keeper_lock (a file descriptor), stop (a command),
    user and group (ids, or null)."""
    facts = json.loads(sys.argv[1])
    if os.fork():
        # The parent ends at once, so that the keeper is nobody's child to wait for.
        return
    os.setsid()
    os.chdir("/")
    # A supervisor that signals the whole group means the server; the keeper leaves with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(facts["users_file"], "rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        subprocess.run(  # noqa: S603 - the command our parent gave
            facts["stop"],
            user=facts["user"],
            group=facts["group"],
            extra_groups=None if facts["user"] is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        # In this order: whoever then gets the users' lock sees that there is no keeper any more.
        os.close(facts["keeper_lock"])


if __name__ == "__main__":
    main()
