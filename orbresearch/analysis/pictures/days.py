"""One session of a backtest: the price as it stood, the opening range, where positions opened and closed, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orbresearch.analysis.pictures.picture import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SHARED,
    SKY,
    VERMILION,
    Picture,
    dollars,
    hover,
    load,
)

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest
    from orbresearch.analysis.day import Day

#: Of what is marked: (marker, colour). Shapes differ too, for eyes and printers that see no colour.
MARKS = {
    "long entry": ("triangle", GREEN),
    "short entry": ("inverted_triangle", PURPLE),
    "exit: limit": ("star", BLUE),
    "exit: stop": ("x", VERMILION),
    "exit: close": ("square", ORANGE),
}


def day(backtest: Backtest, date: Any) -> Picture:
    """Return one session of a backtest: price, opening range, entries and exits with their reasons.

    Parameters
    ----------
    backtest : Backtest
    date : date-like
        Of a tradable session, such as "2024-03-26".

    Raises
    ------
    BadInput
        What is no date, or no tradable session of the backtest.

    Examples
    --------
    >>> from orbresearch import run_backtest, synthetic_sessions
    >>> one = run_backtest(synthetic_sessions(5), range_duration=300, stop_distance=.5, stop_count_limit=3,
    ...                    stop_cooloff_period=60, limit_distance=2)
    >>> print(day(one, one.daily.index[0]).title.splitlines()[0])
    Tuesday 2024-01-02: 1 trade, profit 2.00 $ per share
    """
    found = backtest.session(date)
    title = day_title(backtest, found)
    return Picture(draw_day(backtest, found), title)


def day_title(backtest: Backtest, found: Day) -> str:
    """Return what a session's picture is called."""
    count = len(found.trades)
    made = f"{count} trade{'s' * (count != 1)}, profit {found.profit:.2f} $ per share"
    return f"{found.date:%A %Y-%m-%d}: {made}\n{backtest.title}"


def draw_day(backtest: Backtest, found: Day, every: bool = False) -> Any:
    """Return the overlay.

    Parameters
    ----------
    backtest : Backtest
    found : Day
    every : bool
        With all marks, those that the day has none of too: what follows clicks always has the same elements.
    """
    hv = load()
    from bokeh.models import DatetimeTickFormatter

    tools = [hover(("time", "@time{%H:%M:%S}"), ("price", "@price{0,0.00[00]} $"))]
    price = hv.Curve(found.prices, "time", "price", label="price").opts(
        interpolation="steps-post", color=GREY, line_width=1, tools=tools, framewise=True
    )
    window = hv.VSpan(found.opened, found.range_end).opts(color=SKY, alpha=0.15)
    parts = [window, *_edges(hv, backtest, found), price, _ways(hv, found)]
    parts += [_marks(hv, label, rows) for label, rows in marked(found.trades).items() if every or len(rows)]
    clock = DatetimeTickFormatter(**dict.fromkeys(("hours", "hourmin", "minutes"), "%H:%M"), seconds="%H:%M:%S")
    return hv.Overlay(parts).opts(
        **SHARED,
        height=460,
        title=day_title(backtest, found),
        xlabel=f"exchange time ({found.timezone})",
        ylabel="price, $",
        xformatter=clock,
        yformatter=dollars(),
        legend_position="right",
        framewise=True,
    )


def marked(trades: Any) -> dict[str, Any]:
    """Return what is marked, by label: DataFrames of ``time, price, profit, side, reason``."""
    sides = trades["side"].map({1: "long", -1: "short"})
    common = trades.assign(side=sides, reason=trades["exit_reason"])
    entries, exits = (
        common.rename(columns={f"{name}_time": "time", f"{name}_price": "price"})[
            ["time", "price", "profit", "side", "reason"]
        ]
        for name in ("entry", "exit")
    )
    found = {f"{side} entry": entries[entries["side"] == side] for side in ("long", "short")}
    return found | {f"exit: {why}": exits[exits["reason"] == why] for why in ("limit", "stop", "close")}


def _edges(hv: Any, backtest: Backtest, found: Day) -> list[Any]:
    """Return the opening range: its window as a box, its edges as lines to the close."""
    span = backtest.item.duration
    box = (found.opened, found.low, found.range_end, found.high)
    dims = ["time", "price", "time_end", "price_end"]
    window = hv.Rectangles([box], dims, label=f"opening range, {span} s").opts(color=SKY, alpha=0.5, line_alpha=0)
    style = {"color": SKY, "line_width": 2, "framewise": True}
    lines = [
        hv.Curve([(found.opened, level), (found.closed, level)], "time", "price", label=label).opts(
            **style, line_dash=dash
        )
        for label, level, dash in (("range high", found.high, "solid"), ("range low", found.low, "dashed"))
    ]
    return [window, *lines]


def _ways(hv: Any, found: Day) -> Any:
    """Return a line from each entry to its exit."""
    columns = ["entry_time", "entry_price", "exit_time", "exit_price"]
    return hv.Segments(found.trades[columns], columns).opts(color=BLACK, alpha=0.6, line_dash="dotted", framewise=True)


def _marks(hv: Any, label: str, rows: Any) -> Any:
    marker, color = MARKS[label]
    rows = rows if len(rows) else rows.reindex([0])  # a row of nothing: without one the legend shows no marker
    tools = [
        hover(
            (label, "@time{%H:%M:%S}"),
            ("price", "@price{0,0.00[00]} $"),
            ("profit of the trade", "@profit{0,0.00[00]} $"),
            ("side", "@side"),
            ("exit by", "@reason"),
        )
    ]
    style = {"marker": marker, "fill_color": color, "line_color": BLACK, "size": 12, "tools": tools}
    if marker == "x":
        style |= {"line_color": color, "line_width": 4}
    return hv.Scatter(rows, "time", ["price", "profit", "side", "reason"], label=label).opts(**style, framewise=True)
