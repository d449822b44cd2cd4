# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plays the worker of a private horde: checks in, waits for SIGTERM, says that it drained."""

import json
import os
import signal
import urllib.request


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    body = json.dumps({"name": os.environ["OPENHORDE_WORKER_WORKER_NAME"]}).encode()
    request = urllib.request.Request(
        os.environ["OPENHORDE_WORKER_HORDE_URL"] + "/api/v2/generate/pop",
        data=body,
        headers={"apikey": os.environ["OPENHORDE_WORKER_API_KEY"]},
    )
    urllib.request.urlopen(request).close()
    print("checked in", flush=True)
    signal.sigwait({signal.SIGTERM})
    print("drained", flush=True)


if __name__ == "__main__":
    main()
