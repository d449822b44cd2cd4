# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker check` against a real horde."""

import httpx
from processes import RunningServer, data_folder, run_horde


def test_a_check_registers_no_worker() -> None:
    with data_folder() as data, RunningServer(data, workers_per_owner="1") as server:
        key = server.add_user("Bob", trusted=False)
        told = ("--backends", "fake", "--url", server.url, "--api-key", key)
        for name in ("first", "second"):
            run_horde("worker", "check", "--worker-name", name, *told)
            assert httpx.get(f"{server.url}/api/v2/workers", timeout=30).json() == []
