"""How the Sharpe ratios of all backtests lie, the best among them, and where the best of pure luck would be."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.analysis.pictures.picture import BLACK, ORANGE, SHARED, SKY, VERMILION, Picture, hover, load
from orbresearch.errors import BadInput

BINS = 60
BAND = (5, 95)  # percentiles of luck's maxima
_LEAST = 5e-7  # half of what two values in a summary are apart


def distribution(values: Any, best: float, luck: Any = None, *, title: str = "") -> Picture:
    """Return a histogram of all backtests' Sharpe ratios with the best of them.

    Parameters
    ----------
    values : array of float, or DataFrame
        Annual Sharpe ratios, NaN where undefined; or how many lie where, as ``run.histogram(parameter)`` counts them:
        ``low, high, backtests``, and ``measure``, of which "sharpe" is taken.
    best : float
        The best backtest's.
    luck : array of float, optional
        The best of as many backtests without an edge, draw by draw (bootstrap maxima), in the same units.
    title : str
        What goes before the picture's own: ticker, dates, costs.

    Raises
    ------
    BadInput
        No value at all, a table of other columns, a best that is no number.

    Examples
    --------
    >>> distribution([0.1, 0.4, -0.3], best=0.4)
    Picture(Sharpe ratios of 3 backtests); .save(path) writes it as HTML
    """
    hv = load()
    if not np.isfinite(best):
        raise BadInput("best", f"{best!r} is no Sharpe ratio", "give the highest of a backtest that has one")
    drawn = None if luck is None else _luck(luck)
    ends = [best] if drawn is None else [best, float(np.max(drawn))]
    edges, counts, missing = histogram(values, ends)
    left_out = f", {missing:,} more have none" if missing else ""
    own = f"Sharpe ratios of {round(counts.sum()):,} backtests{left_out}"
    named = f"{title}\n{own}" if title else own
    tools = [hover(("Sharpe ratio from", "@left{0.00}"), ("to", "@right{0.00}"), ("backtests", "@top{0,0}"))]
    bars = hv.Histogram((edges, counts), kdims=["sharpe_ratio"], vdims=["backtests"], label="backtests")
    parts = [bars.opts(color=SKY, line_color="white", tools=tools)]
    if drawn is not None:
        parts += _draw_luck(hv, drawn, float(counts.max()))
    parts.append(_line(hv, float(best), float(counts.max()), f"best backtest: {best:.2f}", VERMILION, "solid"))
    style = {"xlabel": "sharpe_ratio, annual", "ylabel": "backtests", "legend_position": "bottom", "legend_cols": 2}
    style |= {"legend_opts": {"spacing": 15}, "ylim": (0, 1.05 * float(counts.max())), "height": 430}
    style |= {"title": named, "yformatter": "%d"}
    return Picture(hv.Overlay(parts).opts(**SHARED, **style), named)


def histogram(values: Any, ends: list[float]) -> tuple[Any, Any, int]:
    """Return edges, counts and how many are undefined.

    Parameters
    ----------
    values : array of float, or DataFrame
        As in :func:`distribution`.
    ends : list of float
        What the edges must reach beside the values.

    Examples
    --------
    >>> edges, counts, missing = histogram([1.0, 2.0, float("nan")], [3.0])
    >>> edges[[0, -1]].tolist(), float(counts.sum()), missing
    ([1.0, 3.0], 2.0, 1)
    """
    if hasattr(values, "columns"):
        return _from_table(values, ends)
    given = np.asarray(values, np.float64).ravel()
    found = given[np.isfinite(given)]
    if len(found) == 0:
        raise BadInput("values", f"none of {len(given):,} is a number", "give the Sharpe ratios of backtests")
    counts, edges = np.histogram(found, BINS, (min([found.min(), *ends]), max([found.max(), *ends])))
    return edges, counts.astype(np.float64), len(given) - len(found)


def _from_table(table: Any, ends: list[float]) -> tuple[Any, Any, int]:
    """Spread the counts of a table's buckets evenly over the bins that they overlap."""
    wanted = ["low", "high", "backtests"]
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise BadInput("values", f"the table has no column {absent[0]!r}", "give what run.histogram(parameter) returns")
    shown = table[table["measure"] == "sharpe"] if "measure" in table.columns else table
    summed = shown.groupby(["low", "high"])["backtests"].sum().reset_index().sort_values("low")
    if summed["backtests"].sum() == 0:
        raise BadInput("values", "the table counts no Sharpe ratio", "give what run.histogram(parameter) returns")
    low, high = summed["low"].to_numpy() - _LEAST, summed["high"].to_numpy() + _LEAST
    reached = np.concatenate([[0], np.cumsum(summed["backtests"].to_numpy())]).astype(np.float64)
    edges = np.linspace(min([low[0], *ends]), max([high[-1], *ends]), BINS + 1)
    known = np.stack([low, high], axis=1).ravel()
    return edges, np.diff(np.interp(edges, known, np.stack([reached[:-1], reached[1:]], axis=1).ravel())), 0


def _luck(luck: Any) -> Any:
    drawn = np.asarray(luck, np.float64).ravel()
    if len(drawn) == 0 or not np.isfinite(drawn).all():
        raise BadInput("luck", f"{len(drawn)} maxima, not all of them numbers", "give one maximum for each draw")
    return drawn


def _draw_luck(hv: Any, drawn: Any, top: float) -> list[Any]:
    """Return luck's band and its median."""
    low, median, high = np.percentile(drawn, [BAND[0], 50, BAND[1]])
    words = f"best of luck alone, {BAND[0]} to {BAND[1]} % of draws: {low:.2f} … {high:.2f}"
    band = hv.Rectangles([(low, 0, high, top)], ["sharpe_ratio", "backtests", "to", "top"], label=words)
    line = _line(hv, float(median), top, f"best of luck alone, median: {median:.2f}", BLACK, "dashed")
    return [band.opts(color=ORANGE, alpha=0.35, line_alpha=0), line]


def _line(hv: Any, at: float, top: float, label: str, color: str, dash: str) -> Any:
    line = hv.Curve([(at, 0.0), (at, top)], "sharpe_ratio", "backtests", label=label)
    return line.opts(color=color, line_width=2.5, line_dash=dash)
