"""The connection to Redis: three databases, checked before anything is staged in them.

redis-py is imported here when a connection is made, never before. Every error of Redis leaves this folder as
:class:`~orbresearch.errors.Unreachable`, with host, port and the fix, without the password.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orbresearch.errors import BadInput, Full, Unreachable
from orbresearch.settings import RedisSettings
from orbresearch.staging import keys
from orbresearch.staging.embedded import OLDEST

if TYPE_CHECKING:
    from redis import Redis

_CONNECT_SECONDS = 5.0
_REPLY_SECONDS = 30.0  # between two packets, not for a whole reply
_READ_BYTES = 1 << 20  # twice as fast as redis-py's 32 kB
_RETRIES = 7  # with pauses of 0.1 to 1 s: about 4.5 s, a server's restart

_LOOK = (
    "check REDIS_ENDPOINT and REDIS_PORT and that the server runs; a server that closes the connection or stays silent "
    "may want TLS (REDIS_TLS=1), or not speak it (unset REDIS_TLS)"
)
#: What Redis or TLS says (lower case) -> what it means, and what to do about it. The first that occurs wins.
_EXPLAINED = {
    "without any password": ("it has no password, but one was given", "unset REDIS_PASSWORD"),
    "no password is set": ("it has no password, but one was given", "unset REDIS_PASSWORD"),
    "wrongpass": ("the password is wrong", "set REDIS_PASSWORD to this server's password"),
    "invalid username-password": ("the password is wrong", "set REDIS_PASSWORD to this server's password"),
    "invalid password": ("the password is wrong", "set REDIS_PASSWORD to this server's password"),
    "authentication required": ("it asks for a password and none was given", "set REDIS_PASSWORD"),
    "noauth": ("it asks for a password and none was given", "set REDIS_PASSWORD"),
    "certificate verify failed": (
        "its TLS certificate is not trusted",
        "give the host name that the certificate is for (behind a load balancer in REDIS_TLS_NAME), or set "
        "SSL_CERT_FILE to its authority's certificate",
    ),
    "[ssl": ("it does not speak TLS", "unset REDIS_TLS, or name the server's TLS port"),
    "db index is out of range": (
        "it has fewer than 3 databases",
        "set `databases 3` or more in redis.conf",
    ),
    "select is not allowed": (
        "it is in cluster mode, which has one database instead of 3",
        "name a Redis (or an ElastiCache replication group) with cluster mode disabled",
    ),
    "used memory > 'maxmemory'": (
        "its memory is full",
        "raise maxmemory, or wait until the reaper has emptied the result stream",
    ),
    "read only replica": ("it is a read-only replica", "name the primary's endpoint"),
    "no permissions": ("its user may not use all the commands needed", "give the user +@all ~* in the ACL"),
}


@dataclass(frozen=True)
class Staging:
    """Clients of the three databases, safe to share between threads. Never pickled: they know the password.

    Parameters
    ----------
    books, ranges, ticks : redis.Redis
        Databases 0, 1 and 2; replies are bytes.
    where : str
        ``host:port``, for a person.
    """

    books: Redis = field(repr=False)
    ranges: Redis = field(repr=False)
    ticks: Redis = field(repr=False)
    where: str

    def close(self) -> None:
        """Close every connection."""
        for client in (self.books, self.ranges, self.ticks):
            client.close()

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(settings: RedisSettings) -> Staging:
    """Connect to Redis and check that it can hold what is staged there.

    Raises
    ------
    Unreachable
        No answer, a wrong password, a certificate that is not trusted; a server that is older than 6.2, a replica, in
        cluster mode, has fewer than three databases, or evicts keys when its memory is full.
    """
    if settings.endpoint is None:
        raise BadInput("RedisSettings.endpoint", "is None", "use start_embedded().settings, or set REDIS_ENDPOINT")
    where = f"{settings.endpoint}:{settings.port}"
    _probe(settings, where)
    books, ranges, ticks = (_client(settings, db, _RETRIES) for db in (keys.BOOKS, keys.RANGES, keys.TICKS))
    staging = Staging(books, ranges, ticks, where)
    try:
        with speaking(where):
            for client in (ticks, ranges, books):
                client.ping()
    except Unreachable:
        staging.close()
        raise
    return staging


def server_id(staging: Staging) -> str:
    """Return what tells a server from every other, whatever name one reaches it by; another after a restart."""
    with speaking(staging.where):
        return str(staging.books.info("server")["run_id"])


@contextmanager
def speaking(where: str) -> Iterator[None]:
    """Turn redis-py's errors into ones that say what to do."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        raise _explain(error, where) from None


def _explain(error: Exception, where: str) -> Unreachable:
    from redis.exceptions import ResponseError

    said = (str(error) or type(error).__name__).strip().splitlines()[0]
    for words, (reason, fix) in _EXPLAINED.items():
        if words in said.lower():
            return (Full if "maxmemory" in words else Unreachable)("Redis", where, reason, fix)
    refused = isinstance(error, ResponseError)
    return Unreachable("Redis", where, said, "look at the server's log" if refused else _LOOK)


def _client(settings: RedisSettings, db: int, retries: int, reply_seconds: float = _REPLY_SECONDS) -> Redis:
    from redis import Connection, ConnectionPool, Redis
    from redis.backoff import ExponentialBackoff
    from redis.credentials import UsernamePasswordCredentialProvider
    from redis.exceptions import ConnectionError as Disconnected
    from redis.exceptions import TimeoutError as Silent
    from redis.retry import Retry

    more: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True} if settings.tls else {}
    if settings.password:  # given as a password, some versions of redis-py would show it in the repr of a client
        more["credential_provider"] = UsernamePasswordCredentialProvider(password=settings.password)
    pool = ConnectionPool(
        _tls_connection(settings.tls_name) if settings.tls else Connection,
        host=settings.endpoint,
        port=settings.port,
        db=db,
        protocol=2,  # RESP3 would give other types of reply
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=reply_seconds,
        socket_keepalive=True,
        socket_read_size=_READ_BYTES,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
        retry_on_error=[Disconnected, Silent, ConnectionError],  # a refused connection is the builtin one
        **more,
    )
    return Redis.from_pool(pool)


def _tls_connection(name: str | None) -> type[Any]:
    """Return the kind of connection that wants a certificate for ``name``, or for the host connected to."""
    from redis import SSLConnection

    if name is None:
        return SSLConnection

    class NamedConnection(SSLConnection):
        # redis-py knows one name, that of the host. Should it ever stop calling this, the host's would be verified, and
        # a balancer's name is in no certificate: refused, not let through.
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            context = ssl.create_default_context()  # verifies chain and name
            return context.wrap_socket(sock, server_hostname=name)

    return NamedConnection


def _probe(settings: RedisSettings, where: str) -> None:
    """Look at the server once, with little patience: a wrong address is told in seconds."""
    client = _client(settings, keys.BOOKS, 1, _CONNECT_SECONDS)
    try:
        with speaking(where):
            info: Mapping[str, Any] = client.info()
    finally:
        client.close()
    _check(info, where)


def _check(info: Mapping[str, Any], where: str) -> None:
    """Refuse servers that would lose or mix what is staged."""
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise Unreachable("Redis", where, f"version {version}", "use Redis 6.2 or newer, or Valkey")
    if info.get("cluster_enabled"):
        raise Unreachable("Redis", where, *_EXPLAINED["select is not allowed"])
    if info.get("role") == "slave":
        raise Unreachable("Redis", where, *_EXPLAINED["read only replica"])
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        wrong = f"maxmemory-policy is {policy}: when memory is full it would silently drop inputs or results"
        fix = "CONFIG SET maxmemory-policy noeviction, or set it in redis.conf or ElastiCache's parameter group"
        raise Unreachable("Redis", where, wrong, fix)
