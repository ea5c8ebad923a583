"""What feeding many workers costs the scheduler: its CPU time per chunk, how full slots are, how soon priority work is.

The scheduler is a process of its own, with the feeder that a lab registers; the workers are ``simulated``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import psutil

from orbresearch.lab.plugin import NAME, PRIORITY, STAGED_BYTES, FeederPlugin
from tests.benchmarks.measure import ROOT, Effort, Line, number
from tests.benchmarks.simulated import Span, take_spans

PER_HOST = 50  # simulated workers of a process
WARM, WINDOW, ASKING, PAUSE = (
    3.0,
    3.0,
    8.0,
    0.1,
)  # seconds: before measuring, of a window, of asking, between two askings
SHARE = 25.0  # percent of a core that the scheduler may take
ENOUGH = 90.0  # percent of the slots' time, from which on a figure says something about the scheduler
STAGED = 5_500_000  # bytes of 100,000 results as they are staged
MIB = 2**20


class Usage(NamedTuple):
    """What all processes have used up to a moment."""

    at: float  # by the system's monotonic clock, as spans are
    chunks: int
    scheduler: float  # CPU seconds
    hosts: float
    machine: float  # of everything that runs on it


@dataclass(frozen=True)
class Found:
    """What was measured of one length of chunks while every slot had work: a number for each window."""

    slots: int
    seconds: float
    per_chunk: list[float]  # ms of the scheduler's CPU
    share: list[float]  # of a core, for the scheduler, percent
    hosts: list[float]  # the same, for the processes of the simulated workers
    others: list[float]  # the same, for everything else on this machine, which slots and priority work wait for
    rate: list[float]  # chunks a second
    full: list[float]  # of the slots' time, percent
    latency: list[float]  # ms of each priority task
    memory: tuple[float, float]  # of the scheduler before and after, MiB


def scale(effort: Effort) -> Iterator[Line]:
    """Show what chunks of several lengths cost the scheduler of few and of many slots; derive how long to make them."""
    for slots in (10, 100) if effort.quick else (10, 50, 100):
        with simulate(slots) as simulation:
            idle, hosts = rest(simulation, effort)
            note = f"{number(hosts)} % for the simulated workers; {simulation.memory():,.0f} MiB"
            yield Line(f"{slots} slots, nothing to do: of a core for the scheduler", idle, "%", note=note)
            found = []
            for seconds in (0.25, 1.0) if effort.quick else (0.1, 0.25, 0.5, 1.0, 2.0):
                found.append(measure(simulation, seconds, effort))
                yield from lines(found[-1])
            yield from rule(slots, float(np.median(idle)), found)
            held = measure(simulation, 1.0, effort, STAGED)
            note = f"{STAGED / MIB:.1f} MiB each, {STAGED_BYTES / MIB:,.0f} MiB staged or under way; a fast store"
            yield Line(f"{slots} slots, chunks of 1 s and 100,000 results: slots full", held.full, "%", note=note)


def lines(found: Found) -> Iterator[Line]:
    """Show what was found of one length of chunks."""
    name = f"{found.slots} slots, chunks of {found.seconds:g} s"
    hosts, rate = (number(float(np.median(one))) for one in (found.hosts, found.rate))
    begun, ended = found.memory
    yield Line(
        f"{name}: scheduler's CPU per chunk, heartbeats included", found.per_chunk, "ms", note=f"{rate} chunks/s"
    )
    note = f"{hosts} % for the simulated workers; {begun:,.0f}, then {ended:,.0f} MiB"
    yield Line(f"{name}: of a core for the scheduler", found.share, "%", note=note)
    note = f"beside {number(float(np.median(found.others)))} % of a core for everything else on this machine"
    yield Line(f"{name}: slots full", found.full, "%", note=note)
    note = f"95 % of {len(found.latency)} within {number(float(np.percentile(found.latency, 95)))} ms"
    yield Line(f"{name}: priority task, there and back", found.latency, "ms", note=note)


def rule(slots: int, idle: float, found: list[Found]) -> Iterator[Line]:
    """Derive how many chunks a second the scheduler bears, between the lengths measured.

    A chunk should take at least ``slots`` over this figure; what one costs falls with their rate. Lengths that left
    slots empty tell nothing: there the scheduler, or this machine, had no more time to give.
    """
    full = [one for one in found if np.median(one.full) >= ENOUGH]
    if not full:
        return
    points = [(float(np.median(one.share)), float(np.median(one.rate))) for one in full]
    shares, rates = zip(*sorted([(idle, 0.0), *points]), strict=True)
    bears = float(np.interp(SHARE, shares, rates))
    beyond = "" if shares[-1] >= SHARE else f" (at most: no more than {number(shares[-1])} % was taken with full slots)"
    note = f"so {slots} slots want chunks of {slots / bears:.2g} s or more{beyond}"
    yield Line(f"{slots} slots: chunks a second that take {SHARE:g} % of a core", [bears], "1/s", note=note)


def measure(simulation: Simulation, seconds: float, effort: Effort, size: int = 0) -> Found:
    """Keep every slot at work on chunks of a length; measure some windows, then priority work, which costs as well."""
    slots, before = simulation.slots, simulation.memory()
    lasting = WARM + seconds + effort.few * WINDOW + 2 * ASKING
    run_id = simulation.begin(seconds, int(1.2 * slots / seconds * lasting), size)
    time.sleep(WARM + seconds)
    moments = simulation.watch(run_id, effort.few)
    latency = list(ask_with_priority(simulation.client))
    spans = simulation.end(run_id)
    used = [tuple(later - sooner for sooner, later in zip(a, b, strict=True)) for a, b in pairwise(moments)]
    return Found(
        slots,
        seconds,
        per_chunk=[1e3 * scheduler / max(1, chunks) for _, chunks, scheduler, _, _ in used],
        share=[100 * scheduler / span for span, _, scheduler, _, _ in used],
        hosts=[100 * hosts / span for span, _, _, hosts, _ in used],
        others=[100 * (machine - scheduler - hosts) / span for span, _, scheduler, hosts, machine in used],
        rate=[chunks / span for span, chunks, _, _, _ in used],
        full=[100 * busy(spans, a.at, b.at) / (slots * (b.at - a.at)) for a, b in pairwise(moments)],
        latency=latency,
        memory=(before, simulation.memory()),
    )


def rest(simulation: Simulation, effort: Effort) -> tuple[list[float], float]:
    """Return percent of a core for the scheduler and for the workers while nothing is computed: heartbeats."""
    time.sleep(WARM)
    moments = simulation.watch("", effort.few)
    shares = [100 * (b.scheduler - a.scheduler) / (b.at - a.at) for a, b in pairwise(moments)]
    first, last = moments[0], moments[-1]
    return shares, 100 * (last.hosts - first.hosts) / (last.at - first.at)


def busy(spans: list[Span], start: float, end: float) -> float:
    """Return the seconds of all spans between two moments."""
    return sum(max(0.0, min(ended, end) - max(begun, start)) for begun, ended in spans)


def ask_with_priority(client: Any) -> Iterator[float]:
    """Submit trivial priority tasks one after another; yield the milliseconds until each result is here."""
    end = time.monotonic() + ASKING
    while time.monotonic() < end:
        start = time.perf_counter()
        client.submit(int, pure=False, priority=PRIORITY).result(timeout=30)
        yield 1e3 * (time.perf_counter() - start)
        time.sleep(PAUSE)


@dataclass
class Simulation:
    """A scheduler with simulated workers."""

    client: Any
    slots: int
    scheduler: psutil.Process
    hosts: list[psutil.Process]
    begun: int = 0

    def begin(self, seconds: float, chunks: int, size: int = 0) -> str:
        """Begin a run as a lab does: chunks of a backtest each, which take ``seconds`` and stage ``size`` bytes."""
        self.begun += 1
        run_id = f"{self.begun:016x}"
        pieces = [[first, 1, 0, first] for first in range(chunks)]
        self._ask("orb_feed", order=run_id, store=f"{seconds} {size}", chunks=pieces, computed=0)
        return run_id

    def end(self, run_id: str) -> list[Span]:
        """Call a run off; return when its chunks were computed, after the last of them."""
        self._ask("orb_cancel", order=run_id)
        while (found := self._ask("orb_progress", order=run_id))["running"]:
            time.sleep(0.1)
        if found["failed"]:
            raise RuntimeError(found["failures"][0]["error"])
        one_each = {pid: address for address, pid in self.client.run(os.getpid).items()}
        return [
            span for spans in self.client.run(take_spans, workers=list(one_each.values())).values() for span in spans
        ]

    def watch(self, run_id: str, windows: int) -> list[Usage]:
        """Return what was used up to the beginning and the end of each window."""
        moments = [self._usage(run_id)]
        for _ in range(windows):
            time.sleep(WINDOW)
            moments.append(self._usage(run_id))
        return moments

    def memory(self) -> float:
        """Return the scheduler's memory, in MiB."""
        return float(self.scheduler.memory_info().rss / MIB)

    def _usage(self, run_id: str) -> Usage:
        chunks = self._ask("orb_progress", order=run_id).get("computed", 0)
        hosts, whole = sum(cpu_of(host) for host in self.hosts), psutil.cpu_times()
        return Usage(
            time.monotonic(),
            chunks,
            cpu_of(self.scheduler),
            hosts,
            sum(whole) - whole.idle - getattr(whole, "iowait", 0.0),
        )

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return self.client.sync(getattr(self.client.scheduler, operation), **arguments)


def cpu_of(process: psutil.Process) -> float:
    """Return the CPU seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def simulate(slots: int, **options: Any) -> Iterator[Simulation]:
    """Start a scheduler with so many simulated workers of a slot each, and the feeder; end them."""
    from distributed import Client

    started: list[subprocess.Popen[str]] = []
    try:
        address = start(started, "scheduler")
        for first in range(0, slots, PER_HOST):
            start(started, "simulated_workers", address, str(min(PER_HOST, slots - first)))
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(slots, timeout=60)
            client.register_plugin(FeederPlugin(**options), name=NAME)
            scheduler, *hosts = (psutil.Process(one.pid) for one in started)
            yield Simulation(client, slots, scheduler, hosts)
    finally:
        for one in reversed(started):
            end(one)


def start(started: list[subprocess.Popen[str]], *what: str) -> str:
    """Start a process and note it; return what it says when it stands."""
    command = [sys.executable, "-m", "tests.benchmarks.children", *what]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    started.append(subprocess.Popen(command, cwd=ROOT, **pipes))
    said: str = started[-1].stdout.readline().strip()  # type: ignore[union-attr]
    if not said:
        raise RuntimeError(f"{what[0]} did not start")
    return said


def end(process: subprocess.Popen[str]) -> None:
    """Let a process end by closing its input; kill it if it does not."""
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
