"""Opening ranges of many tickers, straight from the warehouse: one pass per session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from orbresearch.sessions.volatility import LEAST_ROWS, PARTS
from orbresearch.sources.warehouse.layout import Layout
from orbresearch.sources.warehouse.prices import near_the_money, usable, volatility_parts

COLUMNS = ("ticker", "session", "open_price", "high", "low", "count_trades", "trading_start", "avg_vol")
_FIRST_LOOK = 60  # seconds after the range in which nearly every ticker is seen again


def read_ranges(connection: sa.Connection, layout: Layout, tickers: list[str], window: tuple[int, int, int]) -> Any:
    """Return one session's opening ranges, by ticker.

    Parameters
    ----------
    tickers : list of str
    window : (int, int, int)
        UTC epoch seconds: the open, the range's end (exclusive), the close (inclusive).

    Returns
    -------
    DataFrame
        By ticker: ``open_price, high, low, count_trades`` (seconds with a price), ``trading_start`` (of the first
        price at or after the range's end), ``avg_vol``. A ticker without any price in the window is missing;
        ``trading_start`` is where nothing comes after.
    """
    opened, ended, closed = window
    before = min(ended - 1, closed)  # half-days may end within
    seconds = _standing(connection, layout, tickers, opened, before)
    grouped = seconds.groupby("ticker")["price"]
    found = pd.DataFrame({"open_price": grouped.first(), "high": grouped.max(), "low": grouped.min()})
    found["count_trades"] = grouped.count()
    found["trading_start"] = _next_prices(connection, layout, list(found.index), ended, closed)
    found["avg_vol"] = _volatilities(connection, layout, list(found.index), opened, before)
    return found


def _standing(connection: sa.Connection, layout: Layout, tickers: list[str], first: int, last: int) -> Any:
    """Return (ticker, second, price) in that order: the price that stands at the end of each second."""
    ticker, time, price = (layout.columns[name] for name in ("ticker", "timestamp_utc", "underlying"))
    order = sa.func.max(layout.key) if layout.key is not None else sa.func.count()
    chosen = sa.select(ticker, time, price, order).where(*_window(layout, tickers, first, last), usable(price))
    chosen = chosen.group_by(ticker, time, price)
    rows = connection.execute(chosen).fetchall()
    frame = pd.DataFrame(rows, columns=["ticker", "second", "price", "order"]).astype({"price": float})
    frame["lower"] = -frame["price"]  # of equally common prices the lowest stands
    frame = frame.sort_values(["ticker", "second", "order", "lower"])
    return frame.drop_duplicates(["ticker", "second"], keep="last")


def _next_prices(connection: sa.Connection, layout: Layout, tickers: list[str], ended: int, closed: int) -> Any:
    """Return the first second from ``ended`` on in which each ticker has a price; missing where there is none."""
    ticker, time, price = (layout.columns[name] for name in ("ticker", "timestamp_utc", "underlying"))
    found: dict[str, int] = {}
    for last in (min(ended + _FIRST_LOOK, closed), closed):
        left = [name for name in tickers if name not in found]
        if left:
            wanted = sa.select(ticker, sa.func.min(time)).where(*_window(layout, left, ended, last), usable(price))
            found |= {name: int(second) for name, second in connection.execute(wanted.group_by(ticker))}
    return pd.Series(found, dtype="Int64").reindex(tickers)


def _volatilities(connection: sa.Connection, layout: Layout, tickers: list[str], first: int, last: int) -> Any:
    """Return the mean implied volatility near the money by ticker, NaN where fewer than two rows have one."""
    if not tickers or not {"delta", "implied_volatility"} <= set(layout.columns):
        return pd.Series(np.nan, tickers)
    ticker = layout.columns["ticker"]
    query = sa.select(ticker, volatility_parts(layout), sa.func.count())
    query = query.where(*_window(layout, tickers, first, last), near_the_money(layout))
    rows = connection.execute(query.group_by(ticker)).fetchall()
    means = {name: float(parts) / count / PARTS for name, parts, count in rows if count >= LEAST_ROWS}
    return pd.Series(means, dtype=float).reindex(tickers)


def _window(layout: Layout, tickers: list[str], first: int, last: int) -> tuple[Any, ...]:
    return layout.is_ticker(tickers), layout.columns["timestamp_utc"].between(first, last)
