"""The figures of the README: ``make bench``, or ``python -m tests.benchmarks [bench.json] [--quick] [--only PART …]``.

One table on the terminal, a line as soon as it is known; all samples as JSON where a path is given. It is no test: a
target that is missed, or a part that cannot be measured here, does not change the exit code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Effort, Line, head, machine, pin, usable_cores, use_one_thread

#: name -> (title, where it is measured, on one core)
PARTS = {
    "grid": ("The grid against a plain compiled scan per backtest", "speed.against_scan", True),
    "first": ("What the first call in a fresh process is made of (9,747 backtests)", "speed.first_call", True),
    "list": ("A list of parameter sets against the scan", "speed.lists", True),
    "size": ("The cost of a backtest in ever larger grids", "growth.per_backtest", True),
    "growth": ("What doubles the cost", "growth.doubled", True),
    "shares": ("Where the time goes (second call)", "shares.shares", True),
    "memory": ("Memory", "processes.memory", True),
    "imports": ("Imports and loading, in fresh processes", "processes.imports", True),
    "bootstrap": ("Bootstrap", "speed.bootstrap", True),
    "verdict": ("The verdict", "verdicts.judged", False),
    "pictures": ("Pictures of a million backtests", "pictures.heatmaps", True),
    "whole": ("A run's whole way into the store, by the clock", "journey.whole", False),
    "beside": ("What a run takes beside its computing", "journey.beside", False),
    "priority": ("Priority work", "journey.priority", False),
    "flat": ("Memory of ten million backtests", "journey.flat", False),
    "workers": ("Two worker processes, by the clock", "cluster.workers", False),
    "warehouse": ("Sessions from a warehouse in MariaDB, by the clock", "warehouse.warehouse", False),
    "cached": ("From cached_data/ to Redis, by the clock", "cached.cached", False),
    "scale": ("The scheduler of up to 100 simulated workers", "scale.scale", False),
}


def main() -> None:
    """Measure what was asked for; print the table; write the JSON."""
    use_one_thread()
    asked = arguments()
    cores, facts, lines = usable_cores(), machine(), list[dict[str, Any]]()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"{head()}")
    for name in asked.only or PARTS:
        title, place, alone = PARTS[name]
        pin({max(cores)} if cores and alone else cores)
        print(f"\n{title}", flush=True)
        lines += [{"part": name, **line} for line in show(measures(place), Effort(asked.quick))]
    if asked.json:
        document = {**facts, "quick": asked.quick, "lines": lines}
        asked.json.write_text(json.dumps(document, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="The figures of the README.")
    parser.add_argument("json", nargs="?", type=Path, help="write all samples there")
    parser.add_argument("--quick", action="store_true", help="few pairs, small samples, no 10^7 points")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    return parser.parse_args()


def measures(place: str) -> Callable[[Effort], Iterator[Line]]:
    """Return a part's function; modules are imported late, when the threads of their libraries are settled."""
    module, _, function = place.partition(".")
    found: Callable[[Effort], Iterator[Line]] = getattr(import_module(f"tests.benchmarks.{module}"), function)
    return found


def show(part: Callable[[Effort], Iterator[Line]], effort: Effort) -> list[dict[str, Any]]:
    """Print a part's lines as they come; a part that fails says why, and the others go on."""
    lines = []
    try:
        for line in part(effort):
            print(line.text(), flush=True)
            lines.append(line.document())
    except Exception as error:
        print(f"not measured: {type(error).__name__}: {error}", flush=True)
        lines.append({"name": "not measured", "error": f"{type(error).__name__}: {error}"})
    return lines


if __name__ == "__main__":
    main()
