# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m openhorde.cli.child PARENT COMMAND...`: a `horde` command that ends with its parent.

When the parent is killed outright it can't stop its children, so on Linux the kernel does.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then be the command."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the process that wanted this one is gone")
    sys.argv = ["horde", *sys.argv[2:]]
    from openhorde.cli.main import main as horde

    horde()


if __name__ == "__main__":
    main()
