"""How things are timed: one core, CPU seconds, one thing and the other in turn, medians. And how figures are shown.

A machine is slow or noisy; a ratio of two things measured in turn is neither.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
NAME, FIGURE, TARGET, VERDICT = 82, 22, 9, 6  # widths of the table's columns

Work = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How much is measured: pairs of short and of long things, points of the scan's sample."""

    quick: bool = False

    @property
    def pairs(self) -> int:
        """Of things that take less than a second."""
        return 3 if self.quick else 9

    @property
    def few(self) -> int:
        """Of things that take seconds."""
        return 1 if self.quick else 3

    @property
    def sample(self) -> int:
        """Points that the plain scan computes."""
        return 50 if self.quick else 200


@dataclass(frozen=True)
class Line:
    """One line of the table: the median of what was measured, against its target where there is one.

    Parameters
    ----------
    name : str
    samples : sequence of float
        One number of each pair.
    unit : str
    least, most : float, optional
        The target: a bound from below or from above.
    note : str
        What stands behind the figure.
    """

    name: str
    samples: Sequence[float]
    unit: str
    least: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def figure(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def target(self) -> str:
        """The target as text."""
        if self.least is not None:
            return f">= {self.least:,g}"
        return "" if self.most is None else f"<= {self.most:,g}"

    @property
    def verdict(self) -> str:
        """``ok``, ``MISSED``, or nothing without a target."""
        if not self.target:
            return ""
        met = self.figure >= self.least if self.least is not None else self.figure <= (self.most or 0)
        return "ok" if met else "MISSED"

    def text(self) -> str:
        """Return the line of the table."""
        spread = "" if len(self.samples) < 2 else f"  [{number(min(self.samples))} to {number(max(self.samples))}]"
        note = f"; {self.note}" if spread and self.note else f"  {self.note}"
        figure = f"{number(self.figure)} {self.unit}"
        left = f"{self.name:<{NAME}}{figure:>{FIGURE}}{self.target:>{TARGET}}  {self.verdict:<{VERDICT}}"
        return (left + spread + (note if self.note else "")).rstrip()

    def document(self) -> dict[str, Any]:
        """Return the line for JSON."""
        facts = {"name": self.name, "figure": self.figure, "unit": self.unit, "target": self.target}
        return facts | {"verdict": self.verdict, "samples": list(self.samples), "note": self.note}


def number(value: float) -> str:
    """Return a number in three or four digits."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def head() -> str:
    """Return the head of the table."""
    return f"{'':<{NAME}}{'median':>{FIGURE}}{'target':>{TARGET}}  {'':<{VERDICT}}  [least to most]; what it is made of"


def cpu(work: Work) -> float:
    """Return the CPU seconds of this process that work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall(work: Work) -> float:
    """Return the seconds by the clock that work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(rounds: int, *works: Callable[[], float]) -> list[tuple[float, ...]]:
    """Call measurements in turn; return a tuple of their results for each round."""
    return [tuple(work() for work in works) for _ in range(rounds)]


def ask_child(*what: str) -> dict[str, float]:
    """Run a part of ``children`` in a fresh process; return what it measured."""
    command = [sys.executable, "-m", "tests.benchmarks.children", *what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{what} failed")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def use_one_thread() -> None:
    """Keep libraries from starting threads of their own; must come before they are imported."""
    os.environ.update(dict.fromkeys(THREADS, "1"))


def usable_cores() -> set[int]:
    """Return the cores of this process; empty where the system does not say."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()


def pin(cores: set[int]) -> None:
    """Stay on these cores, children included; without effect where the system cannot."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def machine() -> dict[str, Any]:
    """Return where and when this was measured."""
    versions = {name: version(name) for name in ("numba", "numpy", "pandas", "pyarrow", "distributed")}
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": len(usable_cores()) or os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # before the benchmark itself: what else ran
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return facts | versions


def _cpu_model() -> str:
    """Return the processor's name."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        names = [line.partition(":")[2].strip() for line in listed.read_text().splitlines() if "model name" in line]
        return names[0] if names else platform.machine()
    if platform.system() == "Darwin":
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()
