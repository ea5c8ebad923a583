"""Pictures of a run of the store: which of its rows they take, or, where it keeps only its best, its summary of all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from orbresearch.errors import BadInput
from orbresearch.rules import Rules
from orbresearch.schema import MIN_SESSIONS

if TYPE_CHECKING:
    from orbresearch.analysis.pictures import Picture
    from orbresearch.lab.stored import StoredRun

_PLACES = ("ticker", "range_duration")
_SUMMED = {"sharpe_ratio": "sharpe", "backtest_return": "return"}  # columns that a summary knows
_HOWS = {"best": "max", "mean": "mean"}  # and what of their values
_SHOWN = 10  # tickers named in a message


def draw_heatmap(
    run: StoredRun, x: str, y: str, column: str, how: str, places: dict[str, Any], min_sessions: int | None
) -> Picture:
    """Return a run's heat map: see ``Run.heatmap``.

    Parameters
    ----------
    places : dict
        ``ticker`` and ``range_duration``, None where not given.
    """
    from orbresearch.analysis.pictures import heatmap
    from orbresearch.analysis.pictures.words import units_of

    facts = run.facts()
    where = choose_places(facts, places, (x, y))
    title, units = title_of(run, where), units_of(Rules(**facts["rules"]))
    if run.keep != "all":
        return _draw_summary(run, (x, y, column, how), where, min_sessions, title)
    rows = run.results(columns=_columns(x, y, column), where=where, arrow=True)
    least = MIN_SESSIONS if min_sessions is None else min_sessions
    return heatmap(rows, x, y, column, how, min_sessions=least, units=units, title=title)


def draw_explorer(
    run: StoredRun, x: str, y: str, column: str, how: str, places: dict[str, Any], min_sessions: int | None
) -> Picture:
    """Return a run's heat map, linked to a backtest and a day: see ``Run.explore``."""
    from orbresearch.analysis.pictures import explore
    from orbresearch.lab.display import backtest

    where = choose_places(run.facts(), places, (x, y))
    if run.keep != "all":
        warnings.warn(f"cells show {run.keep} only; run.heatmap shows all backtests", stacklevel=3)
    rows = run.results(columns=["backtest_id", *_columns(x, y, column)], where=where)
    least = MIN_SESSIONS if min_sessions is None else min_sessions
    return explore(rows, backtest, x, y, column, how, min_sessions=least)


def find_sharpes(run: StoredRun) -> Any:
    """Return the Sharpe ratios of a run's backtests that may be best; or, as ``run.histogram`` counts, of all."""
    if run.keep != "all":
        return run.histogram("stop_count_limit", together=True)
    rows = run.results(
        columns="sharpe_ratio", where={"sessions_traded": (MIN_SESSIONS, None)}, resolved=True, arrow=True
    )
    return rows["sharpe_ratio"].to_numpy()


def choose_places(facts: dict[str, Any], given: dict[str, Any], axes: tuple[str, ...]) -> dict[str, Any]:
    """Return which ticker and which range duration to draw: those given, else the only one there is.

    One that is itself an axis of the picture need not be chosen.

    Raises
    ------
    BadInput
        There are several and none was chosen, or one that is not there.

    Examples
    --------
    >>> facts = {"tickers": ["QQQ", "SPY"], "range_durations": [300]}
    >>> choose_places(facts, {"ticker": "SPY", "range_duration": None}, ("stop_distance", "limit_distance"))
    {'ticker': 'SPY', 'range_duration': 300}
    """
    found = {}
    for name in _PLACES:
        there, chosen = facts[f"{name}s"], given[name]
        listed = ", ".join(repr(one) for one in there[:_SHOWN]) + ", …" * (len(there) > _SHOWN)
        if chosen is not None and chosen not in there:
            raise BadInput(name, f"{chosen!r} is not in the run", f"give one of {listed}")
        if chosen is None and name not in axes and len(there) > 1:
            wrong = f"the run has {len(there)}, which one picture would mix"
            raise BadInput(name, wrong, f"say which: {name}= one of {listed}")
        if chosen is not None or name not in axes:
            found[name] = there[0] if chosen is None else chosen
    return found


def title_of(run: StoredRun, where: dict[str, Any]) -> str:
    """Return what a picture of some of a run's rows is headed with: ticker, duration, dates, costs, rules."""
    rest = run.conditions().removeprefix(", ".join(run.facts()["tickers"]) + ", ")
    words = [str(where["ticker"])] if "ticker" in where else []
    words += [f"range {where['range_duration']} s"] if "range_duration" in where else []
    return ", ".join([*words, rest])


def _columns(x: str, y: str, column: str) -> list[str]:
    """Return what a heat map reads: three columns, and those that say which backtests take part."""
    return list(dict.fromkeys([x, y, column, "sessions_traded", "resolved"]))


def _draw_summary(
    run: StoredRun, asked: tuple[str, str, str, str], where: dict[str, Any], min_sessions: int | None, title: str
) -> Picture:
    """Return the heat map of a run that keeps only its best: of all backtests, by what it counted of them."""
    from orbresearch.analysis.pictures.cells import find_cells
    from orbresearch.analysis.pictures.heat import draw_cells, heat_title
    from orbresearch.analysis.pictures.picture import Picture
    from orbresearch.analysis.pictures.words import units_of

    x, y, column, how = asked
    if column not in _SUMMED or how not in _HOWS or min_sessions is not None:
        known = f"{' and '.join(_SUMMED)}, {' and '.join(_HOWS)}, of all backtests"
        fix = f'ask for {known}, without min_sessions, or submit it with keep="all"'
        raise BadInput("heatmap", f"the run keeps {run.keep} and a summary", fix)
    table = run.summary(x, y)
    for name, value in where.items():
        table = table[table[name] == value]
    cells = find_cells(table, x, y, f"{_SUMMED[column]}_{_HOWS[how]}", "best", 0)
    counted = f"{table['backtests'].sum():,} backtests, unresolved ones and those that traded seldom among them"
    star = heat_title(cells, column, how).splitlines()[-1]
    named = f"{title}\n{how} {column} by {x} and {y}, {counted}\n{star}"
    return Picture(draw_cells(cells, column, named, units_of(Rules(**run.facts()["rules"]))), named)
