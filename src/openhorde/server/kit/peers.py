# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the system knows of the other end of a connection."""

import socket
from typing import Final

TCP_ESTABLISHED: Final = 1


def is_established(connection: socket.socket | None) -> bool:
    """Whether both sides of a TCP connection are open, though what was sent has not been read yet.

    Only Linux tells; of what nothing is known it is true.
    """
    if (
        connection is None
        or not hasattr(socket, "TCP_INFO")
        or connection.family not in (socket.AF_INET, socket.AF_INET6)
    ):
        return True
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, ValueError):  # It has just been closed on this side.
        return False
    return info[0] == TCP_ESTABLISHED
