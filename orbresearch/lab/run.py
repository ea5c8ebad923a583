"""One run: where it stands, its rows, its best. With a lab while it computes; without one ever after."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orbresearch.console import in_notebook, tell
from orbresearch.errors import BadInput
from orbresearch.keep import Keep
from orbresearch.lab.status import describe_status, show_status
from orbresearch.lab.stored import StoredRun
from orbresearch.lab.watching import show_live, watch

if TYPE_CHECKING:
    from orbresearch.lab.lab import Lab
    from orbresearch.store.connection import Store


class Run(StoredRun):
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
    keep : "all" or Best
        What is kept of its rows.
    order : str
        The name under which the lab computes it.
    """

    def __init__(
        self,
        run_id: str,
        total: int,
        store: Store,
        lab: Lab | None = None,
        resume: Callable[[], object] | None = None,
        keep: Keep = "all",
        order: str = "",
    ) -> None:
        super().__init__(run_id, total, store, keep)
        self._lab, self._resume, self.order = lab, resume, order

    def __len__(self) -> int:
        return self.total

    def __repr__(self) -> str:
        kept = "" if self.keep == "all" else f", of which it keeps {self.keep}"
        return f"Run({self.run_id}: {self.persisted():,} of {self.total:,} backtests in {self._store.where}{kept})"

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
            watch(self, self._lab, self._resume, persisted)
        except KeyboardInterrupt:
            tell(f"stopped waiting; run {self.run_id} goes on while its lab is open")
        return self

    def cancel(self) -> int:
        """Give out no further chunk. What is computed already stays and goes into the store.

        Returns
        -------
        int
            Backtests that are not computed; submitting the run again computes them.
        """
        return int(self._require_lab()._ask("orb_cancel", order=self.order))

    def retry_failed(self) -> int:
        """Compute the chunks that were set aside once more; return how many backtests they hold."""
        return int(self._require_lab()._ask("orb_retry", order=self.order))

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
            dicts of ``first, rows, error, traceback``; ``reaper_error``: why results do not get into the store.
        """
        persisted = self.persisted()
        if self._lab is None or not self.attached:
            return describe_status(self.run_id, self.total, persisted, {}, 0)
        return describe_status(self.run_id, self.total, persisted, self._lab.progress(self.order), self._lab.slots())

    def _repr_html_(self) -> str:
        """Show where the run stands as a small table, as of now."""
        return show_status(self.status(), self._store.where)

    def _ipython_display_(self) -> None:
        """Show it in a notebook, up to date while the run goes on; elsewhere as ever."""
        if not in_notebook():
            raise NotImplementedError
        show_live(self)
