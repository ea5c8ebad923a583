"""The authority and the certificates by which scheduler, workers and client know each other: mutual TLS.

``deploy`` makes an authority, signs a certificate for each role with it and forgets the authority's key: nobody can add
a fourth. Each role's certificate and key travel in a secret of its own, as the configuration that Dask reads from
``DASK_INTERNAL_INHERIT_CONFIG`` before it does anything. Elliptic keys keep such a document at 3 kB (RSA: 13 kB).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orbresearch.errors import Corrupt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, Name

ROLES = ("scheduler", "worker", "client")
DAYS = 365
_CLOCKS = timedelta(hours=1)  # that two machines' clocks may differ


@dataclass(frozen=True)
class Certificates:
    """What each role needs to speak with the others.

    Parameters
    ----------
    documents : dict of str to str
        Role -> Dask configuration with its certificate and key, serialized. Secret.
    expires : datetime
    """

    documents: dict[str, str] = field(repr=False)
    expires: datetime


def make_certificates(days: int = DAYS) -> Certificates:
    """Make an authority and the certificates of the three roles, valid for so many days.

    Examples
    --------
    >>> sorted(make_certificates().documents)
    ['client', 'scheduler', 'worker']
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)
    expires = now + timedelta(days=days)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("orbresearch authority")
    authority = _sign(name, key, name, key, (now - _CLOCKS, expires), None)
    documents = {}
    for role in ROLES:
        own = ec.generate_private_key(ec.SECP256R1())
        signed = _sign(_name(f"orbresearch {role}"), own, name, key, (now - _CLOCKS, expires), role)
        documents[role] = _document(role, authority, signed, own)
    return Certificates(documents, expires)


def read_security(document: str, role: str = "client") -> Any:
    """Return the ``distributed.Security`` that a document describes, and have this process connect as it should.

    Raises
    ------
    Corrupt
    """
    from distributed import Security

    from orbresearch.cloud.connector import mend_connector

    mend_connector()
    tls = _tls(document)
    try:
        return Security(
            require_encryption=True,
            tls_ca_file=tls["ca-file"],
            tls_min_version=771,
            **{f"tls_{role}_cert": tls[role]["cert"], f"tls_{role}_key": tls[role]["key"]},
        )
    except KeyError as error:
        raise Corrupt(f"secret of the {role}", f"it has no {error}") from None


def days_left(document: str) -> float:
    """Return for how many days a document's certificates are valid; 0 where it holds none."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        found = load_pem_x509_certificate(str(_tls(document)["ca-file"]).encode())
    except (Corrupt, KeyError, ValueError):
        return 0.0
    return max(0.0, (found.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1))


def _tls(document: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(document))["distributed"]["comm"]["tls"]
    except (ValueError, KeyError, TypeError):
        raise Corrupt("TLS secret", "it is not what deploy writes; run orb.cloud.deploy(...) again") from None
    return found


def _document(role: str, authority: Certificate, certificate: Certificate, key: EllipticCurvePrivateKey) -> str:
    """Return a Dask configuration as ``dask.config.deserialize`` reads it."""
    from cryptography.hazmat.primitives import serialization

    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    own = {"cert": certificate.public_bytes(pem).decode(), "key": secret.decode()}
    tls = {"ca-file": authority.public_bytes(pem).decode(), "min-version": 1.2, role: own}
    if role == "worker":  # a worker's tasks may use a client of the same scheduler
        tls["client"] = own
    found = {"distributed": {"comm": {"require-encryption": True, "tls": tls}}}
    return base64.urlsafe_b64encode(json.dumps(found).encode()).decode()


def _name(text: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(
    name: Name,
    key: EllipticCurvePrivateKey,
    issuer: Name,
    issuer_key: EllipticCurvePrivateKey,
    valid: tuple[datetime, datetime],
    role: str | None,
) -> Certificate:
    """Return a signed certificate; ``role`` None: the authority's own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(role is None, 0 if role is None else None), critical=True)
    )
    if role is not None:
        both = [Usage.CLIENT_AUTH] if role == "client" else [Usage.SERVER_AUTH, Usage.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
