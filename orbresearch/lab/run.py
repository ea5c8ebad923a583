"""One run: where it stands, its rows, its best. With a lab while it computes; without one ever after."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from orbresearch.errors import BadInput, RunFailed, Unreachable
from orbresearch.lab.progress import ProgressBar, tell
from orbresearch.rules import Rules
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    from orbresearch.lab.lab import Lab
    from orbresearch.store.connection import Store

_POLL_SECONDS = 0.3
_REPAIRS = 5  # in a row without a row more in the store
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
    resume : callable, optional
        Stages anew what Redis has lost of the run, and gives out what the store lacks.
    """

    def __init__(
        self,
        run_id: str,
        total: int,
        store: Store,
        lab: Lab | None = None,
        resume: Callable[[], object] | None = None,
    ) -> None:
        self.run_id, self.total, self._store, self._lab, self._resume = run_id, total, store, lab, resume

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
        """Show progress until all rows are committed, the rest has failed, or nobody computes it any more."""
        told, quiet, repairs = 0.0, time.monotonic(), 0
        with ProgressBar(self.total, persisted) as bar:
            while True:
                found, before = self._progress(), persisted
                trouble = found["reaper_error"]
                try:
                    persisted = self.persisted()
                except Unreachable as error:  # the reaper tries again, and so do we
                    trouble = str(error)
                bar.show(max(found["computed"], persisted), persisted)
                idle = not found["running"] and (not found["waiting"] or found["halted"])
                if persisted >= self.total or (idle and persisted + found["failed"] >= self.total):
                    break
                if found["cancelled"] and idle and not self._staged():
                    break
                if trouble and time.monotonic() - told > _SILENCE_SECONDS:
                    told = time.monotonic()
                    tell(f"\nthe store cannot be written; trying again: {trouble}")
                if not idle or trouble or persisted > before:
                    quiet, repairs = time.monotonic(), repairs if persisted == before else 0
                elif time.monotonic() - quiet > (1.0 if found["halted"] else _SILENCE_SECONDS) and not self._staged():
                    quiet, repairs = time.monotonic(), repairs + 1
                    self._repair(persisted, found["failed"], repairs)
                time.sleep(_POLL_SECONDS)
        if found["cancelled"] and persisted < self.total:
            tell(f"run {self.run_id} was cancelled: {persisted:,} of {self.total:,} backtests are in the store")
        elif persisted < self.total:
            raise RunFailed(self.run_id, [_sentence(failure) for failure in found["failures"]])

    def _progress(self) -> dict[str, Any]:
        assert self._lab is not None
        return self._lab.progress(self.run_id)

    def _staged(self) -> int:
        """Return how many of its backtests wait in Redis, 1 where Redis cannot be asked: it may come back."""
        assert self._lab is not None
        try:
            return self._lab.staged(self.run_id)
        except Unreachable:
            return 1

    def _repair(self, persisted: int, failed: int, repairs: int) -> None:
        """Stage anew what Redis has lost (a flush, a restart) and compute what is missing.

        Raises
        ------
        RunFailed
            It was lost again and again, or this process does not know the run's inputs.
        """
        lost = self.total - persisted - failed
        if self._resume is None or repairs > _REPAIRS:
            raise RunFailed(self.run_id, [f"{lost} results were lost on their way to the store (was Redis flushed?)"])
        tell(f"\nRedis has lost {lost:,} backtests of run {self.run_id} or what they need; computing them again")
        try:
            self._resume()
        except Unreachable as error:
            tell(f"not yet: {error}")

    def cancel(self) -> int:
        """Give out no further chunk. What is computed already stays and goes into the store.

        Returns
        -------
        int
            Backtests that are not computed; submitting the run again computes them.
        """
        return int(self._require_lab()._ask("orb_cancel", run_id=self.run_id))

    def retry_failed(self) -> int:
        """Compute the chunks that were set aside once more; return how many backtests they hold."""
        return int(self._require_lab()._ask("orb_retry", run_id=self.run_id))

    def _require_lab(self) -> Lab:
        if self._lab is None or self._lab.closed:
            raise BadInput(f"run {self.run_id}", "no lab computes it", "submit it to an orb.Lab()")
        return self._lab

    def status(self) -> dict[str, Any]:
        """Return where the run stands, in backtests.

        Returns
        -------
        dict
            ``state`` as in ``Lab.runs``; ``total``; ``waiting, running, staged, persisted, failed``; ``computed`` are
            staged or persisted; ``per_second`` (of one slot computing) and ``seconds_left`` (None while nothing is
            known); ``staged_bytes`` of all runs, ``held_back``: chunks wait for the store to catch up; ``failures``:
            dicts of ``first, rows, error, traceback``; ``reaper_error``: why the store cannot be written.
        """
        persisted = self.persisted()
        attached = self._lab is not None and not self._lab.closed
        found: dict[str, Any] = self._progress() if attached else {"known": False}
        computed = max(int(found.get("computed", 0)), persisted)
        seconds, left = float(found.get("seconds", 0.0)), self.total - computed
        rate = computed / seconds if seconds else None
        return {
            "run_id": self.run_id,
            "state": state_of(persisted, self.total, found),
            "total": self.total,
            "waiting": int(found.get("waiting", 0)),
            "running": int(found.get("running", 0)),
            "computed": computed,
            "staged": computed - persisted,
            "persisted": persisted,
            "failed": int(found.get("failed", 0)),
            "per_second": rate,
            "seconds_left": left / (rate * self._slots()) if rate and attached else None,
            "staged_bytes": int(found.get("staged_bytes", 0)),
            "held_back": bool(found.get("held_back", False)),
            "failures": list(found.get("failures", [])),
            "reaper_error": found.get("reaper_error", ""),
        }

    def _slots(self) -> int:
        assert self._lab is not None
        return self._lab.slots()

    def _repr_html_(self) -> str:
        """Show where the run stands as a small table, as of now."""
        found = self.status()
        names = ("state", "waiting", "running", "staged", "persisted", "failed", "reaper_error")
        shown = {name: found[name] for name in names if found[name]}
        shown |= {f"failure {i + 1}": _sentence(failure) for i, failure in enumerate(found["failures"][:3])}
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(_word(value))}</td></tr>"
            for name, value in shown.items()
        )
        title = f"run {self.run_id}: {found['persisted']:,} of {self.total:,} backtests in {self._store.where}"
        return f"<table><caption>{escape(title)}</caption>{rows}</table>"

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


def state_of(persisted: int, total: int, report: Mapping[str, Any]) -> str:
    """Return a run's state in one word, from the ledger and from what the scheduler reports of it."""
    if persisted >= total:
        return "complete"
    if report.get("running"):
        return "running"
    if report.get("cancelled"):
        return "cancelled"
    if report.get("waiting"):
        return "waiting"
    if report.get("failed"):
        return "failed"
    return "running" if report.get("computed", 0) > persisted else "unfinished"


def _sentence(failure: Mapping[str, Any]) -> str:
    first, rows = failure["first"], failure["rows"]
    return f"backtests {first} to {first + rows - 1}: {failure['error']}"


def _word(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


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
