"""What the store holds of one run: its rows, its best, what they are worth."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orbresearch.console import tell
from orbresearch.errors import BadInput
from orbresearch.keep import Best, Keep, read_keep
from orbresearch.lab.results import mark, say_complete, say_unfinished
from orbresearch.lab.saving import PAGE_ROWS, check_target, save_rows
from orbresearch.rules import Rules

if TYPE_CHECKING:
    from orbresearch.analysis.pictures import Picture
    from orbresearch.analysis.verdict import Verdict
    from orbresearch.lab.lab import Lab
    from orbresearch.store.connection import Store


class StoredRun:
    """A run as the store holds it: what :class:`~orbresearch.lab.run.Run` reads.

    Parameters
    ----------
    run_id : str
    total : int
        Backtests.
    store : Store
    keep : "all" or Best
        What is kept of its rows.
    """

    def __init__(self, run_id: str, total: int, store: Store, keep: Keep = "all") -> None:
        self.run_id, self.total, self.keep, self._store = run_id, total, keep, store
        self._luck: tuple[bool, str] | None = None
        self._lab: Lab | None = None

    @property
    def attached(self) -> bool:
        """Whether an open lab computes it, or can be asked about it."""
        return self._lab is not None and not self._lab.closed

    def persisted(self) -> int:
        """Return how many of its backtests the store holds: the ledger's word."""
        from orbresearch.store.reader import persisted_chunks

        return sum(persisted_chunks(self._store, self.run_id).values())

    @property
    def where(self) -> str:
        """Where its rows are, for a person."""
        return self._store.where

    def facts(self) -> dict[str, Any]:
        """Return the run's row of the table ``runs``: tickers, dates, rules, grid, inputs, quality."""
        from orbresearch.store.reader import read_run

        found = read_run(self._store, self.run_id)
        if found is None:
            raise BadInput(f"run {self.run_id}", f"it is not in {self.where}", "orb.runs() lists those that are")
        return found

    def conditions(self) -> str:
        """Return tickers, dates, fills, costs and whatever rules are not the default, in one line."""
        facts = self.facts()
        days = f"{facts['first_session']} to {facts['last_session']}"
        costs = f"commission {facts['commission']:g}, slippage {facts['slippage']:g} $ per share and fill"
        path = f" (path {facts['path']})" if facts["path"] else ""
        said = Rules(**facts["rules"]).differing()
        shown = {name: value for name, value in said.items() if name not in ("fill", "commission", "slippage")}
        others = "".join(f", {name} {value}" for name, value in shown.items())
        return f"{', '.join(facts['tickers'])}, {days}, {facts['fill']} fills{path}, {costs}{others}"

    @property
    def complete(self) -> bool:
        """Whether every row is committed."""
        return self.persisted() >= self.total

    def results(
        self, order_by: str = "backtest_id", limit: int | None = None, *, arrow: bool = False, **options: Any
    ) -> Any:
        """Return rows of the run as a DataFrame with the columns of schema.RESULTS.

        Parameters
        ----------
        order_by : str
            A column; numbers come highest first, undefined last.
        limit : int, optional
            None: all.
        arrow : bool
            Return a pyarrow.Table.
        **options
            ``ticker``, ``where``, ``columns``, ``descending``, ``resolved``: as in :func:`orbresearch.results`.

        Returns
        -------
        DataFrame or pyarrow.Table
            ``attrs["complete"]`` tells whether every backtest of the run is in the store; where not, a warning says so.
        """
        from orbresearch.store.query import make_query
        from orbresearch.store.reader import read_rows, to_frame

        unfinished = self._unfinished()
        query = make_query(self._store.tables.results, self.run_id, order_by=order_by, limit=limit, **options)
        rows = read_rows(self._store, query)
        return mark(rows if arrow else to_frame(rows), unfinished)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write rows of the run to a ``.parquet``, ``.csv`` or ``.csv.gz`` file, in bounded memory; return its path.

        Parameters
        ----------
        path : path
            See :func:`orbresearch.save_results`.
        **options
            As of :meth:`results`, but for ``arrow``; and ``rows`` of a page.

        Examples
        --------
        >>> run.save("run.parquet")  # doctest: +SKIP
        """
        from orbresearch.store.query import count_of, make_query

        target, rows = check_target(path), count_of("rows", options.pop("rows", PAGE_ROWS), least=1)
        unfinished = self._unfinished()
        query = make_query(self._store.tables.results, self.run_id, **options)
        for message in unfinished:
            warnings.warn(message, stacklevel=2)
        return save_rows(self._store, query, target, rows, say_complete(unfinished))

    def best(
        self,
        n: int = 20,
        *,
        by: str | None = None,
        min_sessions: int | None = None,
        unresolved: bool | None = None,
        luck: bool = True,
    ) -> Any:
        """Return the best backtests: strategy.md, "Best"; say beside them whether the best is more than luck.

        Parameters
        ----------
        n : int
            How many.
        by : str, optional
            A column; highest first. Default: ``sharpe_ratio``, or what the run keeps its best by.
        min_sessions : int, optional
            Sessions with a trade that a backtest must have. Default: 30, or what the run keeps.
        unresolved : bool, optional
            Whether to admit backtests on bars whose distances the bars cannot tell. Default: no, or what the run keeps.
        luck : bool
            Say the verdict in one line (also ``attrs["luck"]``); computed once per Run, from the prices.
        """
        from orbresearch.store.reader import read_best

        kept = self._require_kept()
        how = Best(1) if kept == "all" else kept
        by, least = by or how.by, how.min_sessions if min_sessions is None else min_sessions
        admits = how.unresolved if unresolved is None else unresolved
        if kept != "all" and (by, least, admits) != (kept.by, kept.min_sessions, kept.unresolved):
            raise self._not_kept(f"those by {by} with min_sessions={least}, unresolved={admits}")
        unfinished = self._unfinished()
        found = read_best(self._store, self.run_id, n, by=by, min_sessions=least, unresolved=admits)
        mark(found, unfinished)
        if len(found) == 0 and found.attrs["complete"]:
            kind = "backtest" if admits else "resolved backtest"
            warnings.warn(f"none is best: no {kind} traded in {least} sessions (min_sessions=)", stacklevel=2)
        if luck and len(found):
            found.attrs["luck"] = self.luck()
            tell(found.attrs["luck"])
        return found

    def luck(self) -> str:
        """Return whether the best is more than luck, in one line: the first of :meth:`verdict`."""
        from orbresearch.lab.verdicts import luck_line

        if self._luck is None or not self._luck[0]:  # what was said of an unfinished run is said anew
            self._luck = self.complete, luck_line(self)
        return self._luck[1]

    def verdict(self, **options: Any) -> Verdict:
        """Return what its best is worth: see :func:`orbresearch.verdict`."""
        from orbresearch.lab.verdicts import verdict

        return verdict(self, **options)

    def heatmap(
        self,
        x: str = "stop_distance",
        y: str = "limit_distance",
        column: str = "sharpe_ratio",
        how: str = "best",
        *,
        ticker: str | None = None,
        range_duration: int | None = None,
        min_sessions: int | None = None,
    ) -> Picture:
        """Return how a column differs along two others, over all values of the rest: see ``orb.pictures.heatmap``.

        Of a run that keeps only its best it shows all backtests nevertheless, from their summary: ``sharpe_ratio`` or
        ``backtest_return``, best or mean, by two parameters; unresolved ones and those that traded seldom included.

        Parameters
        ----------
        x, y, column, how
            Columns, and what a cell shows of its backtests: best, mean or median.
        ticker, range_duration
            Which; needed where the run has several and neither axis is it.
        min_sessions : int, optional
            Default: 30 traded sessions; 0: all backtests.
        """
        from orbresearch.lab.drawing import draw_heatmap

        places = {"ticker": ticker, "range_duration": range_duration}
        return draw_heatmap(self, x, y, column, how, places, min_sessions)

    def explore(
        self,
        x: str = "stop_distance",
        y: str = "limit_distance",
        column: str = "sharpe_ratio",
        how: str = "best",
        *,
        ticker: str | None = None,
        range_duration: int | None = None,
        min_sessions: int | None = None,
    ) -> Picture:
        """Return the heat map, a backtest's profit and a day: a click on a cell shows its best, a click there a day.

        The parameters are those of :meth:`heatmap`. Clicks need a running kernel.
        """
        from orbresearch.lab.drawing import draw_explorer

        places = {"ticker": ticker, "range_duration": range_duration}
        return draw_explorer(self, x, y, column, how, places, min_sessions)

    def _require_kept(self) -> Keep:
        """Return what the run keeps; refuse to speak for one that keeps something else by now."""
        kept = read_keep(str(self.facts()["kept"]))
        if kept != self.keep:
            wrong = f"it keeps {'all rows' if kept == 'all' else kept} by now"
            raise BadInput(f"run {self.run_id}", wrong, "open it as it is: orb.open_run(run_id)")
        return kept

    def _not_kept(self, asked: str) -> BadInput:
        """Return the refusal to call best what is best only among rows that were kept for something else."""
        wrong, fix = f"it keeps {self.keep}, which says nothing about {asked}", 'submit it with keep="all"'
        return BadInput(f"run {self.run_id}", wrong, f"{fix}, or with the orb.Best(...) that is meant")

    def summary(self, *parameters: str, together: bool = False) -> Any:
        """Return what came of each value of a parameter, or of each pair of values of two: of all backtests.

        Parameters
        ----------
        *parameters : str
            One or two of stop_distance, stop_count_limit, stop_cooloff_period, limit_distance.
        together : bool
            Over all tickers and range durations at once.

        Returns
        -------
        DataFrame
            ``ticker, range_duration`` (unless together), the parameters, ``backtests``; ``return_mean, return_max`` of
            backtest_return; ``sharpes`` (backtests whose Sharpe ratio is defined), ``sharpe_mean, sharpe_max``. Means
            are of values within ±900, to 1e-6.

        Examples
        --------
        >>> run.summary("stop_distance", "limit_distance").pivot_table(  # doctest: +SKIP
        ...     values="sharpe_max", index="stop_distance", columns="limit_distance")
        """
        from orbresearch.lab.summaries import summarize
        from orbresearch.summary import axis_of, to_cells

        axis_of(parameters)
        return self._summarize(summarize, lambda found, grid: to_cells(found, grid, parameters), together)

    def histogram(self, parameter: str, *, together: bool = False) -> Any:
        """Return how return and Sharpe ratio are distributed for each value of a parameter: of all backtests.

        Parameters
        ----------
        parameter : str
            As of :meth:`summary`.
        together : bool
            Over all tickers and range durations at once.

        Returns
        -------
        DataFrame
            ``ticker, range_duration`` (unless together), the parameter, ``measure`` (return, sharpe), ``low, high``
            (ends of a bucket, 1/64 of its values apart at the most, or 1e-6), ``backtests`` in it.
        """
        from orbresearch.lab.summaries import summarize
        from orbresearch.summary import axis_of, to_histogram

        axis_of([parameter])
        return self._summarize(summarize, lambda found, grid: to_histogram(found, grid, parameter), together)

    def _summarize(self, summarize: Callable[..., Any], show: Callable[..., Any], together: bool) -> Any:
        self._require_kept()
        unfinished = self._unfinished()
        return mark(summarize(self._store, self.facts(), show, together), unfinished)

    def ranking(self, n: int = 20) -> Any:
        """Return the user's own ranking, by ``(stop_distance / backtest_profit) * stop_count_limit``.

        It divides by the profit, so profits nearest zero come first.
        """
        from orbresearch.store.reader import read_ranking

        if self._require_kept() != "all":
            raise self._not_kept("the ranking of all")
        unfinished = self._unfinished()
        return mark(read_ranking(self._store, self.run_id, n), unfinished)

    def _unfinished(self) -> list[str]:
        """Return what to say of a run that is not complete: ask before reading its rows, which may grow meanwhile."""
        return say_unfinished({self.run_id: (self.persisted(), self.total)})
