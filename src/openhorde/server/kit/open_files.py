# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many files, and so connections, this process may have open."""

import resource

OPEN_FILES_WANTED = 65_536
_OWN_FILES = 256


def raise_open_files(wanted: int = OPEN_FILES_WANTED) -> int:
    """Raise the limit of open files as far as the system lets us, up to `wanted`; what it is then.

    Processes that this one starts inherit it. A limit that is higher already stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(soft, allowed)


def connections_fitting(open_files: int) -> int:
    """How many connections fit into a limit of open files, beside all else that a server opens."""
    # A quarter is left for those that are being closed while others come.
    return max(open_files - max(_OWN_FILES, open_files // 4), open_files // 2)
