"""Connecting: what is refused, in which words, and that no password is ever among them."""

import datetime
import pickle
import socket
import ssl
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis

from orbresearch.errors import BadInput, Unreachable
from orbresearch.sessions.series import content_hash
from orbresearch.settings import RedisSettings
from orbresearch.staging import connect, connection, counts, embedded, stage_ranges
from orbresearch.staging.embedded import _free_port
from tests.authority import Authority
from tests.servers_redis import bare_redis, fresh_redis, fresh_staging, tls_redis

SECRET = "a-password-nobody-may-read"


def refusal(settings):
    with pytest.raises(Unreachable) as told:
        connect(settings)
    shown = "".join(traceback.format_exception(told.value))
    assert f"{settings.endpoint}:{settings.port}" in str(told.value)
    for secret in filter(None, (SECRET, settings.password)):
        assert secret not in shown
    return str(told.value)


def test_the_three_databases_are_three(staging):
    for number, client in enumerate((staging.books, staging.ranges, staging.ticks)):
        client.set("number", number)
    found = [client.get("number") for client in (staging.books, staging.ranges, staging.ticks)]
    assert found == [b"0", b"1", b"2"]


def test_a_connection_shows_where_it_leads_and_no_password():
    with fresh_redis() as server, connect(server.settings) as staging:
        assert staging.where == f"127.0.0.1:{server.settings.port}"
        assert server.settings.password not in f"{staging!r} {staging} {staging.books!r}"


def test_a_connection_cannot_be_pickled():
    with fresh_staging() as staging, pytest.raises(TypeError):
        pickle.dumps(staging)


def test_settings_without_an_endpoint_are_refused():
    with pytest.raises(BadInput, match="start_embedded"):
        connect(RedisSettings())


def test_a_port_where_nobody_listens_is_told_within_seconds():
    started = time.monotonic()
    assert "refused" in refusal(RedisSettings("127.0.0.1", _free_port(), SECRET))
    assert time.monotonic() - started < 5


def test_a_host_that_does_not_exist_is_told():
    assert "REDIS_ENDPOINT" in refusal(RedisSettings("no-such-host.invalid", 6379, SECRET))


def test_a_wrong_password_is_told(binary):
    with fresh_redis(binary=binary) as server:
        assert "the password is wrong" in refusal(replace(server.settings, password=SECRET))


def test_a_missing_password_is_told(binary):
    with fresh_redis(binary=binary) as server:
        assert "none was given; set REDIS_PASSWORD" in refusal(replace(server.settings, password=None))


def test_a_password_that_nobody_asked_for_is_told():
    with bare_redis() as settings:
        connect(settings).close()
        assert "unset REDIS_PASSWORD" in refusal(replace(settings, password=SECRET))


@pytest.mark.parametrize("databases", [1, 2])
def test_fewer_than_three_databases_are_refused(binary, databases):
    with fresh_redis(f"databases {databases}", binary=binary) as server:
        assert "fewer than 3 databases" in refusal(server.settings)


def test_cluster_mode_is_refused(binary, monkeypatch):
    low = next(port for port in iter(_free_port, None) if port < 55_536)  # Redis wants the port 10,000 above as well
    monkeypatch.setattr(embedded, "_free_port", lambda: low)
    with fresh_redis("cluster-enabled yes", binary=binary) as server:
        assert "cluster mode" in refusal(server.settings)


def test_a_replica_is_refused(binary):
    with fresh_redis(f"replicaof 127.0.0.1 {_free_port()}", binary=binary) as server:
        assert "read-only replica" in refusal(server.settings)


def test_a_user_who_may_not_do_enough_is_told(binary):
    with fresh_redis(binary=binary) as server:
        with redis.Redis(port=server.settings.port, password=server.settings.password) as admin:
            admin.execute_command("ACL", "SETUSER", "default", "-info")
        assert "may not use" in refusal(server.settings)


def test_a_refusal_survives_the_way_back_from_a_worker():
    with pytest.raises(Unreachable) as told:
        connect(RedisSettings("127.0.0.1", _free_port()))
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru"])
def test_a_server_that_evicts_is_refused(server, staging, policy):
    staging.books.config_set("maxmemory-policy", policy)
    said = refusal(server.settings)
    assert f"maxmemory-policy is {policy}" in said
    assert "noeviction" in said


def test_the_policy_is_known_where_config_is_forbidden(binary):
    with fresh_redis('rename-command CONFIG ""', "maxmemory-policy volatile-lru", binary=binary) as server:
        assert "volatile-lru" in refusal(server.settings)


def test_a_full_server_is_told_in_words(staging):
    staging.books.config_set("maxmemory", 1)
    with pytest.raises(Unreachable, match="memory is full; raise maxmemory"):
        stage_ranges(staging, {content_hash(b"x"): b"x"})


def test_a_short_restart_is_survived():
    port = _free_port()
    with bare_redis(port=port) as settings:
        staging = connect(settings)
        counts(staging, "store")
    answers = []
    asking = threading.Thread(target=lambda: answers.append(counts(staging, "store")))
    asking.start()
    time.sleep(1.0)
    with bare_redis(port=port), staging:
        asking.join(20)
    assert [answer.total for answer in answers] == [0]


@contextmanager
def tls_listener(folder):
    """Something that speaks TLS, with a certificate that nobody trusts, and hangs up after the handshake."""
    certificate = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=hang_up, args=(listener, context), daemon=True)
        serving.start()
        try:
            yield RedisSettings("127.0.0.1", listener.getsockname()[1], SECRET)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


def hang_up(listener, context):
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        with plain:
            plain.settimeout(5)
            try:
                context.wrap_socket(plain, server_side=True).close()
            except OSError:
                continue


def self_signed(folder):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(private + built.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


def test_a_certificate_that_is_not_trusted_is_refused(tmp_path):
    with tls_listener(tmp_path) as settings:
        assert "certificate is not trusted" in refusal(replace(settings, tls=True))


NAME = "master.orbresearch.abc123.use1.cache.amazonaws.com"


@pytest.fixture(scope="module")
def named(authority):
    """A Redis whose certificate is for ElastiCache's name, at an address that the certificate says nothing of."""
    with tls_redis(*authority.issue(NAME)) as settings:
        yield replace(settings, tls_name=NAME)


@pytest.fixture
def trusted(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))


def test_the_certificate_is_verified_against_the_name_that_is_given(named, trusted):
    with connect(named) as staging:
        assert staging.where == f"127.0.0.1:{named.port}"
        staging.ticks.set("tick", 1)
        assert counts(staging, "store").total == 0


@pytest.mark.parametrize(
    "name", [None, "127.0.0.1", "localhost", "replica.orbresearch.abc123.use1.cache.amazonaws.com"]
)
def test_a_certificate_for_another_name_is_refused(named, trusted, name):
    said = refusal(replace(named, tls_name=name))
    assert "certificate is not trusted" in said
    assert "REDIS_TLS_NAME" in said


def test_the_right_name_under_another_authority_is_refused(named, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "others").bundle))
    assert "certificate is not trusted" in refusal(named)


def test_behind_a_load_balancer_a_password_is_wanted_as_well(named, trusted):
    assert "none was given; set REDIS_PASSWORD" in refusal(replace(named, password=None))
    assert "the password is wrong" in refusal(replace(named, password=SECRET))


def test_a_server_that_wants_tls_is_told(tmp_path):
    with tls_listener(tmp_path) as settings:
        assert "REDIS_TLS=1" in refusal(settings)


def test_a_server_that_does_not_speak_tls_is_told(server, monkeypatch):
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.5)
    assert "unset REDIS_TLS" in refusal(replace(server.settings, tls=True))
