# SPDX-License-Identifier: AGPL-3.0-or-later
"""Certificates for the https servers of the tests."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Certificate:
    """A certificate of host names, signed by itself, kept with its key in a folder."""

    def __init__(self, folder: Path, *hosts: str) -> None:
        self._pem = folder / f"{hosts[0]}.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
        now = datetime.now(UTC)
        signed = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False
            )
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._pem.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))

    def shown(self) -> ssl.SSLContext:
        """What a server needs that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pem)
        return context

    def trusted(self) -> ssl.SSLContext:
        """What a client needs that trusts it and nobody else."""
        return ssl.create_default_context(cafile=str(self._pem))
