"""What the drivers say, as errors that name the remedy and hold no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from orbresearch.errors import Unreachable
from orbresearch.settings import MySQLSettings, SQLiteSettings
from orbresearch.variables import OF_REGION

Place = MySQLSettings | SQLiteSettings

_DUPLICATES = {1062, 1586, 1555, 2067}  # ER_DUP_ENTRY(_WITH_KEY_NAME), SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE

FILE_ASKED = 2027  # the drivers' number for a packet that makes no sense; ours for a file that nobody offered

#: What servers and proxies say where LOAD DATA LOCAL is switched off, forbidden to the account, or unknown.
LOAD_REFUSALS = {1045, 1047, 1148, 1227, 1235, 2068, 3948, 4166}

_AWAY = "that the server runs, and that its firewall lets this machine in"
_LOST = "the connection was lost: try again"
_MYSQL_FIXES = {
    1040: "it has too many connections: close some, or raise max_connections",
    1044: "{create}GRANT {rights} ON {object} TO '{username}';",
    1045: "check {prefix}_USERNAME and {prefix}_PASSWORD",
    1049: "CREATE DATABASE {database};",
    1142: "GRANT {rights} ON {object} TO '{username}';",
    1143: "GRANT {rights} ON {object} TO '{username}';",
    1153: "raise max_allowed_packet there to 16 MB",
    1205: "another process holds a lock for long: try again when it is done",
    1213: "two processes wrote the same rows: try again",
    1698: "check {prefix}_USERNAME and {prefix}_PASSWORD",
    2003: f"check {{host}} and {{prefix}}_PORT, {_AWAY}",
    1053: _LOST,  # the server is being ended
    1927: _LOST,  # an administrator has ended the connection
    2006: _LOST,
    2013: _LOST,
    2055: _LOST,
    2026: "the server offers no TLS: enable it there, or unset {prefix}_TLS",
    FILE_ASKED: "check {host} and who answers there: an honest server does not do that",
}
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_CERTIFICATE_FIXES = {  # by what OpenSSL says of a server's certificate; nothing: that nobody trusted has signed it
    "mismatch": "set {host} to a name that its certificate is for",
    "expired": "have its certificate renewed",
    "not yet valid": "check this machine's clock",
    "": f"name in {{prefix}}_TLS_CA a file of the authority that signed it; {OF_REGION}",
}
_SQLITE_FIXES = {
    5: "another process has been writing for long: try again when it is done",
    8: "make the file and its folder writable, or {way_out}",
    10: "check the disk that holds it",
    11: "the file is damaged: move it away; runs compute their results anew",
    13: "free some disk space",
    14: "check that its folder exists and is writable, or {way_out}",
    26: "it is no SQLite file: move it away, or {way_out}",
}

_SQLITE_READONLY, _NO_DATABASE = 8, 1049
_PASSING = {_LOST, _MYSQL_FIXES[1205], _MYSQL_FIXES[1213]}


def address(place: Place) -> str:
    """Return ``host:port``, or the file's path."""
    return f"{place.host}:{place.port}" if isinstance(place, MySQLSettings) else str(place.path)


def code_of(error: DBAPIError) -> int:
    """Return the server's or SQLite's (extended) error number; 0 where there is none."""
    number = getattr(error.orig, "sqlite_errorcode", None)
    if number is None and error.orig is not None and error.orig.args:
        number = error.orig.args[0]
    return number if isinstance(number, int) else 0


def reason_of(error: BaseException) -> str:
    """Return what the driver said, in one line, without the statement and its parameters."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = said.args[-1] if said.args and isinstance(said.args[-1], str) else str(said)
    return words.strip().splitlines()[0] if words.strip() else type(said).__name__


def is_duplicate(error: DBAPIError) -> bool:
    """Return whether a row with this key is already there (and not, say, a value missing)."""
    return code_of(error) in _DUPLICATES


def unreachable(place: Place, error: BaseException, rights: str = "") -> Unreachable:
    """Return the error that tells a person what to do about ``error``.

    Parameters
    ----------
    rights : str
        What an account is to be granted; by default all on the database of results, SELECT on a warehouse.
    """
    code = code_of(error) if isinstance(error, DBAPIError) else 0
    if isinstance(place, SQLiteSettings):
        fix = _SQLITE_FIXES.get(code & 0xFF, "check the file, or {way_out}").format(way_out=place.way_out)
        return Unreachable("SQLite", address(place), reason_of(error), fix)
    fix = _mysql_fix(error, code)
    host = f"{place.prefix}_{'ENDPOINT' if place.prefix == 'DB' else 'HOSTNAME'}"
    rights = rights or ("ALL" if place.prefix == "DB" else "SELECT")
    names = {"database": place.database, "username": place.username, "prefix": place.prefix, "rights": rights}
    names["object"] = f"{place.database}.*" if place.database else _denied_object(error)
    names["create"] = f"CREATE DATABASE {place.database}; " if rights == "ALL" and place.database else ""
    fix = fix.format(**names, host=host)
    return Unreachable("MySQL", address(place), reason_of(error), fix)


def _mysql_fix(error: BaseException, code: int) -> str:
    """Return the remedy, with names to be filled in."""
    said = reason_of(error)
    if _UNTRUSTED in said:  # a number of its own it has not
        return next(fix for words, fix in _CERTIFICATE_FIXES.items() if words in said)
    gone = isinstance(error, DBAPIError) and error.connection_invalidated
    return _MYSQL_FIXES.get(code, _LOST if gone else "look it up in the server's manual, or ask its administrator")


def _denied_object(error: BaseException) -> str:
    """Return what an account may not use, as its server names it (often without the database)."""
    said = reason_of(error)
    if table := re.search(r"(?:for|in) table [`']?([^`'.]+)[`']?(?:\.[`']([^`']+)[`'])?", said):
        return f"{table[1]}.{table[2]}" if table[2] else f"its_database.{table[1]}"
    database = re.search(r"to database '([^']+)'", said)
    return f"{database[1]}.*" if database else "its_database.*"


@contextmanager
def translated(place: Place, rights: str = "") -> Iterator[None]:
    """Turn what a driver raises inside into :class:`~orbresearch.errors.Unreachable`.

    The driver's own error is not chained: its frames hold the connection's arguments.
    """
    try:
        yield
    except (DBAPIError, UnicodeError) as error:
        raise unreachable(place, error, rights) from None


def is_of_place(error: DBAPIError) -> bool:
    """Return whether the server, the connection or the account is at fault, rather than the statement."""
    code = code_of(error)
    if hasattr(error.orig, "sqlite_errorcode"):
        return code & 0xFF in _SQLITE_FIXES and code & 0xFF != _SQLITE_READONLY
    return error.connection_invalidated or (code in _MYSQL_FIXES and code != _NO_DATABASE)


def is_lost(error: Unreachable, *, was_there: bool = False) -> bool:
    """Return whether a connection was lost on the way: asking again may help.

    Parameters
    ----------
    was_there : bool
        The server has answered before: where none answers now, it may be about to come back.
    """
    return error.fix in _PASSING or (was_there and error.fix.endswith(_AWAY))
