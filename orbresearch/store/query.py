"""Which rows of ``results``, in which order: the one place that builds a query for them, for both dialects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from operator import index
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from orbresearch import schema
from orbresearch.errors import BadInput

MOST_VALUES = 30_000  # in the lists of one query: SQLite binds 32,766
MOST_ROWS = 2**63 - 1
_TEXTS = {field.name for field in schema.RESULTS if pa.types.is_string(field.type)}
_IDS = {"backtest_id", "run_id"}
NUMBERS = [name for name in schema.RESULTS.names if name not in _TEXTS]
_FORMS = "give a value, a list of values, (lowest, highest) with None for an open end, or None for undefined"


@dataclass(frozen=True)
class Query:
    """A checked question to the table ``results``; :func:`make_query` makes one.

    Attributes
    ----------
    runs : tuple of str, optional
        None: all.
    names : tuple of str
        The columns asked for.
    falling : bool
        Highest first. Undefined values come last either way, ties in the order of ``backtest_id``.
    """

    table: sa.Table = field(repr=False)
    runs: tuple[str, ...] | None
    conditions: tuple[sa.ColumnElement[bool], ...] = field(repr=False)
    names: tuple[str, ...]
    order_by: str
    falling: bool
    limit: int | None

    @property
    def shape(self) -> pa.Schema:
        """Names and types of the columns asked for."""
        return pa.schema([schema.RESULTS.field(name) for name in self.names])

    def keyed(self) -> Query:
        """Return the same question with, after the columns asked for, the two that order its rows."""
        return replace(self, names=tuple(dict.fromkeys((*self.names, self.order_by, "backtest_id"))))

    def parts(self) -> list[Query]:
        """Return queries that give the same rows one after another: by run, where rows come in the order of ids.

        Each of them walks along the primary key; all runs at once would be sorted anew for every page.
        """
        if self.runs is None or self.order_by != "backtest_id":
            return [self]
        return [replace(self, runs=(run,)) for run in sorted(self.runs, reverse=self.falling)]

    def statement(self, rows: int | None, after: tuple[Any, str] | None = None) -> sa.Select[Any]:
        """Return the SELECT of the first ``rows`` rows, or of those that follow the row with these two keys.

        Parameters
        ----------
        rows : int, optional
            None: all.
        after : tuple, optional
            ``order_by``'s value and the ``backtest_id`` of the last row seen. Rows stored meanwhile shift nothing.
        """
        selected = sa.select(*(self.table.c[name] for name in self.names))
        by_id = self.order_by == "backtest_id"
        wanted = self._of_ids(after if by_id else None), self._follows(None if by_id else after)
        return selected.where(*wanted, *self.conditions).order_by(*self._order()).limit(rows)

    def _of_ids(self, after: tuple[Any, str] | None) -> sa.ColumnElement[bool]:
        """Return the condition on runs, and on ids where they order the rows.

        A single run is a range of ids: its rows lie together in their order. Each end is named once, as SQLite seeks by
        whichever bound it meets first.
        """
        if self.runs is not None and len(self.runs) > 1:
            return self.table.c.run_id.in_(self.runs)
        low, high = (f"{self.runs[0]}-", f"{self.runs[0]}.") if self.runs else (None, None)  # "." comes after "-"
        if after is not None:
            low, high = (low, after[1]) if self.falling else (after[1], high)
        ids = self.table.c.backtest_id
        return sa.and_(sa.true() if low is None else ids > low, sa.true() if high is None else ids < high)

    def _order(self) -> list[sa.ColumnElement[Any]]:
        """Return an ORDER BY that puts NULL last on both dialects and leaves no tie open."""
        key = self.table.c[self.order_by]
        terms: list[sa.ColumnElement[Any]] = [key.desc() if self.falling else key.asc()]
        if key.nullable:
            terms.insert(0, key.is_(None))
        return terms if self.order_by == "backtest_id" else [*terms, self.table.c.backtest_id.asc()]

    def _follows(self, after: tuple[Any, str] | None) -> sa.ColumnElement[bool]:
        if after is None:
            return sa.true()
        (value, last), key, ids = after, self.table.c[self.order_by], self.table.c.backtest_id
        if value is None:
            return sa.and_(key.is_(None), ids > last)
        beyond: sa.ColumnElement[bool] = key < value if self.falling else key > value
        later = sa.or_(beyond, sa.and_(key == value, ids > last))
        return sa.or_(later, key.is_(None)) if key.nullable else later


def make_query(
    table: sa.Table,
    run: str | Iterable[str] | None = None,
    *,
    ticker: str | Iterable[str] | None = None,
    where: Mapping[str, object] | None = None,
    columns: str | Sequence[str] | None = None,
    order_by: str = "backtest_id",
    descending: bool | None = None,
    limit: int | None = None,
    resolved: bool | None = None,
) -> Query:
    """Check a question to the table ``results``; the parameters are those of :func:`orbresearch.results`.

    Raises
    ------
    BadInput
        An unknown column; a range that is reversed or bounds nothing; an empty list; a value of another type than its
        column's; None for a column that is never undefined; a negative limit.
    """
    check_columns("order_by", [order_by])
    falling = _flag("descending", descending)
    wanted = {} if where is None else _listed(where)
    conditions = [_condition(table.c[name], f"where[{name!r}]", value) for name, value in wanted.items()]
    if ticker is not None:
        conditions.append(_condition(table.c.ticker, "ticker", as_list("ticker", ticker)))
    if _flag("resolved", resolved) is not None:
        conditions.append(table.c.resolved == int(bool(resolved)))
    return Query(
        table,
        None if run is None else tuple(_value("run", "run_id", one) for one in as_list("run", run)),
        tuple(conditions),
        _asked(columns),
        order_by,
        order_by not in _TEXTS if falling is None else falling,
        None if limit is None else count_of("limit", limit),
    )


def check_columns(what: str, names: Iterable[object], known: Sequence[str] = schema.RESULTS.names) -> None:
    """Refuse a column that is not known."""
    for name in names:
        if name not in known:
            raise BadInput(what, f"there is no column {name!r}", f"columns are {', '.join(known)}")


def count_of(what: str, number: int, least: int = 0) -> int:
    """Return a number of rows as an int that a database takes."""
    try:
        found = index(number)
    except TypeError:
        raise BadInput(what, f"{number!r} is no whole number", "give a number of rows") from None
    if isinstance(number, bool):
        raise BadInput(what, f"{number!r} is no whole number", "give a number of rows")
    if found < least:
        wrong = f"{found} is negative" if found < 0 else f"{found} is below {least}"
        raise BadInput(what, wrong, "give a number of rows")
    return min(found, MOST_ROWS)


def as_list(what: str, given: object) -> list[str]:
    """Return one text or several as a list without repetitions."""
    if not isinstance(given, str) and (not isinstance(given, Iterable) or isinstance(given, bytes | Mapping)):
        raise BadInput(what, f"{given!r} is neither text nor a list of texts", "give one or several, or None for all")
    found = [given] if isinstance(given, str) else list(given)
    if not found:
        raise BadInput(what, "the list is empty", "name at least one, or give None for all")
    for one in found:
        if not isinstance(one, str):
            raise BadInput(what, f"{one!r} is no text", "give one or several, or None for all")
    return list(dict.fromkeys(found))


def _asked(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    if columns is None:
        return tuple(schema.RESULTS.names)
    names = [columns] if isinstance(columns, str) else list(columns)
    check_columns("columns", names)
    if not names or len(set(names)) < len(names):
        raise BadInput("columns", f"{names} names {'one twice' if names else 'none'}", "name each column wanted once")
    return tuple(names)


def _flag(what: str, value: object) -> bool | None:
    if value is not None and not isinstance(value, bool | np.bool_):
        raise BadInput(what, f"{value!r} is neither True, False nor None", "give one of them")
    return None if value is None else bool(value)


def _listed(where: Mapping[str, object]) -> dict[str, Any]:
    """Return what is wanted of each column, a tuple or a list."""
    if not isinstance(where, Mapping):
        raise BadInput("where", f"{where!r} is no mapping", f"give {{column: values}}; for the values, {_FORMS}")
    check_columns("where", where)
    several = {
        name: isinstance(value, Iterable) and not isinstance(value, str | bytes) for name, value in where.items()
    }
    found = {
        name: value if isinstance(value, tuple) else list(value) if several[name] else [value]  # type: ignore[call-overload]
        for name, value in where.items()
    }
    values = sum(len(value) for value in found.values())
    if values > MOST_VALUES:
        raise BadInput(
            "where", f"{values:,} values are too many for one query", f"give ranges, or {MOST_VALUES:,} values"
        )
    return found


def _condition(column: sa.Column[Any], what: str, wanted: tuple[Any, ...] | list[Any]) -> sa.ColumnElement[bool]:
    if isinstance(wanted, tuple):
        return _between(column, what, wanted)
    if not wanted:
        raise BadInput(what, "the list is empty", _FORMS)
    values = [_value(what, column.name, value) for value in wanted if not _is_missing(value)]
    among = column.in_(list(dict.fromkeys(values)))
    if len(values) == len(wanted):
        return among
    if not column.nullable:
        raise BadInput(what, f"{column.name} is never undefined", "leave it out for all rows, or give values")
    return sa.or_(among, column.is_(None)) if values else column.is_(None)


def _between(column: sa.Column[Any], what: str, ends: tuple[Any, ...]) -> sa.ColumnElement[bool]:
    """Return ``lowest <= column <= highest``. An infinite end is open too: (-inf, inf) is whatever is defined."""
    if len(ends) != 2 or all(end is None for end in ends):
        raise BadInput(what, f"{ends} bounds nothing" if len(ends) == 2 else f"{ends} is no pair", _FORMS)
    open_ends = (-math.inf, math.inf)
    low, high = (
        None if end is None or (isinstance(end, Real) and end == free) else _value(what, column.name, end)
        for end, free in zip(ends, open_ends, strict=True)
    )
    if low is not None and high is not None and low > high:
        raise BadInput(what, f"{ends} is reversed", f"give ({high!r}, {low!r})")
    bounds = [column >= low] if low is not None else []
    bounds += [column <= high] if high is not None else []
    return sa.and_(column.is_not(None), *bounds)


def _value(what: str, name: str, value: object) -> Any:
    """Return a value as its column's drivers take it."""
    if name in _TEXTS:
        return _text(what, name, value)
    if isinstance(value, bool | np.bool_) and name == "resolved":
        return int(value)
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise BadInput(what, f"{value!r} is no number", f"{name} is a finite number; {_FORMS}")
    if not isinstance(value, Integral):
        return float(value)
    if abs(int(value)) >= 2**63:
        raise BadInput(what, f"{value} has more than 63 bits", f"{name} is less")
    return int(value)


def _text(what: str, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadInput(what, f"{value!r} is no text", f"{name} is text; {_FORMS}")
    known = value.isascii() if name in _IDS else value.encode(errors="replace").decode() == value
    if not known:
        raise BadInput(what, f"{value!r} holds characters that no {name} has", "take one from the results")
    return str(value)


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, Real) and math.isnan(value))
