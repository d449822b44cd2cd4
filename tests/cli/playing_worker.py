# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plays the worker of a private horde: checks in for all work, waits for SIGTERM, drains."""

import json
import os
import signal
import urllib.request

from openhorde.cli.readiness import tell_ready


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    name = os.environ["OPENHORDE_WORKER_WORKER_NAME"]
    pops = {"generate": name, "interrogate": f"{name} alchemist", "generate/text": f"{name} scribe"}
    for path, known_as in pops.items():
        request = urllib.request.Request(
            f"{os.environ['OPENHORDE_WORKER_HORDE_URL']}/api/v2/{path}/pop",
            data=json.dumps({"name": known_as}).encode(),
            headers={"apikey": os.environ["OPENHORDE_WORKER_API_KEY"]},
        )
        urllib.request.urlopen(request).close()
    print("checked in", flush=True)
    tell_ready(os.environ)
    signal.sigwait({signal.SIGTERM})
    print("drained", flush=True)


if __name__ == "__main__":
    main()
