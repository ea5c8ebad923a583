"""Backtests that the store knows, with their trades and pictures: computed again from the cached prices, exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from orbresearch.analysis.backtests import Backtest, backtest_of
from orbresearch.analysis.performance import run_grid
from orbresearch.console import in_notebook, tell
from orbresearch.days import find_days
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, read_points
from orbresearch.inputs import Input
from orbresearch.lab.recompute import load_prices
from orbresearch.plan import Chunk, parse_backtest_id
from orbresearch.rules import Rules
from orbresearch.schema import PARAMETERS
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    from orbresearch.analysis.pictures import Picture
    from orbresearch.sessions.dataset import Sessions


def backtest(backtest_id: str) -> Backtest:
    """Return a stored backtest with its trades and days, computed again from ``cached_data/``, exactly.

    Works without a lab.

    Parameters
    ----------
    backtest_id : str
        As in ``run.best().backtest_id``.

    Raises
    ------
    BadInput
        An id that is none, a run the store does not know, one of a pool, prices that are no longer cached or have
        changed.

    Examples
    --------
    >>> best = backtest(run.best(1).backtest_id[0])  # doctest: +SKIP
    >>> best.trades, best.returns  # doctest: +SKIP
    """
    run_id, index = parse_backtest_id(backtest_id)
    settings, found = read_settings(), _facts(run_id)
    _refuse_pooled(found)
    if index >= found["backtests"]:
        raise BadInput("backtest_id", f"run {run_id} has {found['backtests']:,} backtests", "give a smaller index")
    grid, rules, durations = read_points(found["grid"]), Rules(**found["rules"]), found["range_durations"]
    at, point = divmod(index, len(grid))
    source, duration = found["inputs"][at // len(durations)], durations[at % len(durations)]
    sessions = load_prices(run_id, source, settings.cached_data)
    days = find_days(sessions, duration, rules)
    made = source["ticker"], duration, days.series, days.table, sessions.source, days.untradable
    item = Input(*made, sessions.splits, sessions.schedule.timezone)
    return backtest_of(run_id, item, grid, rules, Chunk(index, 1, 0, point))


def trade_stats(backtest_id: str) -> dict[str, dict[str, Any]]:
    """Return what a stored backtest did on each session, computed again, exactly.

    Parameters
    ----------
    backtest_id : str
        As in ``run.best().backtest_id``.

    Returns
    -------
    dict
        As :meth:`orbresearch.Backtest.trade_stats`.
    """
    return backtest(backtest_id).trade_stats()


def under_other_path(rows: Any, sessions: Sessions) -> Any:
    """Return profit and Sharpe ratio of backtests on bars when each bar's extremes come in the other order.

    Parameters
    ----------
    rows : DataFrame
        Rows of one run on these sessions.
    sessions : Sessions
        Bars of four seconds or more.

    Returns
    -------
    DataFrame
        ``profit_other_path`` and ``sharpe_other_path``, in the order of the rows.
    """
    import pandas as pd

    facts = {run_id: _facts(run_id) for run_id in rows["run_id"].unique()}
    for one in facts.values():
        _refuse_pooled(one)
    other, found = sessions.other_path(), []
    for row in rows.itertuples():
        rules = Rules(**facts[row.run_id]["rules"])
        point = {name: getattr(row, name) for name in PARAMETERS}
        point["limit_distance"] = None if math.isnan(row.limit_distance) else row.limit_distance
        stats = run_grid(other, ParameterGrid(**point), int(row.range_duration), rules).iloc[0]
        found.append((stats["backtest_profit"], stats["sharpe_ratio"]))
    return pd.DataFrame(found, index=rows.index, columns=["profit_other_path", "sharpe_other_path"])


def _refuse_pooled(facts: Any) -> None:
    """Refuse what has no trades and no price of its own."""
    if any(source.get("pooled") for source in facts["inputs"]):
        wrong = f"its backtests are means over {len(facts['inputs'])} tickers, without trades and a price of their own"
        fix = "look at one ticker with the same parameters: orb.run_backtest(sessions[ticker], …)"
        raise BadInput(f"run {facts['run_id']}", wrong, fix)


def _facts(run_id: str) -> Any:
    """Return a run's row of the table ``runs``."""
    from orbresearch.lab.archive import open_run

    return open_run(run_id).facts()


def display(backtest_id: str) -> Picture:
    """Show a backtest's cumulative profit against the price change over the sessions.

    In a notebook the picture appears; from a terminal it is saved and opened in a browser. ``.save(path)`` writes a
    self-contained HTML page. Works without a lab.

    Parameters
    ----------
    backtest_id : str
        As in ``run.best().backtest_id``.
    """
    picture = backtest(backtest_id).plot()
    if not in_notebook():
        path = read_settings().home / "plots" / f"{backtest_id}.html"
        picture.save(path)
        import webbrowser

        opened = webbrowser.open(path.as_uri())
        tell(f"picture {'opened: ' if opened else 'saved: '}{path}")
    return picture
