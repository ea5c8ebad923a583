"""One run: where it stands, its rows, its best. With a lab while it computes; without one ever after."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orbresearch.errors import BadInput, RunFailed, Unreachable
from orbresearch.lab.progress import ProgressBar, tell
from orbresearch.rules import Rules
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    from orbresearch.lab.lab import Lab
    from orbresearch.store.connection import Store

_POLL_SECONDS = 0.3
_SILENCE_SECONDS = 5.0  # between two warnings about the same trouble; and until lost results are looked for


class Run:
    """A run in the store. Made by ``Lab.submit`` or ``open_run``.

    Parameters
    ----------
    run_id : str
    total : int
        Backtests.
    store : Store
    lab : Lab, optional
        The lab that computes it.
    """

    def __init__(self, run_id: str, total: int, store: Store, lab: Lab | None = None) -> None:
        self.run_id, self.total, self._store, self._lab = run_id, total, store, lab

    def __len__(self) -> int:
        return self.total

    def __repr__(self) -> str:
        return f"Run({self.run_id}: {self.persisted():,} of {self.total:,} backtests in {self._store.where})"

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

    def wait(self) -> Run:
        """Wait until every row is committed, showing progress. An interrupt stops the waiting, not the run.

        Raises
        ------
        RunFailed
            Chunks raised; all others are in the store.
        BadInput
            The run is unfinished and no lab computes it.
        """
        persisted = self.persisted()
        if persisted >= self.total:
            tell(f"run {self.run_id}: all {self.total:,} backtests are in {self._store.where}")
            return self
        if self._lab is None or self._lab.closed:
            wrong = f"{self.total - persisted:,} of {self.total:,} backtests are missing and no lab computes them"
            raise BadInput(f"run {self.run_id}", wrong, "submit it again: what is in the store is kept")
        try:
            self._watch(persisted)
        except KeyboardInterrupt:
            tell(f"stopped waiting; run {self.run_id} goes on while its lab is open")
        return self

    def _watch(self, persisted: int) -> None:
        """Show progress until all rows are committed or the rest has failed."""
        assert self._lab is not None
        told, quiet = 0.0, time.monotonic()
        with ProgressBar(self.total, persisted) as bar:
            while True:
                found, before = self._lab.progress(self.run_id), persisted
                trouble = found["reaper_error"]
                try:
                    persisted = self.persisted()
                except Unreachable as error:  # the reaper tries again, and so do we
                    trouble = str(error)
                bar.show(max(found["computed"], persisted), persisted)
                idle = not found["running"] and not found["waiting"]
                if persisted >= self.total or (idle and persisted + found["failed"] >= self.total):
                    break
                if trouble and time.monotonic() - told > _SILENCE_SECONDS:
                    told = time.monotonic()
                    tell(f"\nthe store cannot be written; trying again: {trouble}")
                if not idle or trouble or persisted > before:
                    quiet = time.monotonic()
                elif time.monotonic() - quiet > _SILENCE_SECONDS:
                    self._refuse_lost(persisted, found["failed"])
                    quiet = time.monotonic()
                time.sleep(_POLL_SECONDS)
        if persisted < self.total:
            raise RunFailed(self.run_id, found["failures"])

    def _refuse_lost(self, persisted: int, failed: int) -> None:
        """Raise where results are neither in the store nor on their way to it."""
        assert self._lab is not None
        if self._lab.staged(self.run_id) == 0 and self.persisted() == persisted:
            lost = self.total - persisted - failed
            raise RunFailed(self.run_id, [f"{lost} results were lost on their way to the store (was Redis flushed?)"])

    def status(self) -> dict[str, Any]:
        """Return ``total, computed, staged, persisted, failed`` backtests, and what failed."""
        persisted = self.persisted()
        found = {"known": False} if self._lab is None or self._lab.closed else self._lab.progress(self.run_id)
        computed = max(int(found.get("computed", 0)), persisted)
        return {
            "run_id": self.run_id,
            "total": self.total,
            "computed": computed,
            "staged": computed - persisted,
            "persisted": persisted,
            "failed": int(found.get("failed", 0)),
            "failures": found.get("failures", []),
            "reaper_error": found.get("reaper_error", ""),
        }

    def results(self, order_by: str = "backtest_id", limit: int | None = None, **options: Any) -> Any:
        """Return rows of the run as a DataFrame with the columns of schema.RESULTS.

        Parameters
        ----------
        order_by : str
            A column; numbers come highest first, undefined last.
        limit : int, optional
            None: all.
        **options
            ``descending``, ``columns``: as in ``store.read_results``.

        Returns
        -------
        DataFrame
            ``attrs["complete"]`` tells whether every backtest of the run is in the store; where not, a warning says so.
        """
        from orbresearch.store.reader import read_results

        rows = read_results(self._store, self.run_id, order_by=order_by, limit=limit, **options)
        return self._mark(rows)

    def best(self, n: int = 20, *, by: str = "sharpe_ratio", min_sessions: int = 30, unresolved: bool = False) -> Any:
        """Return the best backtests: strategy.md, "Best".

        Parameters
        ----------
        n : int
            How many.
        by : str
            A column; highest first.
        min_sessions : int
            Sessions with a trade that a backtest must have.
        unresolved : bool
            Whether to admit backtests on bars whose distances the bars cannot tell.
        """
        from orbresearch.store.reader import read_best

        found = self._mark(
            read_best(self._store, self.run_id, n, by=by, min_sessions=min_sessions, unresolved=unresolved)
        )
        if len(found) == 0 and found.attrs["complete"]:
            kind = "backtest" if unresolved else "resolved backtest"
            warnings.warn(f"none is best: no {kind} traded in {min_sessions} sessions (min_sessions=)", stacklevel=2)
        return found

    def ranking(self, n: int = 20) -> Any:
        """Return the user's own ranking, by ``(stop_distance / backtest_profit) * stop_count_limit``.

        It divides by the profit, so profits nearest zero come first.
        """
        from orbresearch.store.reader import read_ranking

        return self._mark(read_ranking(self._store, self.run_id, n))

    def _mark(self, rows: Any) -> Any:
        """Say whether the rows come from a complete run."""
        persisted = self.persisted()
        rows.attrs["complete"] = persisted >= self.total
        if persisted < self.total:
            message = f"run {self.run_id} is unfinished: {persisted:,} of {self.total:,} backtests are in the store"
            warnings.warn(message, stacklevel=3)
        return rows


def runs() -> Any:
    """Return what the store knows of every run, newest first, as a DataFrame.

    Raises
    ------
    BadInput
        There is no store yet.
    """
    from orbresearch.store.connection import close_store, open_store
    from orbresearch.store.reader import read_runs

    store = open_store(read_settings().store, create=False)
    try:
        return read_runs(store)
    finally:
        close_store(store)


def open_run(run_id: str) -> Run:
    """Return a run of the store, without a lab.

    Raises
    ------
    BadInput
        There is no such run; the message names the latest.
    """
    from orbresearch.store.connection import open_store
    from orbresearch.store.reader import read_run, read_runs

    store = open_store(read_settings().store, create=False)
    found = read_run(store, str(run_id))
    if found is None:
        known = ", ".join(read_runs(store)["run_id"].head(5)) or "none"
        raise BadInput("run_id", f"{run_id!r} is not in {store.where}", f"the latest runs there are {known}")
    return Run(str(run_id), int(str(found["backtests"])), store)


def select(sql: str, params: Mapping[str, object] | None = None) -> Any:
    """Run a query of one's own against the results database; nothing can be written with it.

    Parameters
    ----------
    sql : str
        One SELECT; ``:name`` stands for ``params["name"]``.
    params : mapping, optional

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> select("SELECT tickers, backtests FROM runs WHERE sessions > :least", {"least": 100})  # doctest: +SKIP
    """
    from orbresearch.store.connection import close_store, open_store
    from orbresearch.store.reader import fetch

    store = open_store(read_settings().store, create=False)
    try:
        return fetch(store, sql, params)
    finally:
        close_store(store)
