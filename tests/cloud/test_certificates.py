"""Who may talk to whom: real schedulers and clients over TLS on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from dask.config import deserialize
from distributed import Client, Scheduler, Security
from distributed.comm.registry import get_backend

from orbresearch.cloud.certificates import ROLES, days_left, make_certificates, read_security
from orbresearch.errors import Corrupt

MADE = make_certificates(days=30)


def connects(server: Security, client: Security | None) -> bool:
    async def attempt() -> bool:
        async with Scheduler(
            host="tls://127.0.0.1", port=0, dashboard=False, security=server, idle_timeout="10s"
        ) as scheduler:
            address = scheduler.address if client is not None else scheduler.address.replace("tls://", "tcp://")
            try:
                async with Client(address, asynchronous=True, security=client, timeout=2, set_as_default=False):
                    return True
            except OSError:
                return False

    return asyncio.run(attempt())


def test_a_connection_that_is_closed_before_tls_begins_is_an_oserror():
    security = read_security(MADE.documents["client"])

    async def attempt(address: str) -> None:
        connector = get_backend("tls").get_connector()
        connecting = asyncio.create_task(connector.connect(address, **security.get_connection_args("client")))
        while not connecting.done():
            await asyncio.sleep(0)
            time.sleep(0.01)  # so the end of the connection is seen before anything is done with it
        await connecting

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(OSError, match="closed at once"):
            asyncio.run(attempt(f"127.0.0.1:{listener.getsockname()[1]}"))


def test_each_role_reads_its_own_document_as_dask_does():
    for role in ROLES:
        tls = deserialize(MADE.documents[role])["distributed"]["comm"]["tls"]
        assert {"ca-file", role} <= set(tls)
        assert set(tls) <= {"ca-file", "min-version", role, "client"}
    assert max(map(len, MADE.documents.values())) < 8192 / 2, "RSA keys would not fit where such things are handed over"


def test_the_three_know_each_other_and_nobody_else():
    server = read_security(MADE.documents["scheduler"], "scheduler")
    assert connects(server, read_security(MADE.documents["client"]))
    assert not connects(server, None), "a client without certificates"
    assert not connects(server, read_security(make_certificates(days=30).documents["client"])), "of another authority"


def test_a_client_s_certificate_is_good_for_no_server():
    tls = deserialize(MADE.documents["client"])["distributed"]["comm"]["tls"]["client"]
    usage = load_pem_x509_certificate(tls["cert"].encode()).extensions.get_extension_for_class
    from cryptography.x509 import ExtendedKeyUsage

    assert list(usage(ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_they_end_when_they_should():
    assert abs(MADE.expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    assert 29.9 < days_left(MADE.documents["client"]) <= 30
    assert days_left("") == 0


@pytest.mark.parametrize("document", ["", "e30=", "not base64 \N{SNOWMAN}"])
def test_a_secret_that_holds_something_else_is_named(document):
    with pytest.raises(Corrupt, match=r"deploy"):
        read_security(document)


def test_nothing_secret_is_shown():
    assert "BEGIN" not in repr(MADE)
    assert MADE.documents["client"] not in repr(MADE)
