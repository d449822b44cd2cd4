# SPDX-License-Identifier: AGPL-3.0-or-later
"""Identifiers and keys."""

import hashlib
import secrets
import time
from uuid import UUID

_KEY_BYTES = 16


def uuid7() -> UUID:
    """A new time-ordered id (RFC 9562, version 7).

    48 bits of Unix milliseconds, 12 bits of the fraction of that millisecond (the RFC's method 3,
    steps of some 244 ns), 62 random bits. Later ids sort behind earlier ones as far as the
    system's clock does not step back.
    """
    milliseconds, rest_nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = (rest_nanoseconds << 12) // 1_000_000
    number = (milliseconds & ((1 << 48) - 1)) << 80
    number |= 0x7 << 76 | fraction << 64
    number |= 0b10 << 62 | secrets.randbits(62)
    return UUID(int=number)


def uuid_or_none(text: str) -> UUID | None:
    """The id that a text is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def new_api_key() -> str:
    """A new secret key: 128 random bits as 22 URL-safe characters."""
    return secrets.token_urlsafe(_KEY_BYTES)


def hash_key(salt: bytes, key: str) -> bytes:
    """The 32 bytes under which a key is stored: SHA-256 of salt and key.

    Fast on purpose: our keys carry 128 random bits, so there is nothing to guess, and each
    request pays for this.
    """
    return hashlib.sha256(salt + key.encode()).digest()
