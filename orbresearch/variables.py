"""What single variables of the environment mean: a port, yes or no, the authorities that sign certificates."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from orbresearch.errors import BadInput

MOST_HANDED = 100_000  # characters that workers are handed in one variable: Linux takes 128 KiB of each
OF_REGION = "of Amazon RDS, the bundle of one region: https://truststore.pki.rds.amazonaws.com/REGION/REGION-bundle.pem"
_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def read_port(found: Mapping[str, str], name: str, default: int) -> int:
    """Return a port.

    Raises
    ------
    BadInput
        It is none.
    """
    text = found.get(name) or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise BadInput(f"environment variable {name}", f"{text!r} is no port", "give a number from 1 to 65535")
    return int(text)


def read_flag(found: Mapping[str, str], name: str) -> bool:
    """Return yes or no; no where it is not set.

    Raises
    ------
    BadInput
        It is neither.
    """
    text = found.get(name, "").strip().lower()
    if text not in _YES | _NO:
        raise BadInput(f"environment variable {name}", f"{text!r} is neither yes nor no", "give 1 or 0")
    return text in _YES


def read_authorities(found: Mapping[str, str], prefix: str) -> str | None:
    """Return the certificates that ``DB_TLS_CA`` or ``SQL_TLS_CA`` adds to the system's, as PEM; None where unset.

    It is a file's path or PEM itself, as a worker is handed it. What else stands there, a key for one, is left behind.

    Parameters
    ----------
    found : mapping
    prefix : str
        DB or SQL.

    Raises
    ------
    BadInput
        TLS is off; a file that cannot be read; no certificate, or one that is damaged.
    """
    name, given = f"{prefix}_TLS_CA", found.get(f"{prefix}_TLS_CA", "").strip()
    if not given:
        return None
    if not read_flag(found, f"{prefix}_TLS"):
        fix = f"set {prefix}_TLS=1: without TLS there is no certificate to verify"
        raise BadInput(name, f"set, but {prefix}_TLS is not", fix)
    what, text = ("its text", given) if "-----BEGIN" in given else (given, _read(name, given))
    certificates = "\n".join(_CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError):
        wrong = f"{what} {'has a damaged certificate' if certificates else 'holds no certificate'}"
        raise BadInput(name, wrong, f"name a file of PEM certificates; {OF_REGION}") from None
    return certificates


def require_handy(name: str, certificates: str | None) -> None:
    """Refuse more certificates than a process can be handed in its environment.

    Raises
    ------
    BadInput
    """
    if certificates and len(certificates) > MOST_HANDED:
        wrong = f"{len(certificates):,} characters of certificates; workers are handed {MOST_HANDED:,} at the most"
        raise BadInput(name, wrong, f"name the authority of this one server; {OF_REGION}")


def _read(name: str, given: str) -> str:
    """Return a file's text; only ASCII matters in it."""
    try:
        return Path(given).expanduser().read_bytes().decode("ascii", "replace").replace("\r\n", "\n")
    except (OSError, ValueError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise BadInput(name, f"{given}: {said}", "name a file of PEM certificates, or give their text") from None
