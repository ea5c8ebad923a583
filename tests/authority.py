"""A certificate authority of a test's own, and certificates that it signs."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest


class Authority:
    """Signs certificates for host names; ``bundle`` is the file that a client must trust (``SSL_CERT_FILE``)."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        x509 = pytest.importorskip("cryptography.x509")
        from cryptography.hazmat.primitives.asymmetric import ec

        self.folder, self.name = folder, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key, self.bundle = ec.generate_private_key(ec.SECP256R1()), folder / f"{name}-authority.pem"
        self._save(self.bundle, self._sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for a host name, and of its key."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key, subject = (
            ec.generate_private_key(ec.SECP256R1()),
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
        )
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self._save(certificate, self._sign(subject, key, x509.BasicConstraints(ca=False, path_length=None), names))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private

    def _sign(self, subject, key, *extensions):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        now, built = datetime.datetime.now(datetime.UTC), x509.CertificateBuilder()
        built = built.subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        built = built.serial_number(x509.random_serial_number())
        built = built.not_valid_before(now - datetime.timedelta(hours=1))
        built = built.not_valid_after(now + datetime.timedelta(days=1))
        for extension in (*extensions, x509.SubjectKeyIdentifier.from_public_key(key.public_key())):
            built = built.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return built.add_extension(ours, critical=False).sign(self.key, hashes.SHA256())

    def _save(self, path, certificate):
        from cryptography.hazmat.primitives import serialization

        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
