# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a call comes from, and under which address it reached us."""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import Scope

from openhorde.server.settings import ServerSettings

_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def client_address(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """The caller's address.

    One hop is trusted: if the peer is a proxy near us (its address is private), the last address
    it put into X-Forwarded-For counts. Others could write there what they like.
    """
    peer: str = scope["client"][0] if scope.get("client") else ""
    forwarded = headers.get(b"x-forwarded-for")
    if forwarded is None or not _near(peer):
        return peer
    last = forwarded.decode("latin-1").rpartition(",")[2].strip()
    return last if _is_address(last) else peer


def url_root(scope: Scope, headers: Mapping[bytes, bytes], settings: ServerSettings) -> str:
    """How the outside reaches this server: as the settings say, else as this caller did."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = headers.get(b"host", b"").decode("latin-1")
    if not _HOST.fullmatch(host):
        host = f"{settings.host}:{settings.port}"
    scheme = scope.get("scheme", "http")
    if headers.get(b"x-forwarded-proto") == b"https":
        scheme = "https"
    return f"{scheme}://{host}"


@lru_cache(maxsize=1000)
def _near(peer: str) -> bool:
    # A unix socket's peer has no address, and only a proxy beside us uses one.
    return not peer or (_is_address(peer) and ip_address(peer).is_private)


@lru_cache(maxsize=10_000)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
