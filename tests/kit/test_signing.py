# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signatures and the file of their key."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from openhorde.server.kit.signing import KeyUnusable, is_signed, keep_signing_key


def test_what_is_signed_can_be_proved(tmp_path: Path) -> None:
    key = keep_signing_key(tmp_path / "a.key")
    signature = key.sign(b"message")
    assert is_signed(key.public, signature, b"message")
    assert not is_signed(key.public, signature, b"another")
    assert not is_signed(key.public, signature[:-1], b"message")
    assert not is_signed(b"no key", signature, b"message")
    assert not is_signed(keep_signing_key(tmp_path / "b.key").public, signature, b"message")


def test_the_key_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.key"
    assert keep_signing_key(path).public == keep_signing_key(path).public
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_who_starts_at_once_gets_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: keep_signing_key(path).public, range(8)))
    assert len(set(keys)) == 1


def test_files_that_hold_no_such_key(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    path.write_text("nothing of the kind")
    with pytest.raises(KeyUnusable, match="Give a file"):
        keep_signing_key(path)
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyUnusable, match="no Ed25519 key"):
        keep_signing_key(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyUnusable, match="cannot use"):
        keep_signing_key(tmp_path / "file" / "ledger.key")
