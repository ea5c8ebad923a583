"""One session of one ticker: one row per second, reduced on the server.

A warehouse has a row per option, some thirty a second, and all of them say what the underlying costs. What counts is
the last price of each second (strategy.md), so the server returns one row per second instead of thirty. One row per
*change* would be fewer still, but lose what the strategy asks: how long a price stood, and in how many seconds it was
seen.

With a key that rises from row to row (an ``id``), the index on ticker and time alone tells which row was the last of
each second, and only those rows are read. Without one, SQL knows no order within a second: the price that most rows of
the second show stands, the lowest of equally many.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from orbresearch.sessions.volatility import NEAR_THE_MONEY, PARTS, Volatility
from orbresearch.sources.warehouse.layout import Layout

_AT_ONCE = 10_000  # seconds in one list: SQLite takes some 32,000


@dataclass(frozen=True, eq=False)
class Seconds:
    """What a warehouse says of one session.

    Parameters
    ----------
    time : int64 array, shape (n,)
        UTC epoch seconds, rising, each once.
    price : float64 array, shape (n,)
        Dollars; NaN where no row of the second has a price.
    rows : int
        Rows of the table that they stand for; where the database folds names, those of other spellings with them.
    returned : int
        Rows that came from the server.
    """

    time: Any
    price: Any
    rows: int
    returned: int


def read_seconds(connection: sa.Connection, layout: Layout, ticker: str, first: int, last: int) -> Seconds:
    """Return the prices of the seconds from ``first`` to ``last``, both inclusive."""
    statement = _last_rows(layout) if layout.key is not None else _commonest(layout)
    time, count, price = _fetch(connection, statement, ticker=ticker, first=first, last=last)
    order = np.lexsort((-price, count, time))  # of a second's prices the commonest comes last
    time, count, price = time[order].astype(np.int64), count[order], price[order]
    usable = np.isfinite(price) & (price > 0)
    seen, returned = int(count.sum()), len(time)
    if layout.key is None:
        return Seconds(*_stand(time, np.where(usable, price, np.nan)), seen, returned)
    bad = np.flatnonzero(~usable)
    price[bad] = _earlier(connection, layout, ticker, time[bad])
    return Seconds(time, price, seen, returned + len(bad))


def read_volatility(
    connection: sa.Connection, layout: Layout, ticker: str, time: Any, first: int, last: int
) -> Volatility | None:
    """Return implied volatility near the money at given seconds; None where the table has none."""
    if not {"delta", "implied_volatility"} <= set(layout.columns):
        return None
    at, total, count = _fetch(connection, _volatilities(layout), ticker=ticker, first=first, last=last)
    found = Volatility(np.zeros(len(time), np.int64), np.zeros(len(time), np.int32), last - first + 1)
    known = np.isin(at, time)
    where = np.searchsorted(time, at[known])
    found.total[where] = total[known].astype(np.int64)
    found.rows[where] = count[known].astype(np.int32)
    return found


def _fetch(connection: sa.Connection, statement: Any, **facts: Any) -> Any:
    """Return the columns of a reply as float64 arrays, NULL as NaN."""
    result = connection.execute(statement, facts)
    width = len(result.keys())
    rows = result.cursor.fetchall()  # the driver's own tuples
    if not rows:
        return np.zeros((width, 0))
    return np.array(rows, np.float64).T


def usable(value: Any) -> Any:
    """Return the condition that a price or a volatility is one: SQLite knows infinity and texts."""
    return sa.and_(value > 0, value <= sys.float_info.max)


def near_the_money(layout: Layout) -> Any:
    """Return the condition that a row's implied volatility is one near the money."""
    least, most = NEAR_THE_MONEY
    distance = sa.func.abs(layout.columns["delta"])
    both = usable(layout.columns["implied_volatility"]), usable(layout.columns["underlying"])
    return sa.and_(distance > least, distance < most, *both)  # a row without a price takes no part (strategy.md)


def volatility_parts(layout: Layout) -> Any:
    """Return the sum of implied volatilities in 1e-9."""
    return sa.func.sum(sa.func.round(layout.columns["implied_volatility"] * PARTS))


def _window(layout: Layout, *, folded: bool = False) -> Any:
    """Return the condition that a row is of a ticker, ``folded``: of a name that the database takes for the same."""
    ticker, time = layout.columns["ticker"], layout.columns["timestamp_utc"]
    of_ticker = ticker == sa.bindparam("ticker") if folded else layout.is_ticker(sa.bindparam("ticker"))
    return of_ticker & time.between(sa.bindparam("first"), sa.bindparam("last"))


def _last_rows(layout: Layout) -> Any:
    """Return a query for (second, rows of it, price of its last row).

    To compare the bytes of every row's ticker would cost a quarter of the time: only those of the last rows are. One of
    another spelling shows no price here, and :func:`_earlier` finds the ticker's own, if there is one.
    """
    time, price = layout.columns["timestamp_utc"], layout.columns["underlying"]
    lasts = sa.select(time.label("t"), sa.func.count().label("n"), sa.func.max(layout.key).label("k"))
    found = lasts.where(_window(layout, folded=True)).group_by(time).subquery("seconds")
    same = (layout.key == found.c.k) & layout.is_ticker(sa.bindparam("ticker"))
    return sa.select(found.c.t, found.c.n, price).select_from(found.outerjoin(layout.key.table, same))


def _commonest(layout: Layout) -> Any:
    """Return a query for (second, rows with this price, price)."""
    time, price = layout.columns["timestamp_utc"], layout.columns["underlying"]
    return sa.select(time, sa.func.count(), price).where(_window(layout)).group_by(time, price)


def _volatilities(layout: Layout) -> Any:
    """Return a query for (second, sum of implied volatilities in 1e-9, how many)."""
    time = layout.columns["timestamp_utc"]
    query = sa.select(time, volatility_parts(layout), sa.func.count())
    return query.where(_window(layout), near_the_money(layout)).group_by(time)


def _stand(time: Any, price: Any) -> tuple[Any, Any]:
    """Return each second once, with the last usable price of its rows."""
    order = np.lexsort((np.isfinite(price), time))  # stable: usable ones last, in their order
    time, price = time[order], price[order]
    last = np.append(time[1:] != time[:-1], True)[: len(time)]
    return time[last], price[last]


def _earlier(connection: sa.Connection, layout: Layout, ticker: str, seconds: Any) -> Any:
    """Return, for seconds whose last row has no price, that of the last row which has one; NaN where none has."""
    found = np.full(len(seconds), np.nan)
    time, price = layout.columns["timestamp_utc"], layout.columns["underlying"]
    for start in range(0, len(seconds), _AT_ONCE):
        wanted = layout.is_ticker(sa.bindparam("ticker")), time.in_(seconds[start : start + _AT_ONCE].tolist())
        query = sa.select(time, price, layout.key).where(*wanted, usable(price)).order_by(time, layout.key)
        at, prices, _ = _fetch(connection, query, ticker=ticker)
        found[np.searchsorted(seconds, at)] = prices  # of several, the last is assigned last
    return found
