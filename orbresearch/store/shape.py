"""What a database already holds, compared with what it should hold: all of it before any of it is created."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedColumn

from orbresearch.errors import WrongTable
from orbresearch.settings import StoreSettings
from orbresearch.store.tables import SCHEMA_VERSION, Tables, make_best_view

MIGRATED = (1,)  # older versions whose tables become present ones by columns and tables that they lack
_ADDED = (("runs", ("kept", "finished_at")),)


def find_missing(connection: sa.Connection, tables: Tables, settings: StoreSettings) -> list[str]:
    """Return the names of the tables and the view that are not there yet.

    Raises
    ------
    WrongTable
        One that is there has another shape, or was written by another version of the tables.
    """
    present, views = _list_names(connection, [*(table.name for table in tables.all), tables.view])
    for table in (tables.info, tables.results, tables.runs, tables.chunks, tables.summaries):
        wrong = "is a view" if table.name in views else _difference(connection, table) if table.name in present else ""
        if wrong:
            raise _wrong_table(table.name, wrong, settings)
        if table is tables.info and table.name in present:
            _check_version(connection, tables, settings)  # says more than the first difference in shape would
    wrong = "is a table, not a view" if tables.view in present else ""
    if tables.view in views:
        wrong = _view_difference(connection, tables)
    if wrong:
        raise _wrong_table(tables.view, wrong, settings)
    missing = [table.name for table in tables.all if table.name not in present]
    return missing if tables.view in views else [*missing, tables.view]


def create_missing(connection: sa.Connection, tables: Tables, missing: list[str]) -> None:
    """Create the named tables and the view, and any index that an interrupted creation left out."""
    tables.metadata.create_all(connection)
    for table in tables.all:
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    if tables.view in missing:
        connection.exec_driver_sql(_view_statement(connection.dialect, tables))


def is_older(connection: sa.Connection, tables: Tables) -> bool:
    """Return whether the tables were written by a version from which :func:`migrate` knows the way."""
    if not sa.inspect(connection).has_table(tables.info.name):
        return False
    columns = {column["name"] for column in sa.inspect(connection).get_columns(tables.info.name)}
    if "schema_version" not in columns:
        return False
    return connection.execute(sa.select(tables.info.c.schema_version)).scalar() in MIGRATED


def migrate(connection: sa.Connection, tables: Tables) -> None:
    """Bring tables up to date. What is done already is left alone: an interrupted migration is simply repeated."""
    for table, names in _ADDED:
        there = {column["name"] for column in sa.inspect(connection).get_columns(getattr(tables, table).name)}
        for name in (name for name in names if name not in there):
            column = sa.schema.CreateColumn(getattr(tables, table).c[name]).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {getattr(tables, table).name} ADD COLUMN {column}")
    tables.summaries.create(connection, checkfirst=True)
    runs = tables.runs
    facts = (runs.c.run_id, runs.c.tickers, runs.c.range_durations, runs.c.backtests, runs.c.chunk_size)
    for run_id, tickers, durations, backtests, size in connection.execute(sa.select(*facts)).fetchall():
        points = backtests // (len(tickers.split(",")) * len(durations.split(",")))  # no chunk was of several inputs
        connection.execute(runs.update().where(runs.c.run_id == run_id).values(chunk_size=min(size, points)))
    connection.execute(tables.info.update().values(schema_version=SCHEMA_VERSION))


def _view_statement(dialect: sa.Dialect, tables: Tables) -> str:
    query = make_best_view(tables).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    rights = "SQL SECURITY INVOKER " if dialect.name in ("mysql", "mariadb") else ""
    return f"CREATE {rights}VIEW {tables.view} AS {query}"


def _list_names(connection: sa.Connection, names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return which of the names are tables and which are views, by the server's own idea of upper and lower case.

    Tables are listed first: a view that another process creates meanwhile is then taken for no table.
    """
    inspector = sa.inspect(connection)
    folds = inspector.dialect.name == "sqlite" or connection.exec_driver_sql("SELECT @@lower_case_table_names").scalar()
    tables, views = (
        {name.lower() if folds else name for name in found}
        for found in (inspector.get_table_names(), inspector.get_view_names())
    )
    sought = {name: name.lower() if folds else name for name in names}
    return {n for n in sought if sought[n] in tables}, {n for n in sought if sought[n] in views}


def _difference(connection: sa.Connection, table: sa.Table) -> str:
    """Return the first difference, "" for none. A further column that an INSERT may leave out is none."""
    inspector = sa.inspect(connection)
    found = {column["name"]: column for column in inspector.get_columns(table.name)}
    lacking = [column.name for column in table.columns if column.name not in found]
    if lacking:
        return f"has no column {', '.join(lacking)}"
    for column in table.columns:
        if wrong := _column_difference(found[column.name], column, inspector.dialect):
            return wrong
    known = {column.name for column in table.columns}
    for name, other in found.items():
        if name not in known and not other["nullable"] and other["default"] is None:
            return f"has a further column {name} that must not be NULL"
    return _table_difference(inspector, table)


def _column_difference(found: ReflectedColumn, column: sa.Column[Any], dialect: sa.Dialect) -> str:
    is_type, should_be = _spell(found["type"], dialect), _spell(column.type, dialect)
    if is_type != should_be:
        return f"column {column.name} is {is_type}, not {should_be}"
    if found["nullable"] != column.nullable:
        return f"column {column.name} {'allows' if found['nullable'] else 'forbids'} NULL"
    return ""


def _table_difference(inspector: sa.Inspector, table: sa.Table) -> str:
    is_key = inspector.get_pk_constraint(table.name)["constrained_columns"]
    should_be = [column.name for column in table.primary_key.columns]
    if is_key != should_be:
        return f"primary key is ({', '.join(is_key)}), not ({', '.join(should_be)})"
    if inspector.dialect.name == "sqlite":
        return ""
    engine = inspector.get_table_options(table.name).get(f"{inspector.dialect.name}_engine", "InnoDB")
    return "" if engine == "InnoDB" else f"storage engine is {engine}, which knows no transactions, not InnoDB"


def _view_difference(connection: sa.Connection, tables: Tables) -> str:
    if connection.dialect.name == "sqlite":
        found = [column["name"] for column in sa.inspect(connection).get_columns(tables.view)]
    else:  # the inspector would need the right to SHOW VIEW
        found = [str(row[0]) for row in connection.exec_driver_sql(f"SHOW COLUMNS FROM {tables.view}")]
    expected = [column.name for column in make_best_view(tables).selected_columns]
    return "" if found == expected else "is a view with other columns"


def _check_version(connection: sa.Connection, tables: Tables, settings: StoreSettings) -> None:
    version = connection.execute(sa.select(tables.info.c.schema_version)).scalar()
    if version not in (None, SCHEMA_VERSION):
        wrong = f"tables are of version {version}; this orbresearch writes version {SCHEMA_VERSION}"
        if version in MIGRATED:
            raise WrongTable(
                tables.info.name, settings.where, wrong, "open an orb.Lab() once: it brings them up to date"
            )
        fix = "install the orbresearch that wrote them, or " + _other_place(settings)
        raise WrongTable(tables.info.name, settings.where, wrong, fix)


def _spell(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    """Return a type as SQL without character set, collation and display width, which vary between servers."""
    try:
        text = kind.compile(dialect=dialect).upper()
    except sa.exc.CompileError:
        return "of an unknown type"
    text = re.sub(r" (CHARACTER SET|COLLATE) .*", "", text)
    return re.sub(r"^(BIGINT|INTEGER|SMALLINT)\(\d+\)", r"\1", text)


def _wrong_table(name: str, wrong: str, settings: StoreSettings) -> WrongTable:
    fix = f"rename it: ALTER TABLE {name} RENAME TO {name}_old; or {_other_place(settings)}"
    return WrongTable(name, settings.where, wrong, fix)


def _other_place(settings: StoreSettings) -> str:
    return "set DB_TABLE to another name" if settings.is_mysql else "set ORB_HOME to another folder"
