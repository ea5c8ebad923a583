"""The tables of a warehouse as they are: what they hold, and the keys that decide how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import MySQLSettings
from orbresearch.sql.failures import Place, address, code_of, reason_of

GREEKS = ("timestamp_utc", "ticker", "underlying", "strike", "expiration", "delta", "implied_volatility")
CLOSES = ("ticker", "date", "close_price")
_NEEDED = {"timestamp_utc", "ticker", "underlying", *CLOSES}
ROWID = "rowid"  # SQLite's own key
_FORBIDDEN = {1142, 1143, 1044, 1227}


@dataclass(frozen=True, eq=False)
class Layout:
    """A table of the warehouse.

    Parameters
    ----------
    columns : dict of sqlalchemy columns
        By canonical name.
    key : sqlalchemy column or None
        A number that rises from row to row as they were inserted: it tells which price of a second was the last. None
        where the table has none.
    indexed : bool
        Whether an index begins with ticker and time.
    """

    columns: dict[str, Any]
    key: Any
    indexed: bool


def find_layout(
    connection: sa.Connection, place: Place, name: str, known: tuple[str, ...], own: Mapping[str, str]
) -> Layout:
    """Look at a table.

    Parameters
    ----------
    name : str
        With its schema: ``options.greeks``.
    known : tuple of str
        Canonical columns, GREEKS or CLOSES.
    own : mapping
        Canonical name -> the table's own, for those that differ.

    Raises
    ------
    BadInput
        No such table or column.
    Unreachable
        The account may not read it.
    """
    schema, _, table = name.rpartition(".")
    inspector = sa.inspect(connection)
    try:
        found = {column["name"]: column for column in inspector.get_columns(table, schema or None)}
    except sa.exc.NoSuchTableError:
        raise BadInput(f"warehouse {place.where}", f"no table {name}", _what_there_is(inspector)) from None
    except sa.exc.DBAPIError as error:
        if code_of(error) not in _FORBIDDEN or not isinstance(place, MySQLSettings):
            raise
        grant = f"GRANT SELECT ON {name} TO '{place.username}';"
        raise Unreachable("MySQL", address(place), reason_of(error), grant) from None
    names = {canonical: own.get(canonical, canonical) for canonical in known}
    missing = [names[canonical] for canonical in known if canonical in _NEEDED and names[canonical] not in found]
    if missing:
        fix = f'its columns are {", ".join(found)}; say columns={{"{missing[0]}": ...}}'
        raise BadInput(f"warehouse {place.where}", f"table {name} has no column {missing[0]!r}", fix)
    columns = {canonical: column for canonical, column in names.items() if column in found}
    _check_time(found, columns, name, place)
    clause = sa.table(table, *map(sa.column, {**found, ROWID: None}), schema=schema or None)
    key = _find_key(connection, inspector, clause, found)
    pair = {columns["ticker"], columns.get("timestamp_utc", columns.get("date"))}
    return Layout(
        {canonical: clause.c[column] for canonical, column in columns.items()},
        key,
        any(set(index[:2]) == pair for index in _indexes(inspector, table, schema or None)),
    )


def _check_time(found: dict[str, Any], columns: dict[str, str], name: str, place: Place) -> None:
    """Refuse moments that are no whole seconds."""
    if "timestamp_utc" not in columns:
        return
    kind = found[columns["timestamp_utc"]]["type"]
    if not isinstance(kind, (sa.Integer, sa.Numeric)):
        wrong = f"{name}.{columns['timestamp_utc']} is {kind}, not whole seconds since the epoch"
        raise BadInput(
            f"warehouse {place.where}", wrong, 'give the column of epoch seconds: columns={"timestamp_utc": ...}'
        )


def _find_key(connection: sa.Connection, inspector: Any, table: sa.TableClause, found: dict[str, Any]) -> Any:
    """Return the column that tells the order of insertion: a lone integer primary key, or SQLite's own."""
    keys = inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]
    if len(keys) == 1 and isinstance(found[keys[0]]["type"], sa.Integer):
        return table.c[keys[0]]
    if connection.dialect.name != "sqlite":
        return None
    try:
        connection.execute(sa.select(table.c[ROWID]).limit(1))
    except sa.exc.OperationalError:  # a table WITHOUT ROWID, or a view
        return None
    return table.c[ROWID]


def _indexes(inspector: Any, table: str, schema: str | None) -> list[list[str]]:
    """Return the columns of each index, the primary key's included."""
    found = [index["column_names"] for index in inspector.get_indexes(table, schema)]
    return [*found, inspector.get_pk_constraint(table, schema)["constrained_columns"]]


def _what_there_is(inspector: Any) -> str:
    """Return what tables the account can see, in words."""
    schemas = [
        name for name in inspector.get_schema_names() if name not in ("information_schema", "main", "mysql", "sys")
    ]
    tables = [f"{schema}.{table}" for schema in schemas[:5] for table in inspector.get_table_names(schema)[:5]]
    return f"the account sees {', '.join(tables) or 'none'}; say greeks= or closes="
