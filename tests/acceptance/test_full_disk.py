# SPDX-License-Identifier: AGPL-3.0-or-later
"""A disk that runs full: callers hear 503, nothing is lost, and all is well once there is room."""

import secrets
from typing import Any

import httpx
from cast import AGENT, picture_bytes
from full_disk import fill, may_mount, small_disk
from processes import RunningServer, run_horde, wait_until

POP = {"name": "Bob's machine", "models": ["any"], "bridge_agent": AGENT, "max_pixels": 4194304}
BEAT = "/api/v2/status/heartbeat"
SUBMITS_MAX = 2000


def request(prompt: str) -> dict[str, Any]:
    """A small request."""
    params = {"width": 64, "height": 64, "steps": 1}
    return {"prompt": prompt, "models": ["any"], "params": params}


def assert_full(answer: httpx.Response) -> None:
    """The call is refused for the time being."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"].isdigit()


if may_mount():  # In a container without that right only tests/api/test_full_disk.py tells.

    def test_a_full_disk_loses_nothing_and_is_said() -> None:
        with small_disk(220) as data, RunningServer(data) as server:
            key = server.add_user("Bob", kudos=100_000)
            with httpx.Client(base_url=server.url, headers={"apikey": key}, timeout=60) as http:
                _fill_and_make_room(server, http)
            said = server.said()
            assert "Traceback" not in said, said
            run_horde("ledger", "verify", "--data", str(data))

    def _fill_and_make_room(server: RunningServer, http: httpx.Client) -> None:
        def beat() -> Any:
            return http.get(BEAT).json()

        asked = [http.post("/api/v2/generate/async", json=request("x")).json()["id"]]
        job = http.post("/api/v2/generate/pop", json=POP).json()
        assert beat()["message"] == "OK"
        filler = fill(server.data)
        assert beat()["message"] == "DOWN"
        assert_full(http.put(job["r2_upload"], content=bytes(100_000)))
        for _ in range(SUBMITS_MAX):
            answer = http.post("/api/v2/generate/async", json=request(secrets.token_hex(12_000)))
            if answer.status_code != 202:
                break
            asked.append(answer.json()["id"])
        assert_full(answer)
        assert beat()["message"] == "DOWN"
        filler.unlink()
        wait_until(lambda: beat()["message"] == "OK", "the server says that it is well")
        done = {"id": job["id"], "generation": "R2", "seed": 1}
        assert http.put(job["r2_upload"], content=picture_bytes()).status_code == 200
        assert http.post("/api/v2/generate/submit", json=done).json()["reward"] > 0
        for each in asked:
            assert http.get(f"/api/v2/generate/check/{each}").status_code == 200
        assert http.post("/api/v2/generate/async", json=request("y")).status_code == 202
