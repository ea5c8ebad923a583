"""When a backtest earns: its profit by half-hour of entry and by weekday, with standard errors and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.day import local_times
from orbresearch.analysis.pictures.picture import BLACK, LOSS, PROFIT, SHARED, Picture, dollars, hover, load
from orbresearch.errors import BadInput

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
BUCKET = "30min"


def by_entry_time(backtest: Backtest) -> Picture:
    """Return the profit by the half-hour, in exchange time, in which a trade was opened: bars add up to the profit.

    Over each bar the number of its trades, and as a line the standard error of its sum (from two trades on), as if
    trades were independent.

    Parameters
    ----------
    backtest : Backtest

    Raises
    ------
    BadInput
        A backtest without a trade.
    """
    import pandas as pd

    if len(backtest.trades) == 0:
        raise BadInput("backtest", "it has no trade", "give one with trades")
    times = local_times(backtest.trades["entry_time"], backtest.item.timezone)
    clock = pd.Series(times.floor(BUCKET).strftime("%H:%M"))
    first, last = (pd.Timestamp(f"2000-01-01 {edge(clock)}") for edge in (min, max))
    every = pd.date_range(first, last, freq=BUCKET).strftime("%H:%M")
    rows = sums(backtest.trades["profit"], clock.to_numpy(), every)
    xlabel = f"half-hour of entry, exchange time ({backtest.item.timezone})"
    return _draw(rows, f"Profit by time of entry\n{backtest.title}", xlabel, "trades")


def by_weekday(backtest: Backtest) -> Picture:
    """Return the profit by weekday: bars add up to the profit.

    Over each bar the number of its sessions, and as a line the standard error of its sum (from two sessions on).

    Parameters
    ----------
    backtest : Backtest
    """
    days = backtest.daily.index.day_of_week.to_numpy()
    names = [name for i, name in enumerate(WEEKDAYS) if i < 5 or i in days]
    rows = sums(backtest.daily, np.array(WEEKDAYS)[days], names)
    return _draw(rows, f"Profit by weekday\n{backtest.title}", "weekday of the session", "sessions")


def sums(profit: Any, groups: Any, names: Any) -> Any:
    """Return ``profit`` (sum), ``count`` and ``error`` (standard error of the sum, 0 below two) by group.

    Examples
    --------
    >>> import pandas as pd
    >>> sums(pd.Series([1.0, 3.0, 5.0]), ["a", "a", "c"], ["a", "b", "c"]).round(9).to_numpy().tolist()
    [[4.0, 2.0, 2.0], [0.0, 0.0, 0.0], [5.0, 1.0, 0.0]]
    """
    grouped = profit.reset_index(drop=True).groupby(np.asarray(groups))
    found = grouped.agg(["sum", "count", "std"]).reindex(list(names))
    found["error"] = found.pop("std") * np.sqrt(found["count"])
    return found.fillna(0.0).rename(columns={"sum": "profit"}).rename_axis("group")


def _draw(rows: Any, title: str, xlabel: str, counted: str) -> Picture:
    hv = load()
    table = rows.assign(color=np.where(rows["profit"] >= 0, PROFIT, LOSS)).reset_index()
    table["top"], table["words"] = rows["profit"].to_numpy() + rows["error"].to_numpy(), _counts(rows)
    tools = [hover((xlabel, "@group"), ("profit", "@profit{0,0.00} $ per share"), (counted, "@count{0,0}"))]
    bars = hv.Bars(table, "group", ["profit", "count", "error", "color"]).opts(
        color="color", line_color=None, tools=tools
    )
    errors = hv.ErrorBars(table[table["error"] > 0], "group", ["profit", "error"]).opts(line_width=1.5)
    tops = table.assign(top=np.maximum(table["top"], 0))
    words = hv.Labels(tops, ["group", "top"], "words").opts(
        text_font_size="9pt", text_color=BLACK, text_baseline="bottom", yoffset=0
    )
    labels = {"xlabel": xlabel, "ylabel": "profit, $ per share (± standard error)"}
    style = {"height": 380, "title": f"{title}", "yformatter": dollars(), "padding": (0, 0.12)}
    drawn = (bars * hv.HLine(0).opts(color=BLACK, line_width=1) * errors * words).opts(**SHARED, **labels, **style)
    return Picture(drawn.opts(show_legend=False), title)


def _counts(rows: Any) -> list[str]:
    return [f"n = {int(count):,}" if count else "" for count in rows["count"]]
