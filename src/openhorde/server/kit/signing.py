# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ed25519 signatures, with a key that lives in a file of its own."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class KeyUnusable(Exception):
    """The key file cannot be used; the text says why and what to do."""


class SigningKey:
    """A private key. `public` are the 32 bytes that prove its signatures."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The signature of a message: 64 bytes."""
        return self._key.sign(message)


def keep_signing_key(path: Path) -> SigningKey:
    """The key of this file (PEM, PKCS 8); made, for its owner's eyes alone, if there is none.

    Raises KeyUnusable.
    """
    try:
        if not path.exists():
            _make(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyUnusable(
            f"cannot use the key file {path} ({error}). Give a file that this user may read, with"
            " an Ed25519 key as PEM without a password, or a path where one can be made."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"the key file {path} holds no Ed25519 key. Give another file.")
    return SigningKey(key)


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Did the owner of this public key sign this message?"""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _make(path: Path) -> None:
    """Write a new key beside the path and move it there whole, unless another process was first."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink()
