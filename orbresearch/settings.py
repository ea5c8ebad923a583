"""The only reader of the environment: where files, Redis, the results database and the warehouse of prices are.

Settings are read when a :class:`~orbresearch.Lab` or a source is made, not at import, so that a notebook may set
``os.environ`` in a cell. Secrets never appear in a repr.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from orbresearch.errors import BadInput
from orbresearch.variables import read_authorities, read_flag, read_port, require_handy

KNOWN = {
    "ORB_HOME": "folder that holds cached_data/ and results.sqlite",
    "ORB_ENV_FILE": "a file of KEY=VALUE lines that is read before the environment",
}
_REDIS = ("REDIS_PORT", "REDIS_PASSWORD", "REDIS_TLS", "REDIS_TLS_NAME")
_DB = ("DB_USERNAME", "DB_PASSWORD", "DB_NAME", "DB_TABLE", "DB_PORT", "DB_TLS", "DB_TLS_CA")
_SQL = ("SQL_HOSTNAME", "SQL_USERNAME", "SQL_PASSWORD", "SQL_PORT", "SQL_TLS", "SQL_TLS_CA")


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is. ``endpoint`` None means: start the embedded server.

    The three databases are 0 books, 1 opening ranges, 2 tick series.

    Parameters
    ----------
    tls_name : str, optional
        The name that the server's certificate must be for, where that is not ``endpoint``: behind a load balancer one
        connects to the balancer and verifies Redis itself.
    """

    endpoint: str | None = None
    port: int = 6379
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_name: str | None = None

    def to_environ(self) -> dict[str, str]:
        """Return these settings as environment variables, for a worker process."""
        if self.endpoint is None:
            return {}
        return {
            "REDIS_ENDPOINT": self.endpoint,
            "REDIS_PORT": str(self.port),
            "REDIS_PASSWORD": self.password or "",
            "REDIS_TLS": "1" if self.tls else "0",
            "REDIS_TLS_NAME": self.tls_name or "",
        }


@dataclass(frozen=True)
class MySQLSettings:
    """A MySQL or MariaDB server and an account on it.

    Parameters
    ----------
    tls_ca : str, optional
        PEM certificates of authorities that are trusted beside the system's.
    prefix : str
        Of the environment variables that name it: DB (results) or SQL (the warehouse of prices).
    """

    host: str
    port: int = 3306
    username: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    tls: bool = False
    tls_ca: str | None = field(default=None, repr=False)
    prefix: str = "DB"

    @property
    def where(self) -> str:
        """Where it is, for a person: without any secret."""
        return f"mysql://{quote(self.username)}@{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True)
class SQLiteSettings:
    """A SQLite file, and what names another one."""

    path: Path
    way_out: str = "set ORB_HOME to another folder"

    @property
    def where(self) -> str:
        """Where it is, for a person."""
        return str(self.path)


@dataclass(frozen=True)
class StoreSettings:
    """Where results go: a SQLite file, or MySQL when ``endpoint`` is set. Table names are the user's."""

    sqlite: Path
    endpoint: str | None = None
    port: int = 3306
    username: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    table: str = "results"
    tls: bool = False
    tls_ca: str | None = field(default=None, repr=False)

    @property
    def is_mysql(self) -> bool:
        """Whether results go to MySQL rather than to the SQLite file."""
        return self.endpoint is not None

    @property
    def place(self) -> MySQLSettings | SQLiteSettings:
        """The server, or the file."""
        if self.endpoint is None:
            return SQLiteSettings(self.sqlite)
        account = self.username, self.password
        return MySQLSettings(self.endpoint, self.port, *account, self.database, self.tls, self.tls_ca)

    @property
    def where(self) -> str:
        """Where the rows are, for a person: without any secret."""
        return self.place.where

    def to_environ(self) -> dict[str, str]:
        """Return these settings as environment variables, for a worker process."""
        if self.endpoint is None:
            return {}
        return {
            "DB_ENDPOINT": self.endpoint,
            "DB_PORT": str(self.port),
            "DB_USERNAME": self.username,
            "DB_PASSWORD": self.password,
            "DB_NAME": self.database,
            "DB_TABLE": self.table,
            "DB_TLS": "1" if self.tls else "0",
            "DB_TLS_CA": self.tls_ca or "",
        }


@dataclass(frozen=True)
class Settings:
    """Everything the environment decides, resolved once."""

    home: Path
    redis: RedisSettings
    store: StoreSettings

    @property
    def cached_data(self) -> Path:
        """Folder of cached prices."""
        return self.home / "cached_data"

    def to_environ(self) -> dict[str, str]:
        """Return the whole as environment variables; ``read_settings`` of a worker gives the same settings back."""
        return {"ORB_HOME": str(self.home), **self.redis.to_environ(), **self.store.to_environ()}


def read_settings(env_file: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment once.

    Parameters
    ----------
    env_file : path, optional
        A file of ``KEY=VALUE`` lines (docker's ``env.list`` format); real environment variables win over it.
        Default: the file that ``ORB_ENV_FILE`` names, if any.
    environ : mapping, optional
        Instead of ``os.environ``.

    Raises
    ------
    BadInput
        An unknown ``ORB_...`` variable, a port that is no number, a half-configured database, no certificates where
        there should be some.
    """
    found = _read_environ(env_file, environ)
    for name in found:
        if name.startswith("ORB_") and name not in KNOWN:
            known = ", ".join(f"{key} ({meaning})" for key, meaning in KNOWN.items())
            raise BadInput(f"environment variable {name}", "not known to orbresearch", f"known are {known}")
    home = _find_home(found.get("ORB_HOME"))
    return Settings(home, _read_redis(found), _read_store(found, home))


def read_warehouse(
    env_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    given: Mapping[str, str] | None = None,
) -> MySQLSettings:
    """Return where the warehouse of prices is: ``SQL_HOSTNAME``, ``SQL_USERNAME``, ``SQL_PASSWORD``, port and TLS.

    Parameters
    ----------
    given : mapping, optional
        Values that win over the environment's.

    Raises
    ------
    BadInput
        One of the three is missing; what makes no sense.
    """
    found = {**_read_environ(env_file, environ), **(given or {})}
    missing = [name for name in _SQL[:3] if name not in found or (name != "SQL_PASSWORD" and not found[name])]
    if missing:
        fix = 'set what is missing, or name a file: orb.Warehouse("sqlite:///prices.sqlite")'
        raise BadInput("warehouse", f"{' and '.join(missing)} not set", fix)
    return MySQLSettings(
        found["SQL_HOSTNAME"],
        read_port(found, "SQL_PORT", 3306),
        found["SQL_USERNAME"],
        found["SQL_PASSWORD"],
        tls=read_flag(found, "SQL_TLS"),
        tls_ca=read_authorities(found, "SQL"),
        prefix="SQL",
    )


def _read_environ(env_file: str | os.PathLike[str] | None, environ: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment, with what an env file adds to it."""
    found = dict(os.environ if environ is None else environ)
    named = env_file or found.get("ORB_ENV_FILE")
    return {**_read_env_file(Path(named)), **found} if named else found


def _find_home(named: str | None) -> Path:
    """Return ORB_HOME, else the nearest parent folder holding cached_data/, else the working directory."""
    if named:
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "cached_data").is_dir()), here)


def _read_redis(found: Mapping[str, str]) -> RedisSettings:
    endpoint = found.get("REDIS_ENDPOINT") or None
    if endpoint is None:
        _refuse_without("REDIS_ENDPOINT", _REDIS, found, "for the embedded server")
        return RedisSettings()
    port, password = read_port(found, "REDIS_PORT", 6379), found.get("REDIS_PASSWORD") or None
    tls, name = read_flag(found, "REDIS_TLS"), found.get("REDIS_TLS_NAME") or None
    if name and not tls:
        fix = "set REDIS_TLS=1: without TLS there is no certificate whose name could be verified"
        raise BadInput("REDIS_TLS_NAME", "set, but REDIS_TLS is not", fix)
    return RedisSettings(endpoint, port, password, tls, name)


def _read_store(found: Mapping[str, str], home: Path) -> StoreSettings:
    sqlite = home / "results.sqlite"
    endpoint = found.get("DB_ENDPOINT") or None
    if endpoint is None:
        _refuse_without("DB_ENDPOINT", _DB, found, "for SQLite")
        return StoreSettings(sqlite)
    missing = [name for name in ("DB_USERNAME", "DB_PASSWORD", "DB_NAME") if name not in found]
    if missing:
        raise BadInput("DB_ENDPOINT", f"set, but {', '.join(missing)} not", "set them, or unset DB_ENDPOINT for SQLite")
    authorities = read_authorities(found, "DB")
    require_handy("DB_TLS_CA", authorities)
    return StoreSettings(
        sqlite,
        endpoint,
        read_port(found, "DB_PORT", 3306),
        found["DB_USERNAME"],
        found["DB_PASSWORD"],
        found["DB_NAME"],
        found.get("DB_TABLE") or "results",
        read_flag(found, "DB_TLS"),
        authorities,
    )


def _refuse_without(main: str, others: tuple[str, ...], found: Mapping[str, str], instead: str) -> None:
    """Refuse settings that would have no effect because the one they belong to is missing."""
    given = [name for name in others if found.get(name)]
    if given:
        raise BadInput(main, f"not set, but {', '.join(given)}", f"set it too, or unset the others {instead}")


def _read_env_file(path: Path) -> dict[str, str]:
    """Read docker's env.list format: KEY=VALUE lines, # comments, nothing quoted."""
    if not path.is_file():
        raise BadInput(f"env file {path}", "does not exist", "name a file of KEY=VALUE lines")
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"env file {path}, line {number}", "has no '='", "write KEY=VALUE")
        name, known = key.strip(), ("REDIS_ENDPOINT", "DB_ENDPOINT", *_REDIS, *_DB, *_SQL, *KNOWN)
        if name.startswith(("REDIS_", "DB_", "SQL_", "ORB_")) and name not in known:
            raise BadInput(f"env file {path}, line {number}", f"{name} is not known", f"known are {', '.join(known)}")
        found[name] = value.strip()
    return found
