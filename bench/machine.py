# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this machine is, and what its processes have used of it (Linux: read from /proc)."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openhorde

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def facts(postgres_version: str) -> dict[str, Any]:
    """What a figure must be read with."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_count": len(os.sched_getaffinity(0)),
        "cpu_model": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": postgres_version,
        "openhorde": openhorde.__version__,
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def process_seconds(process_id: int) -> float:
    """CPU time of a process and of its children that have ended."""
    return sum(_fields(process_id)[11:15]) / _TICKS_PER_SECOND


def family_seconds(process_id: int) -> float:
    """CPU time of a process and all its descendants, living or not."""
    total = 0.0
    for member in _family(process_id):
        try:
            total += process_seconds(member)
        except OSError:
            continue  # It ended while we looked.
    return total


def family_memory_bytes(process_id: int) -> dict[str, int]:
    """Memory of a process and all its living descendants: `rss` (what is resident, shared pages
    counted once for each) and `pss` (shared pages divided among those who share them)."""
    found = {"rss": 0, "pss": 0}
    for member in _family(process_id):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, rest = line.partition(":")
            if name.lower() in found:
                found[name.lower()] += int(rest.split()[0]) * 1024
    return found


def _family(process_id: int) -> list[int]:
    """A process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = _fields(int(entry.name))[1]
            except (OSError, IndexError):
                continue  # It ended while we looked.
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [process_id]
    while todo:
        current = todo.pop()
        found.append(current)
        todo += children.get(current, [])
    return found


def busy_seconds() -> float:
    """CPU time that the whole machine has spent at work since it was started."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, interrupts, soft, *_ = (int(word) for word in words)
    return (user + nice + system + interrupts + soft) / _TICKS_PER_SECOND


def _fields(process_id: int) -> list[int]:
    """The numbers of /proc/PID/stat behind the name (which may hold anything) and the state."""
    text = Path(f"/proc/{process_id}/stat").read_text()
    return [0, *(int(word) for word in text.rpartition(")")[2].split()[1:])]
