"""What only a fresh process can show: memory above the table, imports, loading compiled kernels."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.measure import Effort, Line, ask_child

MIB = 2**20


def memory(effort: Effort) -> Iterator[Line]:
    """Show how far a million points rise above the memory before them and their table."""
    found = [ask_child("peak_memory", "1000000") for _ in range(effort.few)]
    last = found[-1]
    note = f"peak {last['peak'] / MIB:,.0f}, table {last['table'] / MIB:,.0f}, before {last['before'] / MIB:,.0f} MiB"
    yield Line(
        "peak memory of a million points above their table",
        [one["above"] / MIB for one in found],
        "MiB",
        most=512,
        note=note,
    )


def imports(effort: Effort) -> Iterator[Line]:
    """Compare the package's imports with those of pandas and numba; and compiled kernels with them."""
    rounds = [(ask_child("imports_reference")["seconds"], ask_child("imports_package")) for _ in range(effort.pairs)]
    note = f"pandas, numba: {min(one for one, _ in rounds) * 1e3:,.0f} ms at best"
    for key, name, most in (
        ("alone", "import orbresearch", 1.5),
        ("resolved", "import orbresearch, run_grid, load_sessions …", 1.5),
        ("all", "import orbresearch, all its names (the lab too)", None),
    ):
        yield Line(
            f"{name} / import pandas, numba", [other[key] / one for one, other in rounds], "x", most=most, note=note
        )
    found = [ask_child("warm_cache") for _ in range(effort.pairs)]
    note = f"{min(one['kernels'] for one in found) * 1e3:,.0f} ms at best"
    name = "loading compiled kernels / import pandas, numba"
    yield Line(name, [one["kernels"] / one["imports"] for one in found], "x", most=1, note=note)
