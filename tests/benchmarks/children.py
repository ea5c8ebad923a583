"""What must be measured in a fresh process: ``python -m tests.benchmarks.children <name>``; prints JSON.

Nothing is imported before it is asked for: imports are part of what is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

STEPS: dict[str, Callable[..., dict[str, float]]] = {}


def step(function: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    """Make a function known by its name."""
    STEPS[function.__name__] = function
    return function


class Stopwatch:
    """CPU seconds since it was last read."""

    def __init__(self) -> None:
        self.start = time.process_time()

    def read(self) -> float:
        """Return the CPU seconds since the last reading."""
        before, self.start = self.start, time.process_time()
        return self.start - before


@step
def first_call(what: str) -> dict[str, float]:
    """Time the first run_grid: of new sessions; kernels are compiled on disk, or loaded as a worker has them."""
    import orbresearch as orb

    sessions, grid, run = orb.synthetic_sessions(250), orb.seed_grid(), orb.run_grid
    if what == "kernels loaded":
        run(orb.synthetic_sessions(1, seed=1), orb.ParameterGrid(1.0, 1, 0, 1.0), 300)
    watch = Stopwatch()
    run(sessions, grid, 300)
    return {"seconds": watch.read()}


@step
def first_call_parts() -> dict[str, float]:
    """Do what the first run_grid does one by one."""
    import orbresearch as orb
    from orbresearch.plan import make_plan

    sessions, grid, run = orb.synthetic_sessions(250), orb.seed_grid(), orb.run_grid
    watch, found = Stopwatch(), {}
    _import("numba", "pyarrow", "pandas")
    found["imports of numba, pyarrow, pandas"] = watch.read()
    from orbresearch.kernels.warm import warm_kernels

    warm_kernels()
    found["loading compiled kernels"] = watch.read()
    series = sessions.series
    found["compressing prices to ticks"] = watch.read()
    _ = series.hash
    found["hash of the ticks"] = watch.read()
    _ = series.nodes
    found["links"] = watch.read()
    plan = make_plan(sessions, grid, 300)
    found["plan: days, ranges, checks"] = watch.read()
    _ = plan.inputs[0].entries
    found["entries"] = watch.read()
    run(sessions, grid, 300)
    found["run_grid, all prepared"] = watch.read()
    return found


@step
def peak_memory(points: str) -> dict[str, float]:
    """Return how far memory rises above what was there before and the table itself, bytes."""
    import psutil

    import orbresearch as orb
    from tests.benchmarks.market import market, nested_grid

    orb.run_grid(market(), nested_grid(10_000), 300)
    before = psutil.Process().memory_info().rss
    table = orb.run_grid(market(), nested_grid(int(points)), 300)
    peak, own = _peak_bytes(), int(table.memory_usage(deep=True).sum())
    return {"above": peak - before - own, "table": own, "before": before, "peak": peak}


@step
def fetch(url: str, ticker: str, start: str, end: str) -> dict[str, float]:
    """Return how far memory rises above what was there before and the sessions that a warehouse gives, bytes."""
    from contextlib import redirect_stdout

    import psutil

    import orbresearch as orb

    source = orb.Warehouse(url)
    with redirect_stdout(sys.stderr):
        orb.load_sessions(source, ticker, start=start, end=start, cache=False)  # imports, kernels
        before = psutil.Process().memory_info().rss
        found = orb.load_sessions(source, ticker, start=start, end=end)
    arrays = [found.volatility.total, found.volatility.rows] if found.volatility else []
    arrays += [*found.columns.values(), *found.series.columns.values()]
    peak, own = _peak_bytes(), sum(array.nbytes for array in arrays)
    return {"above": peak - before - own, "own": own, "before": before, "peak": peak}


@step
def judge(run_id: str, points: str) -> dict[str, float]:
    """Return the CPU seconds of a verdict and of computing its grid, and the most memory of the verdict, bytes."""
    from contextlib import redirect_stdout

    import orbresearch as orb
    from tests.benchmarks.market import DURATION, market, nested_grid

    orb.run_grid(market(), nested_grid(10_000), DURATION)
    watch, start = Stopwatch(), time.perf_counter()
    with redirect_stdout(sys.stderr):
        orb.verdict(run_id)
    verdict, clock, peak = watch.read(), time.perf_counter() - start, _peak_bytes()
    orb.run_grid(market(), nested_grid(int(points)), DURATION)
    return {"verdict": verdict, "clock": clock, "peak": peak, "grid": watch.read()}


def _peak_bytes() -> int:
    """Return the most memory that this program has had; Linux's ``ru_maxrss`` would include that of its parent."""
    import resource
    from pathlib import Path

    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@step
def imports_reference() -> dict[str, float]:
    """Time what every such program imports."""
    watch = Stopwatch()
    _import("pandas", "numba")
    return {"seconds": watch.read()}


@step
def imports_package() -> dict[str, float]:
    """Time the package; then with the names of a job in this process; then with all names."""
    watch = Stopwatch()
    import orbresearch as orb

    alone = watch.read()
    for name in ("run_grid", "run_backtest", "ParameterGrid", "Rules", "load_sessions", "synthetic_sessions"):
        getattr(orb, name)
    resolved = alone + watch.read()
    for name in orb.__all__:
        getattr(orb, name)
    return {"alone": alone, "resolved": resolved, "all": resolved + watch.read()}


@step
def warm_cache() -> dict[str, float]:
    """Time the imports, and then what loads the compiled kernels."""
    watch = Stopwatch()
    _import("pandas", "numba")
    imports = watch.read()
    import orbresearch as orb

    _ = orb.run_grid
    from orbresearch.kernels.warm import warm_kernels

    watch.read()
    warm_kernels()
    return {"imports": imports, "kernels": watch.read()}


@step
def serve(points: str) -> dict[str, float]:
    """Compute chunks, by their numbers in a line of JSON, until the input ends: a bare worker process."""
    from tests.benchmarks.market import work_chunk

    work_chunk(int(points), 0)
    sys.stdout.write("0\n")
    sys.stdout.flush()
    for line in sys.stdin:
        done = sum(work_chunk(int(points), at) for at in json.loads(line))
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
    return {}


@step
def scheduler() -> dict[str, float]:
    """Run a scheduler until the input ends."""
    import asyncio

    from tests.benchmarks.simulated import serve_scheduler

    asyncio.run(serve_scheduler())
    return {}


@step
def simulated_workers(address: str, count: str) -> dict[str, float]:
    """Run simulated workers of a scheduler until the input ends."""
    import asyncio

    from tests.benchmarks.simulated import serve_workers

    asyncio.run(serve_workers(address, int(count)))
    return {}


def _import(*names: str) -> None:
    """Import modules by name."""
    from importlib import import_module

    for name in names:
        import_module(name)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])) + "\n")
