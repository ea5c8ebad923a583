"""From a run to one of its days: a click on a heat map shows a cell's best backtest, a click there a day."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.pictures.cells import find_cells
from orbresearch.analysis.pictures.curves import draw_equity
from orbresearch.analysis.pictures.days import draw_day
from orbresearch.analysis.pictures.heat import draw_cells, heat_title
from orbresearch.analysis.pictures.picture import Picture, load
from orbresearch.analysis.pictures.words import units_of
from orbresearch.errors import BadInput
from orbresearch.schema import MIN_SESSIONS

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest

_KEPT = 16  # backtests last clicked at


def explore(
    rows: Any,
    backtest_of: Callable[[str], Backtest],
    x: str = "stop_distance",
    y: str = "limit_distance",
    column: str = "sharpe_ratio",
    how: str = "best",
    *,
    min_sessions: int = MIN_SESSIONS,
) -> Picture:
    """Return three pictures that hang together: a heat map, a backtest, a day.

    A click on a cell shows the profit of the best backtest in it, a click on a session there shows that day. Clicks
    need a running kernel: a saved page shows the best backtest of all, and its most profitable day.

    Parameters
    ----------
    rows : DataFrame
        Of one run, with ``backtest_id``.
    backtest_of : callable
        Returns the Backtest of a ``backtest_id``.
    x, y, column, how, min_sessions
        As in :func:`heatmap`.

    Raises
    ------
    BadInput
        As :func:`heatmap`; rows without ``backtest_id``.
    """
    if "backtest_id" not in getattr(rows, "columns", ()):
        raise BadInput("explore", "the rows have no column 'backtest_id'", "give a DataFrame of run.results()")
    hv = load()
    cells = find_cells(rows, x, y, column, how, min_sessions)
    ids, known = rows["backtest_id"], lru_cache(_KEPT)(backtest_of)
    best = known(ids.iloc[cells.best_row])
    title = heat_title(cells, column, how, best.title.splitlines()[0])

    def chosen(x: float | None, y: float | None) -> Backtest:
        """Return the best backtest of the cell that was clicked, or of all."""
        row = cells.best_row if x is None or y is None else cells.best_row_at(x, y)
        return best if row is None else known(ids.iloc[row])

    def show_equity(x: float | None, y: float | None) -> Any:
        return draw_equity(chosen(x, y))

    def show_day(x: float | None, y: float | None, moment: Any, profit: Any) -> Any:
        backtest = chosen(x, y)
        return draw_day(backtest, backtest.session(nearest_session(backtest, moment)), every=True)

    heat = draw_cells(cells, column, title, units_of(best.rules)).opts(height=420)
    cell = hv.streams.Tap(source=next(iter(heat.values())), x=None, y=None)
    profit = hv.DynamicMap(show_equity, streams=[cell])
    session = hv.streams.Tap(source=profit, x=None, y=None, rename={"x": "moment", "y": "profit"})
    clicked = hv.DynamicMap(show_day, streams=[cell, session])
    still = (heat.clone() + show_equity(None, None) + show_day(None, None, None, None)).cols(1)
    return Picture((heat + profit + clicked).cols(1), title, still)


def nearest_session(backtest: Backtest, moment: Any) -> Any:
    """Return the session nearest to a moment that was clicked (a date, or bokeh's milliseconds); without one the best.

    Examples
    --------
    >>> from orbresearch import run_backtest, synthetic_sessions
    >>> one = run_backtest(synthetic_sessions(5), 300, .5, 3, 60, 2)
    >>> nearest_session(one, "2024-01-04T09:00")
    Timestamp('2024-01-04 00:00:00')
    """
    import pandas as pd

    sessions = backtest.daily.index
    if moment is None:
        return backtest.daily.idxmax()
    at = pd.Timestamp(moment, unit="ms") if isinstance(moment, (int, float)) else pd.Timestamp(moment)
    at = at.tz_localize(None) if at.tzinfo else at
    return sessions[int(np.abs(sessions - at).argmin())]
