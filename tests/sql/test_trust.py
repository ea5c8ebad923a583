"""Servers whose certificates an authority of their own has signed, as Amazon RDS' are: MariaDB with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import orbresearch as orb
from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import MySQLSettings, read_settings, read_warehouse
from orbresearch.sql.engines import mysql_engine
from orbresearch.sql.failures import translated
from tests.authority import Authority
from tests.servers_mysql import MySQLServer, mysql_server, require_server

pytestmark = pytest.mark.mysql


@pytest.fixture(scope="module")
def tls_server(authority: Authority) -> Iterator[MySQLServer]:
    """A server that speaks TLS, and whose certificate is for localhost."""
    require_server()
    certificate, key = authority.issue("localhost")
    with mysql_server(f"--ssl-cert={certificate}", f"--ssl-key={key}") as started:
        yield replace(started, host="localhost")


@pytest.fixture
def environ(tls_server: MySQLServer) -> Iterator[dict[str, str]]:
    """The variables that name an empty database there, with TLS and without the authority."""
    database = tls_server.create_database()
    yield {**tls_server.settings(database).to_environ(), "DB_TLS": "1"}
    tls_server.drop_database(database)


def cipher(place: object) -> object:
    """Return how a connection to a server is encrypted."""
    assert isinstance(place, MySQLSettings)
    engine = mysql_engine(place)
    try:
        with translated(place), engine.connect() as connection:
            return connection.execute(sa.text("SHOW SESSION STATUS LIKE 'Ssl_cipher'")).one()[1]
    finally:
        engine.dispose()


def test_an_authority_that_nobody_named_is_not_trusted_and_the_remedy_is_named(environ):
    with pytest.raises(Unreachable, match=r"certificate verify failed.*name in DB_TLS_CA a file of the authority"):
        cipher(read_settings(environ=environ).store.place)


def test_one_that_is_named_by_its_file_or_its_text_is_trusted(environ, authority, monkeypatch):
    for given in (str(authority.bundle), authority.bundle.read_text()):
        assert cipher(read_settings(environ={**environ, "DB_TLS_CA": given}).store.place)
    monkeypatch.chdir(authority.folder)
    assert cipher(read_settings(environ={**environ, "DB_TLS_CA": authority.bundle.name}).store.place)


def test_it_is_trusted_beside_the_systems(environ, authority, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    other = Authority(tmp_path, "others").bundle
    assert cipher(read_settings(environ={**environ, "DB_TLS_CA": str(other)}).store.place)


def test_another_authority_and_another_name_are_refused(environ, authority, tmp_path):
    other = {**environ, "DB_TLS_CA": str(Authority(tmp_path, "others").bundle)}
    with pytest.raises(Unreachable, match="name in DB_TLS_CA"):
        cipher(read_settings(environ=other).store.place)
    named = {**environ, "DB_TLS_CA": str(authority.bundle), "DB_ENDPOINT": "127.0.0.1"}
    with pytest.raises(Unreachable, match="set DB_ENDPOINT to a name that its certificate is for"):
        cipher(read_settings(environ=named).store.place)


def test_a_warehouse_has_an_authority_of_its_own(environ, authority):
    given = {"SQL_HOSTNAME": "localhost", "SQL_TLS": "1"}
    given |= {f"SQL_{name}": environ[f"DB_{name}"] for name in ("USERNAME", "PASSWORD", "PORT")}
    with pytest.raises(Unreachable, match="name in SQL_TLS_CA"):
        cipher(read_warehouse(environ=given))
    assert cipher(read_warehouse(environ={**given, "SQL_TLS_CA": str(authority.bundle)}))


def test_the_workers_of_a_lab_trust_it_without_its_file(environ, authority, monkeypatch, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(authority.bundle.read_text())
    for name, value in {**environ, "DB_TLS_CA": str(bundle)}.items():
        monkeypatch.setenv(name, value)
    grid, sessions = orb.ParameterGrid([0.2, 0.4], [1], [0], [1.0]), orb.synthetic_sessions(40, seed=3)
    with orb.Lab(n_workers=1, quiet=True) as lab:
        bundle.unlink()
        assert lab.client.submit(read_settings).result().store == lab.settings.store
        run = lab.submit(sessions, grid, range_duration=300).wait()
        assert len(run.results()) == 2


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("none.pem", "none.pem: No such file"),
        (".", ".: Is a directory"),
        ("empty.pem", "empty.pem holds no certificate"),
        ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----", "its text holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----", "its text has a damaged certificate"),
    ],
)
def test_what_is_no_certificate_is_refused_before_anything(given, wrong, environ, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.pem").touch()
    with pytest.raises(BadInput, match=f"DB_TLS_CA: {wrong}") as refused:
        read_settings(environ={**environ, "DB_TLS_CA": given})
    assert "c2Vj" not in str(refused.value)
