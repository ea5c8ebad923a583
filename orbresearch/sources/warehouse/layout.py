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
_NOT_THERE = {1049, 1146}  # a database, a table
_SYSTEM = ("information_schema", "main", "mysql", "performance_schema", "sys")


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
        Whether an index begins with ticker and time; of a view, nobody knows.
    folds : bool
        Whether the database takes "spy" and "SPY " for "SPY", as MySQL does.
    """

    columns: dict[str, Any]
    key: Any
    indexed: bool
    folds: bool

    def is_ticker(self, wanted: Any) -> Any:
        """Return the condition that a row is of a ticker (a parameter), or of one of a list.

        Where the database folds names, its index finds too many: of those the bytes are compared as well.
        """
        ticker = self.columns["ticker"]
        conditions = [ticker]
        if self.folds:
            text = sa.func.convert(ticker.op("USING")(sa.literal_column("utf8mb4")))
            conditions.append(sa.type_coerce(sa.cast(text, sa.LargeBinary), sa.String))
        return sa.and_(*(name.in_(wanted) if isinstance(wanted, list) else name == wanted for name in conditions))


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
    found = _find_columns(inspector, place, name, table, schema)
    names = {canonical: own.get(canonical, canonical) for canonical in known}
    missing = [
        canonical for canonical in known if names[canonical] not in found and (canonical in _NEEDED or canonical in own)
    ]
    if missing:
        wrong = f"table {name} has no column {names[missing[0]]!r}"
        fix = f'its columns are {", ".join(found)}; say columns={{"{missing[0]}": ...}}'
        raise BadInput(f"warehouse {place.where}", wrong, fix)
    columns = {canonical: column for canonical, column in names.items() if column in found}
    _check_kinds(found, columns, name, place)
    clause = sa.table(table, *map(sa.column, {**found, ROWID: None}), schema=schema or None)
    is_view = table in inspector.get_view_names(schema or None)  # SQLite's have a rowid that is NULL
    key = None if is_view else _find_key(connection, inspector, clause, found)
    pair = {columns["ticker"], columns.get("timestamp_utc", columns.get("date"))}
    return Layout(
        {canonical: clause.c[column] for canonical, column in columns.items()},
        key,
        is_view or any(set(index[:2]) == pair for index in _indexes(inspector, table, schema or None)),
        isinstance(place, MySQLSettings),
    )


def _find_columns(inspector: Any, place: Place, name: str, table: str, schema: str) -> dict[str, Any]:
    """Return the columns of a table by name."""
    if isinstance(place, MySQLSettings) and not schema:
        raise BadInput(f"warehouse {place.where}", f"{name!r} names no database", 'write "database.table"')
    try:
        return {column["name"]: column for column in inspector.get_columns(table, schema or None)}
    except sa.exc.NoSuchTableError:
        pass
    except sa.exc.DBAPIError as error:
        code = code_of(error)
        if isinstance(place, MySQLSettings) and code in _FORBIDDEN:
            grant = f"GRANT SELECT ON {name} TO '{place.username}';"
            raise Unreachable("MySQL", address(place), reason_of(error), grant) from None
        if code not in _NOT_THERE and not str(error.orig).startswith("unknown database"):
            raise
    raise BadInput(f"warehouse {place.where}", f"no table {name}", _what_there_is(inspector)) from None


def _check_kinds(found: dict[str, Any], columns: dict[str, str], name: str, place: Place) -> None:
    """Refuse moments that are no whole seconds, and prices that are text."""
    for canonical, wanted in (("timestamp_utc", "whole seconds since the epoch"), ("underlying", "a number")):
        kind = found[columns[canonical]]["type"] if canonical in columns else sa.Integer()
        usable = isinstance(kind, (sa.Integer, sa.Numeric, sa.Float, sa.types.NullType))  # in SQLite, of no type
        if canonical == "timestamp_utc":
            usable &= not isinstance(kind, sa.Float) and not getattr(kind, "scale", 0)
        if not usable:
            wrong = f"{name}.{columns[canonical]} is {kind}, not {wanted}"
            fix = f'name a column that has it, columns={{"{canonical}": ...}}, or a view with one'
            raise BadInput(f"warehouse {place.where}", wrong, fix)


def _find_key(connection: sa.Connection, inspector: Any, table: sa.TableClause, found: dict[str, Any]) -> Any:
    """Return the column that tells the order of insertion: one that counts, a lone integer key, or SQLite's own."""
    keys = inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]
    counting = [name for name, column in found.items() if column.get("autoincrement") is True]
    if counting or (len(keys) == 1 and isinstance(found[keys[0]]["type"], sa.Integer)):
        return table.c[(counting or keys)[0]]
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
    schemas = [name for name in inspector.get_schema_names() if name not in _SYSTEM]
    tables = [f"{schema}.{table}" for schema in schemas[:5] for table in inspector.get_table_names(schema)[:5]]
    return f"there is {', '.join(tables) or 'none that this account may see'}; say greeks= or closes="
