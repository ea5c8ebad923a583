"""Millions of opening-range-breakout backtests from a notebook, and what they are worth.

How the data flow, folder by folder::

    sources    prices as found (a warehouse, files, DataFrames, a synthetic market), cached_data/
    sessions   the exchange calendar; observations, tick series, opening ranges, data quality
    grid rules plan   what to compute: parameters, rules, one run with its identity and its chunks
    inputs days pool  what that is computed from: a ticker's days, or the means of many tickers'
    keep summary      what a run keeps of its backtests: every row, or the best and a summary of all
    kernels    the compiled backtests
    staging    Redis: inputs on their way to workers, results on their way to the store
    lab        Dask: the cluster, its feeder and reaper
    cloud      AWS: a stack, Redis, a cluster on Fargate, what it costs and how it ends
    store      SQL: results, runs, the ledger
    sql        the drivers that warehouse and store share
    analysis   one backtest with its trades, grids in this process, luck and walk-forward, pictures

Importing this package imports none of them: names load their module when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from orbresearch import cloud
    from orbresearch.analysis import pictures
    from orbresearch.analysis.backtests import Backtest, run_backtest
    from orbresearch.analysis.performance import run_grid
    from orbresearch.analysis.sizing import Sizing, size
    from orbresearch.analysis.verdict import Verdict
    from orbresearch.analysis.walkforward import Walk
    from orbresearch.errors import OrbError
    from orbresearch.grid import ParameterGrid, ParameterList, frange, read_grid, seed_grid
    from orbresearch.keep import Best
    from orbresearch.lab.archive import lifecycle_result_data, open_run, runs, select
    from orbresearch.lab.batch import run_batch
    from orbresearch.lab.display import backtest, display, trade_stats
    from orbresearch.lab.lab import Lab
    from orbresearch.lab.results import results, results_pages, save_results
    from orbresearch.lab.run import Run
    from orbresearch.lab.verdicts import verdict, verdicts, walk_forward
    from orbresearch.plan import make_plan
    from orbresearch.rules import Rules
    from orbresearch.sessions.dataset import Sessions, compress_time_series
    from orbresearch.sessions.expiries import next_expiry
    from orbresearch.sessions.quality import quality_of
    from orbresearch.sessions.ranges import organize_opening_range_data
    from orbresearch.sessions.ranking import rank
    from orbresearch.sources.at_the_money import at_the_money_volatility
    from orbresearch.sources.cached import cached, forget
    from orbresearch.sources.load import load_sessions
    from orbresearch.sources.screening import correlation, screen
    from orbresearch.sources.synthetic.sessions import synthetic_sessions
    from orbresearch.sources.synthetic.warehouse import synthetic_warehouse
    from orbresearch.sources.warehouse.warehouse import Warehouse

_HOMES = {
    "Backtest": "analysis.backtests",
    "Best": "keep",
    "Lab": "lab.lab",
    "OrbError": "errors",
    "ParameterGrid": "grid",
    "ParameterList": "grid",
    "Rules": "rules",
    "Run": "lab.run",
    "Sessions": "sessions.dataset",
    "Sizing": "analysis.sizing",
    "Verdict": "analysis.verdict",
    "Walk": "analysis.walkforward",
    "Warehouse": "sources.warehouse.warehouse",
    "at_the_money_volatility": "sources.at_the_money",
    "backtest": "lab.display",
    "cloud": "cloud",
    "cached": "sources.cached",
    "compress_time_series": "sessions.dataset",
    "correlation": "sources.screening",
    "display": "lab.display",
    "forget": "sources.cached",
    "frange": "grid",
    "lifecycle_result_data": "lab.archive",
    "load_sessions": "sources.load",
    "make_plan": "plan",
    "next_expiry": "sessions.expiries",
    "open_run": "lab.archive",
    "organize_opening_range_data": "sessions.ranges",
    "pictures": "analysis.pictures",
    "quality_of": "sessions.quality",
    "rank": "sessions.ranking",
    "read_grid": "grid",
    "results": "lab.results",
    "results_pages": "lab.results",
    "run_backtest": "analysis.backtests",
    "run_batch": "lab.batch",
    "run_grid": "analysis.performance",
    "runs": "lab.archive",
    "save_results": "lab.results",
    "screen": "sources.screening",
    "seed_grid": "grid",
    "select": "lab.archive",
    "size": "analysis.sizing",
    "synthetic_sessions": "sources.synthetic.sessions",
    "synthetic_warehouse": "sources.synthetic.warehouse",
    "trade_stats": "lab.display",
    "verdict": "lab.verdicts",
    "verdicts": "lab.verdicts",
    "walk_forward": "lab.verdicts",
}

_MODULES = ("cloud", "pictures")

__all__ = [
    "Backtest",
    "Best",
    "Lab",
    "OrbError",
    "ParameterGrid",
    "ParameterList",
    "Rules",
    "Run",
    "Sessions",
    "Sizing",
    "Verdict",
    "Walk",
    "Warehouse",
    "at_the_money_volatility",
    "backtest",
    "cached",
    "cloud",
    "compress_time_series",
    "correlation",
    "display",
    "forget",
    "frange",
    "lifecycle_result_data",
    "load_sessions",
    "make_plan",
    "next_expiry",
    "open_run",
    "organize_opening_range_data",
    "pictures",
    "quality_of",
    "rank",
    "read_grid",
    "results",
    "results_pages",
    "run_backtest",
    "run_batch",
    "run_grid",
    "runs",
    "save_results",
    "screen",
    "seed_grid",
    "select",
    "size",
    "synthetic_sessions",
    "synthetic_warehouse",
    "trade_stats",
    "verdict",
    "verdicts",
    "walk_forward",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'orbresearch' has no attribute {name!r}")
    home = import_module(f"orbresearch.{_HOMES[name]}")
    found = home if name in _MODULES else getattr(home, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
