"""From ``cached_data/`` to Redis: a year of one-second prices, beside reading the same files and the bare SETs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import orbresearch as orb
from orbresearch.sessions.dataset import Sessions
from tests.benchmarks.cluster import temporary_home
from tests.benchmarks.market import DURATION, market
from tests.benchmarks.measure import Effort, Line

MIB = 2**20


def cached(effort: Effort) -> Iterator[Line]:
    """Compare loading from the cache and staging with what that cannot do without: reading the files, and SETs."""
    with temporary_home() as home, orb.Lab(n_workers=1, quiet=True) as lab:
        source = _write_source(home)
        fingerprint = orb.load_sessions(source, "SYN").fingerprint
        bare = _Bare(lab, orb.load_sessions(source, "SYN"))
        rounds = 3 if effort.quick else 2 * effort.pairs - 1
        yield _compare("cached sessions to staged", lab, bare, lambda: _from_cache(fingerprint), rounds, most=2)
        name = "a Parquet file's, which is hashed first, to staged"
        yield _compare(name, lab, bare, lambda: orb.load_sessions(source, "SYN"), rounds)


class _Bare:
    """The files of cached sessions and their payloads, and what another tool would do with them."""

    def __init__(self, lab: Any, sessions: Sessions) -> None:
        from orbresearch.lab.services import open_services
        from orbresearch.sources.cache import cache_folder

        self.services = open_services(lab.settings)
        folder = cache_folder(lab.settings.cached_data, sessions.ticker, sessions.fingerprint)
        self.files = sorted(folder.glob("*.parquet"))
        self.payloads = [sessions.series.payload(i) for i in range(len(sessions))]
        self.flush()

    def read_and_set(self) -> None:
        """Read every file and set every payload, one by one."""
        import pyarrow.parquet as pq

        redis = self.services.staging.ticks
        for path in self.files:
            pq.read_table(path)
        for i, payload in enumerate(self.payloads):
            redis.set(f"bare:{i}", payload)

    def flush(self) -> None:
        """Empty the databases of tick series and opening ranges: the server is this benchmark's own."""
        self.services.staging.ticks.flushdb()
        self.services.staging.ranges.flushdb()

    def note(self) -> str:
        """Say how much there is."""
        read, held = sum(path.stat().st_size for path in self.files), sum(map(len, self.payloads))
        return f"{len(self.files)} files of {read / MIB:,.0f} MiB, {held / MIB:,.0f} MiB in Redis"


def _write_source(home: Path) -> Path:
    """Write the market as a Parquet file of prices."""
    import pandas as pd

    sessions, path = market(), home / "prices.parquet"
    opens = np.repeat(sessions.schedule.opens, np.diff(sessions.pointers))
    price = sessions.columns["price"] * sessions.increment
    frame = pd.DataFrame({"timestamp_utc": opens + sessions.columns["time"], "price": np.round(price, 2)})
    frame.assign(ticker="SYN").to_parquet(path)
    return path


def _from_cache(fingerprint: str) -> Sessions:
    """Load what is cached, as ``load_sessions`` does where nothing needs to be hashed: of a warehouse."""
    from orbresearch.settings import read_settings
    from orbresearch.sources.cache import load_cached

    found = load_cached(read_settings().cached_data, "SYN", fingerprint)
    assert found is not None
    return found.ready()


def _compare(
    name: str, lab: Any, bare: _Bare, load: Callable[[], Sessions], rounds: int, most: float | None = None
) -> Line:
    """Time both ways in turn, each on empty databases, after one round that does not count."""

    def ours() -> None:
        nonlocal loaded
        start = time.perf_counter()
        sessions = load()
        loaded = time.perf_counter() - start
        assert lab.stage(sessions, DURATION) == len(sessions)

    found, loaded = [], 0.0
    for _ in range(rounds + 1):
        one = _timed(ours)
        bare.flush()
        found.append((*one, *_timed(bare.read_and_set), loaded))
        bare.flush()
    whole, used, other, needed, loading = (float(np.median(column)) for column in zip(*found[1:], strict=True))
    both = f"{whole:.2f} s ({used:.2f} of CPU), of it {loading:.2f} loading; bare {other:.2f} s ({needed:.2f} of CPU)"
    samples = [one / two for one, _, two, *_ in found[1:]]
    return Line(f"{name} / read and SET", samples, "x", most=most, note=f"{both}; {bare.note()}")


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds by the clock and of CPU that work takes."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used
