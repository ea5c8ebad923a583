"""A run in the cloud before it is started, as a person sees it: its figures, and what was assumed for them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from orbresearch.cloud.hourly import RunningCost
from orbresearch.cloud.quota import describe_quota
from orbresearch.console import many

SLOWER = 1.5  # a Fargate vCPU is half a core of a server: a chunk takes so many times as long as on a core here
START_MINUTES = 3.0  # until tasks compute: an address for each, the image fetched and unpacked
REDIS_MINUTES = 8.0  # before that, where it does not run: ElastiCache takes 5 to 10
ROWS_A_SECOND = 70_000  # that one reaper moves into MySQL: README, "A campaign"


@dataclass(frozen=True)
class CloudPlan:
    """A run in the cloud before it is started: how long, how many dollars, and what stands in its way.

    Parameters
    ----------
    backtests, chunks : int
    measured_seconds, chunk_seconds : float
        Of one chunk in this process, preparing its inputs included where it must be; on a worker.
    start_minutes, compute_minutes, store_minutes : float
        Until tasks run; until the last chunk is computed; what the database takes for the rows, at the same time.
    vcpu_hours : float
        Of all tasks from start to end.
    on_demand, with_spot : float
        Dollars of the run with every worker on demand, and with Spot at its typical price; Redis included.
    redis : float
        Its share of them: ElastiCache counts begun hours.
    running : RunningCost
        What it costs while it is up, whatever it computes.
    quota : dict
        The account's Fargate vCPUs, ``on_demand`` and ``spot``, or why they are not known.
    warnings : tuple of str
    """

    backtests: int
    chunks: int
    measured_seconds: float
    chunk_seconds: float
    start_minutes: float
    compute_minutes: float
    store_minutes: float
    vcpu_hours: float
    on_demand: float
    with_spot: float
    redis: float
    running: RunningCost
    quota: Mapping[str, float | str]
    warnings: tuple[str, ...]

    @property
    def wall_minutes(self) -> float:
        """Minutes from the start to the last row in the store."""
        return self.start_minutes + max(self.compute_minutes, self.store_minutes)

    @property
    def per_hour(self) -> float:
        """Dollars an hour while it is up, Spot at its typical price."""
        return self.running.per_hour

    @property
    def most(self) -> float:
        """The most dollars that it can cost until its lifetime ends."""
        return self.running.most

    @property
    def title(self) -> str:
        """What is computed."""
        return f"{many(self.backtests, 'backtest')} in {many(self.chunks, 'chunk')} of {self.chunk_seconds:.3g} s"

    @property
    def lines(self) -> list[str]:
        """Everything else, each line with its name before a colon."""
        return [
            f"time: {self.wall_minutes:,.1f} minutes: {self.start_minutes:g} to start, {self.compute_minutes:,.1f} to "
            f"compute, meanwhile {self.store_minutes:,.1f} for rows into MySQL; {self.vcpu_hours:,.1f} vCPU-hours",
            f"the run: ${self.with_spot:,.2f} with Spot, ${self.on_demand:,.2f} were every worker on demand; "
            f"${self.redis:.2f} of it Redis",
            *(f"{name}: {text}" for name, text in self.running.facts.items()),
            f"measured: {self.measured_seconds:.3g} s for a chunk in this process; "
            f"assumed: {SLOWER:g} times as long on a Fargate vCPU",
            f"assumed: {START_MINUTES:g} minutes until tasks run, {REDIS_MINUTES:g} before them for Redis; "
            f"{ROWS_A_SECOND:,} rows a second into MySQL",
            f"Fargate quota: {describe_quota(self.quota)}",
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def __repr__(self) -> str:
        return "\n  ".join([f"CloudPlan: {self.title}", *self.lines])

    def _repr_html_(self) -> str:
        named = (line.partition(": ") for line in self.lines)
        cells = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, _, text in named
        )
        return f"<p>{html.escape(self.title)}</p><table>{cells}</table>"
