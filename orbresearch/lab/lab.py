"""The lab: what is done with a cluster, Redis and the store together."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from orbresearch.console import tell
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, ParameterList, Points
from orbresearch.keep import Keep, check_keep, order_of, run_of, write_keep
from orbresearch.lab import begin
from orbresearch.lab.connection import Connection
from orbresearch.lab.plugin import CHUNK_SECONDS, STAGED_BYTES
from orbresearch.lab.run import Run
from orbresearch.lab.status import list_runs
from orbresearch.plan import Plan, fit_chunks, make_plan
from orbresearch.rules import Rules
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.quality import quality_of
from orbresearch.summary import check_summary

if TYPE_CHECKING:
    from orbresearch.cloud.forecast import CloudPlan

MOST_LISTED = 200_000  # parameter sets of a run's list: some 10 MB of JSON


class Lab(Connection):
    """A Dask cluster with Redis and the store: submits runs, follows them, moves their results.

    Parameters
    ----------
    address : str, optional
        Attach to a running scheduler, such as that of ``python -m orbresearch up``. Default: start a cluster on this
        machine, which ends with this process.
    n_workers : int, optional
        Worker processes of a cluster started here; default: one per core.
    slots : int
        Chunks that each worker computes at once.
    env_file : path, optional
        A file of KEY=VALUE lines with the settings (``env.list``).
    reap_seconds : float
        Pause between two reapers.
    staged_bytes : int
        Results that may wait in Redis: beyond that no chunk is given out until the store has caught up.
    chunk_seconds : float
        After which a chunk is taken for stuck: its worker is restarted and the chunk tried again, three times at most.
    quiet : bool
        Do not say where everything is.

    Examples
    --------
    >>> with Lab(n_workers=1) as lab:  # doctest: +SKIP
    ...     run = lab.submit(sessions, grid, range_duration=300)
    ...     best = run.wait().best(20)
    """

    @classmethod
    def fargate(
        cls,
        n_workers: int = 10,
        *,
        worker_cpu: int = 1,
        worker_memory: float = 4,
        spot_share: float = 10 / 11,
        maximum: int | None = None,
        idle_timeout: float = 900,
        lifetime: float = 12 * 3600,
        price_cap: float | None = None,
        plan: CloudPlan | None = None,
        attach: bool | str = False,
        stack: str = "orbresearch",
        region: str | None = None,
        env_file: str | os.PathLike[str] | None = None,
        reap_seconds: float = 0.25,
        staged_bytes: int = STAGED_BYTES,
        chunk_seconds: float = CHUNK_SECONDS,
    ) -> Self:
        """Start a cluster on AWS Fargate, or attach to one, and return its lab: the same as of a local one.

        It stands on the stack of ``orb.cloud.deploy()`` and the Redis of ``orb.cloud.start_redis()``, and makes
        nothing but tasks. All speak TLS with certificates on both sides; an interrupted Spot task hands over what it
        has, and another takes its place while this process lives. The price is told before anything starts.

        Parameters
        ----------
        n_workers : int
        worker_cpu : int
            vCPUs of each: as many chunks as it computes at once (1, 2, 4, 8 or 16).
        worker_memory : float
            GiB of each, 2 to 8 per vCPU (4 vCPUs: up to 30, 8: 16 to 60 by 4, 16: 32 to 120 by 8), as Fargate has them.
        spot_share : float
            Of the workers, on Spot: cheaper, and interrupted now and then.
        maximum : int, optional
            Workers up to which it grows while there is work for them; ``n_workers`` is the least.
        idle_timeout : float
            Seconds without work after which everything ends.
        lifetime : float
            Seconds after which everything ends, whatever goes on.
        price_cap : float, optional
            Dollars; refused where it could cost more until its lifetime ends.
        plan : CloudPlan, optional
            Of the run to come, from ``orb.cloud.plan``: told before the start.
        attach : bool or str
            Attach to the running cluster (of that name), whoever started it; it stays when the lab is closed.
        stack, region : str
            As of ``orb.cloud.deploy``.
        env_file, reap_seconds, staged_bytes, chunk_seconds
            As of ``Lab``.

        Raises
        ------
        BadInput
            What is missing, before anything starts.
        Unreachable
            The results database, before anything starts.
        CloudFailed
            With AWS' own reason; nothing is left running.

        Examples
        --------
        >>> with orb.Lab.fargate(40, lifetime=6 * 3600, price_cap=20) as lab:  # doctest: +SKIP
        ...     best = lab.submit(sessions, grid).wait().best(20)
        """
        from orbresearch.lab.hosted import open_hosted

        own: dict[str, Any] = {"worker_cpu": worker_cpu, "worker_memory": worker_memory, "spot_share": spot_share}
        own |= {"idle_timeout": idle_timeout, "lifetime": lifetime}
        hosted = open_hosted(
            n_workers,
            own,
            env_file,
            attach,
            maximum=maximum,
            price_cap=price_cap,
            plan=plan,
            stack=stack,
            region=region,
        )
        given: dict[str, Any] = {
            "reap_seconds": reap_seconds,
            "staged_bytes": staged_bytes,
            "chunk_seconds": chunk_seconds,
        }
        return cls(hosted=hosted, env_file=env_file, **given)

    def stage(self, plan_or_sessions: Plan | Sessions | Mapping[str, Sessions], range_duration: Any = 300) -> int:
        """Stage inputs in Redis: what is missing of tick series and opening ranges.

        Parameters
        ----------
        plan_or_sessions : Plan, Sessions or mapping
            What is to be submitted later.
        range_duration : int or iterable of int
            Seconds; of sessions.

        Returns
        -------
        int
            How many sessions were not staged yet.
        """
        plan = plan_or_sessions
        if not isinstance(plan, Plan):
            with warnings.catch_warnings(action="ignore"):  # of a grid that nobody has asked for
                plan = make_plan(plan, ParameterGrid(1.0, 1, 0, 1.0), range_duration)
        return begin.stage_plan(self._call, plan)

    def unstage(self, sessions: Sessions | Mapping[str, Sessions]) -> int:
        """Remove tick series from Redis, where a year of one-second prices takes about 40 MB; return how many sessions.

        For runs that are complete. One that still computes them stands still until it is waited for or submitted again.
        """
        loaded = [sessions] if isinstance(sessions, Sessions) else sessions.values()
        return int(self._call(begin.unstage_sessions, begin.session_hashes(item.series for item in loaded)))

    def submit(
        self,
        sessions: Sessions | Mapping[str, Sessions],
        grid: Points,
        range_duration: int | Iterable[int] = 300,
        rules: Rules | None = None,
        *,
        keep: Keep = "all",
        pool: bool = False,
    ) -> Run:
        """Submit a run: grid × tickers × range durations. Returns at once; ``run.wait()`` follows it.

        A run that the store already holds, wholly or in part, is continued: nothing is computed twice, nothing changes.

        Parameters
        ----------
        sessions : Sessions or mapping of ticker to Sessions
        grid : ParameterGrid or ParameterList
        range_duration : int or iterable of int
            Seconds of the opening range.
        rules : Rules, optional
        keep : "all" or Best
            Every row; or the best rows of the run, and a summary of all its backtests: ``Run.summary``.
        pool : bool
            One backtest for each parameter set and range duration over all tickers at once, whose days are the means of
            theirs (``orbresearch.pool``); its row's ``ticker`` is ``POOL:`` and the tickers, or how many they are.

        Raises
        ------
        BadInput
            Whatever cannot be computed, before any work starts.
        """
        self._require_open()
        plan = make_plan(sessions, grid, range_duration, rules, pool=pool)
        return self.submit_plan(fit_chunks(plan, self.slots_to_come(), check_keep(keep)), keep=keep)

    def submit_plan(self, plan: Plan, *, keep: Keep = "all") -> Run:
        """Submit a run that ``orb.make_plan`` has planned, and that was looked at."""
        from orbresearch import __version__
        from orbresearch.sources.cache import keep_sessions

        self._require_open()
        if isinstance(plan.grid, ParameterList) and len(plan.grid) > MOST_LISTED:
            wrong = f"{len(plan.grid):,} sets; the store keeps a run's list whole, {MOST_LISTED:,} at the most"
            raise BadInput("ParameterList", wrong, "submit it in parts")
        if check_keep(keep) != "all":
            check_summary(plan.grid)
        plan, keep, anew = begin.settle_keep(self.store, plan, keep)
        report = quality_of(plan.sessions).summary
        for line in report.splitlines():
            if line.startswith("severe"):
                tell(line)
        cached = {ticker: keep_sessions(self.settings.cached_data, item) for ticker, item in plan.sessions.items()}
        begin.tell_of_relatives(self.store, plan)
        record = begin.run_record(plan, cached, keep, __version__, report)
        computed = self._begin(plan, record, anew)
        known = f", {computed:,} of them known already" if computed else ""
        tell(f"run {plan.run_id}: {len(plan):,} backtests{known}")
        order = order_of(plan.run_id, write_keep(keep), plan.chunk_rows)
        return Run(plan.run_id, len(plan), self.store, self, lambda: self._begin(plan, record), keep, order)

    def _begin(self, plan: Plan, record: dict[str, object], anew: bool = False) -> int:
        """Give the feeder what is left of a run; return how many backtests are computed already."""
        self.stage(plan)
        left = begin.find_left(self._call, plan, record, anew)
        computed = len(plan) - sum(chunk[1] for chunk in left)
        order = order_of(plan.run_id, str(record["kept"]), plan.chunk_rows)
        self._ask("orb_feed", order=order, store=self.store.uuid, chunks=left, computed=computed)
        return computed

    def load_sessions(self, source: Any, ticker: Any = None, **options: Any) -> dict[str, Sessions]:
        """Load many tickers' sessions at once: of files that the workers see, in the workers.

        Parameters
        ----------
        source
            As of ``orb.load_sessions``. A DataFrame is read here, a warehouse over connections of its own.
        ticker : list of str, optional
            Default: all that the source has.
        **options
            As of ``orb.load_sessions``.

        Returns
        -------
        dict of Sessions
            ``orb.quality_of(sessions).summary`` says what is wrong with them, in a few lines.

        Examples
        --------
        >>> sessions = lab.load_sessions("prices.parquet")  # doctest: +SKIP
        >>> run = lab.submit(sessions, grid, range_duration=300)  # doctest: +SKIP
        """
        from orbresearch.lab.loading import load_over

        self._require_open()
        slots = 0 if self.hosted is not None else self.slots()  # workers in the cloud see no file of this machine
        return load_over(self.client, slots, source, ticker, options)

    def runs(self) -> Any:
        """Return every run of the store, newest first, with what this lab's cluster does about it.

        Returns
        -------
        DataFrame
            As ``orb.runs()``, and ``state``: complete, running, waiting, failed, cancelled, or unfinished where nobody
            computes it; ``persisted`` and ``failed`` backtests.
        """
        self._require_open()
        return list_runs(self.store, self._ask("orb_progress", order=None))

    def progress(self, order: str) -> dict[str, Any]:
        """Return where the cluster stands with a run: backtests computed and failed, failures, the reaper's trouble."""
        self._require_open()
        found: dict[str, Any] = self._ask("orb_progress", order=order)
        if not found["known"]:
            wrong = "this lab's cluster does not compute it"
            raise BadInput(f"run {run_of(order)}", wrong, "submit it again: what is in the store is kept")
        return found

    def staged(self, order: str) -> int:
        """Return how many backtests of a run wait in Redis."""
        return int(self._call(begin.run_counts, order)["staged"])
