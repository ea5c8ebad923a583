"""A backtest's profit along its sessions, and along what trading may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.pictures.picture import (
    BLACK,
    GREEN,
    GREY,
    LOSS,
    PRICE,
    PROFIT,
    SHARED,
    Picture,
    dollars,
    hover,
    load,
)
from orbresearch.errors import BadInput

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest


def equity(backtest: Backtest) -> Picture:
    """Return the cumulative profit against the price change over the sessions, both in dollars per share.

    Below it the drawdown, and the whole span with a window that can be moved and stretched.

    Parameters
    ----------
    backtest : Backtest
    """
    hv = load()
    from holoviews.plotting.links import RangeToolLink

    profit = _profit(backtest)
    drawdown = (profit - profit.cummax().clip(lower=0)).rename("drawdown")
    above = draw_equity(backtest).opts(xaxis=None)
    tools = [hover(("session", "@session{%F}"), ("drawdown", "@drawdown{0,0.00} $"))]
    below = hv.Area(drawdown, "session", "drawdown").opts(
        **SHARED, color=LOSS, alpha=0.6, height=140, xlabel="", ylabel="drawdown, $", yticks=3, tools=tools
    )
    # dimensions of its own: it shows the whole span, whatever the others show
    whole = hv.Curve((profit.index, profit.to_numpy()), "whole span", "whole profit").opts(
        responsive=True, height=120, color=PROFIT, yaxis=None, xlabel="drag the window, or its edges", toolbar=None
    )
    RangeToolLink(whole, next(iter(above.values())), axes=["x"], boundsx=(profit.index[0], profit.index[-1]))
    return Picture((above + below + whole).cols(1), backtest.title)


def draw_equity(backtest: Backtest) -> Any:
    """Return the overlay of the two curves."""
    hv = load()
    drawn = {"backtest, cumulative profit": (_profit(backtest), PROFIT, 2.0)}
    drawn["price change"] = (backtest.price_change.rename("profit"), PRICE, 1.5)
    curves = []
    for label, (values, color, width) in reversed(drawn.items()):
        tools = [hover(("session", "@session{%F}"), (label, "@profit{0,0.00} $"))]
        curve = hv.Curve(values, "session", "profit", label=label)
        curves.append(curve.opts(color=color, line_width=width, tools=tools, framewise=True))
    return hv.Overlay(curves).opts(
        **SHARED,
        height=380,
        title=backtest.title,
        xlabel="",
        ylabel="since the first open, $ per share",
        yformatter=dollars(),
        legend_position="top_left",
        legend_cols=2,
        legend_opts={"spacing": 15},
        padding=(0, (0.05, 0.25)),  # room for the legend
        framewise=True,
    )


def cost_curve(backtest: Backtest) -> Picture:
    """Return the profit against what each side of a trade costs a share: trades stay the same, costs change.

    Marked are what the backtest paid on average, and the break-even: ``break_even_cost`` of its row.

    Parameters
    ----------
    backtest : Backtest

    Raises
    ------
    BadInput
        A backtest without a trade.
    """
    hv = load()
    fills, moves = cost_terms(backtest)
    total = float(backtest.daily.sum())
    even, paid = moves / fills, (moves - total) / fills
    costs = np.linspace(0, max(2 * even, 2 * paid, 0.01), 51)
    style = {"responsive": True, "framewise": True}
    curve = hv.Curve((costs, moves - fills * costs), "cost", "profit", label="profit at this cost")
    tools = [hover(("cost", "@cost{0.0000} $ a share and side"), ("profit", "@profit{0,0.00} $ per share"))]
    parts = [
        hv.HLine(0).opts(color=GREY, line_width=1),
        curve.opts(**style, color=PROFIT, line_width=2, line_join="round", tools=tools),
    ]
    parts.append(_at(hv, paid, total, f"as it ran: {paid:.4f} $, profit {total:,.2f} $", "circle", BLACK))
    if even > 0:
        parts.append(_at(hv, even, 0.0, f"break-even: {even:.4f} $", "diamond", GREEN))
    word = "" if even > 0 else "; it loses before any cost"
    title = f"What {fills // 2:,} trades earn after costs{word}\n{backtest.title}"
    labels = {"xlabel": "assumed cost, $ per share and side", "ylabel": "profit, $ per share"}
    drawn = hv.Overlay(parts).opts(
        **SHARED, **labels, height=380, title=title, yformatter=dollars(), legend_position="top_right"
    )
    return Picture(drawn, title)


def cost_terms(backtest: Backtest) -> tuple[int, float]:
    """Return how often a backtest was filled, and what it earned before costs, dollars."""
    trades = backtest.trades
    if len(trades) == 0:
        raise BadInput("backtest", "it has no trade, so nothing that could cost", "give one with trades")
    return 2 * len(trades), float(((trades["exit_price"] - trades["entry_price"]) * trades["side"]).sum())


def _at(hv: Any, cost: float, profit: float, label: str, marker: str, color: str) -> Any:
    point = hv.Scatter([(cost, profit)], "cost", "profit", label=label)
    return point.opts(marker=marker, size=13, color=color, line_color=BLACK)


def _profit(backtest: Backtest) -> Any:
    return backtest.daily.cumsum().rename("profit")
