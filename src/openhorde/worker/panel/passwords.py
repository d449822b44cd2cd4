# SPDX-License-Identifier: AGPL-3.0-or-later
"""The panel's password: made up on the first start, or chosen by the owner; only its hash is kept.

A file beside the settings, for its owner's eyes only, holds one line:
`who scrypt cost block_size parallel salt hash`, where `who` is `owner` or `random`.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from msgspec import Struct

LENGTH_MIN = 10
LENGTH_MAX = 200
COST, BLOCK_SIZE, PARALLEL = 2**14, 8, 1
MEMORY_BYTES_MAX = 64 * 2**20
# Without the letters and digits that are mistaken for one another.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
RANDOM_LENGTH = 16


class PasswordUnusable(ValueError):
    """A password is too short or too long, or its file cannot be used; the message says which."""


class Password(Struct, frozen=True, kw_only=True):
    """A password as its hash. `chosen`: by the owner, not at random."""

    chosen: bool
    salt: bytes
    digest: bytes
    cost: int = COST
    block_size: int = BLOCK_SIZE
    parallel: int = PARALLEL

    def matches(self, given: str) -> bool:
        """Whether this is the password. Takes some hundredths of a second, as it should."""
        digest = _digest(given, self.salt, self.cost, self.block_size, self.parallel)
        return hmac.compare_digest(digest, self.digest)


def choose(password: str) -> Password:
    """The owner's own password. Raises PasswordUnusable."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise PasswordUnusable(
            f"the panel's password must have {LENGTH_MIN} to {LENGTH_MAX} characters, "
            f"not {len(password)}"
        )
    return _hashed(password, chosen=True)


def make_up() -> tuple[str, Password]:
    """A random password, to be shown once."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return text, _hashed(text, chosen=False)


class PasswordFile:
    """Keeps the password from start to start."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Password | None:
        """The password, or None if there is none yet. Raises PasswordUnusable."""
        try:
            words = self.path.read_text(encoding="ascii").split()
            who, method, cost, block_size, parallel, salt, digest = words
            if who not in ("owner", "random") or method != "scrypt":
                raise ValueError(method)
            return Password(
                chosen=who == "owner",
                cost=int(cost),
                block_size=int(block_size),
                parallel=int(parallel),
                salt=bytes.fromhex(salt),
                digest=bytes.fromhex(digest),
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PasswordUnusable(f"cannot read {self.path}: {error.strerror}") from error
        except ValueError as error:
            raise PasswordUnusable(
                f"{self.path} is not a password of the panel; delete it to get a new one"
            ) from error

    def write(self, password: Password) -> None:
        """Keep this password from now on. Raises PasswordUnusable."""
        words = (
            "owner" if password.chosen else "random",
            "scrypt",
            str(password.cost),
            str(password.block_size),
            str(password.parallel),
            password.salt.hex(),
            password.digest.hex(),
        )
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as written:
                written.write(" ".join(words) + "\n")
            fresh.replace(self.path)
        except OSError as error:
            raise PasswordUnusable(f"cannot write {self.path}: {error.strerror}") from error


def _hashed(text: str, *, chosen: bool) -> Password:
    salt = secrets.token_bytes(16)
    digest = _digest(text, salt, COST, BLOCK_SIZE, PARALLEL)
    return Password(chosen=chosen, salt=salt, digest=digest)


def _digest(text: str, salt: bytes, cost: int, block_size: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        text.encode(), salt=salt, n=cost, r=block_size, p=parallel, maxmem=MEMORY_BYTES_MAX
    )
