"""What runs in a worker: a chunk of backtests, from inputs loaded once per process."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orbresearch.analysis.best import best_of, compute_best
from orbresearch.analysis.performance import compute_rows
from orbresearch.errors import Full, Unreachable
from orbresearch.grid import Points, read_points
from orbresearch.inputs import Input
from orbresearch.keep import Keep, read_keep, run_of, write_keep
from orbresearch.lab.members import Members
from orbresearch.lab.services import Services, worker_services, worker_staging
from orbresearch.plan import Chunk, Plan
from orbresearch.pool import Item, Pool
from orbresearch.rules import Rules
from orbresearch.sessions.series import Series, read_series
from orbresearch.summary import check_summary, write_summaries

if TYPE_CHECKING:
    from orbresearch.staging import Staging

_SERIES_KEPT = 8  # per worker process: a year of one-second prices takes about 70 MB
_INPUTS_KEPT = 16
_POOLS_KEPT = 2
_FULL_SECONDS = 600.0  # that a computed chunk waits for room in Redis

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spec:
    """What a worker needs to know of a run beside its inputs."""

    run_id: str
    grid: Points
    rules: Rules
    inputs: tuple[dict[str, Any], ...]
    kept: Keep

    @property
    def pooled(self) -> bool:
        """Whether its backtests are of all tickers at once."""
        return any("members" in found for found in self.inputs)


def encode_spec(plan: Plan, keep: Keep) -> bytes:
    """Return a plan and what to keep of it as JSON bytes, its inputs by their hashes."""
    inputs = [_describe(item) for item in plan.inputs]
    found = {"grid": plan.grid.document(), "rules": plan.rules.document(), "inputs": inputs, "kept": write_keep(keep)}
    return json.dumps(found).encode()


def _describe(item: Item) -> dict[str, Any]:
    """Return where workers find an input: by hashes, which they check."""
    if isinstance(item, Input):
        return {"ticker": item.ticker, "duration": item.duration, "series": item.series.hash, "days": item.days_hash}
    members = [_describe(member) for member in item.members if len(member.days)]
    dates = {"dates": [str(date) for date in item.days], "increments": item.increments}
    return {"ticker": item.ticker, "duration": item.duration, "members": members, **dates}


@lru_cache(maxsize=8)
def load_spec(redis: Staging, uuid: str, order: str) -> Spec:
    """Return a run's spec from the books."""
    from orbresearch import staging

    return read_spec(staging.load_spec(redis, uuid, order), order)


def read_spec(document: bytes, order: str) -> Spec:
    """Return what :func:`encode_spec` has encoded."""
    found = json.loads(document)
    points, rules, inputs = read_points(found["grid"]), Rules(**found["rules"]), tuple(found["inputs"])
    return Spec(run_of(order), points, rules, inputs, read_keep(found["kept"]))


def load_input(redis: Staging, spec: Spec, at: int) -> Item:
    """Return one of a run's inputs, loaded once per process; of a pool, as many members as fit."""
    found = spec.inputs[at]
    if "members" in found:
        return _load_pool(redis, json.dumps(found))
    return _load_input(redis, found["ticker"], found["duration"], found["series"], found["days"])


@lru_cache(maxsize=_INPUTS_KEPT)
def _load_input(redis: Staging, ticker: str, duration: int, series_hash: str, days_hash: str) -> Input:
    """Load an input from Redis; check it against the hashes that the run's id contains."""
    return Input(ticker, duration, _load_series(redis, series_hash), _load_days(redis, days_hash))


@lru_cache(maxsize=_POOLS_KEPT)
def _load_pool(redis: Staging, described: str) -> Pool:
    """Return a pool whose members are loaded when they are computed."""
    found = json.loads(described)

    def load(at: int) -> Input:
        one = found["members"][at]
        series, days = _read_series(redis, one["series"]), _load_days(redis, one["days"])
        return Input(one["ticker"], one["duration"], series, days)

    members, dates = Members(load, len(found["members"])), np.array(found["dates"], "datetime64[D]")
    return Pool(found["ticker"], found["duration"], members, dates, tuple(found["increments"]))


def _load_days(redis: Staging, days_hash: str) -> Any:
    from orbresearch import staging

    return staging.decode_days(staging.load_ranges(redis, [days_hash])[0])


@lru_cache(maxsize=_SERIES_KEPT)
def _load_series(redis: Staging, series_hash: str) -> Series:
    """Load a tick series, once for all range durations."""
    return _read_series(redis, series_hash)


def _read_series(redis: Staging, series_hash: str) -> Series:
    """Read a tick series from Redis; every payload is checked against its hash."""
    from orbresearch import staging

    document = staging.load_document(redis, series_hash)
    return read_series(document, staging.load_sessions(redis, json.loads(document)["sessions"]))


def compute_chunk(uuid: str, order: str, chunk: tuple[int, int, int, int]) -> dict[str, Any]:
    """Compute a chunk and stage its results: the task of a future.

    Parameters
    ----------
    uuid : str
        The store's, which names the result stream.
    order : str
        The run and what is kept of it: :func:`orbresearch.keep.order_of`.
    chunk : tuple
        The fields of a :class:`~orbresearch.plan.Chunk`.

    Returns
    -------
    dict
        ``rows``, ``seconds`` of computing, and ``bytes`` of results staged.
    """
    piece = Chunk(*chunk)
    _note(uuid, order, piece, "running")
    try:
        seconds, payload = _compute(load_spec(worker_staging(), uuid, order), piece)
    except BaseException:
        _note(uuid, order, piece, "failed")
        raise
    _stage(uuid, order, piece, payload)
    return {"rows": piece.rows, "seconds": seconds, "bytes": len(payload)}


def _compute(spec: Spec, chunk: Chunk) -> tuple[float, bytes]:
    """Return the seconds of computing and the results as they are staged."""
    from orbresearch import staging

    seconds, batches, summaries, keep = 0.0, [], {}, spec.kept
    for piece in chunk.cut(len(spec.grid)):
        item = load_input(worker_staging(), spec, piece.input)
        start = time.perf_counter()
        if keep == "all":
            batches.append(compute_rows(spec.run_id, item, spec.grid, spec.rules, piece))
        else:
            grid = check_summary(spec.grid)
            batch, summaries[piece.input] = compute_best(spec.run_id, item, grid, spec.rules, piece, keep)
            batches.append(batch)
        seconds += time.perf_counter() - start
    whole = pa.concat_batches(batches)
    whole = whole if keep == "all" or len(batches) == 1 else best_of(whole, keep)
    facts = {"seconds": str(round(seconds, 6)), "kept": write_keep(keep), "backtests": str(chunk.rows)}
    return seconds, staging.encode_batch(whole.replace_schema_metadata(facts), write_summaries(summaries))


def _note(uuid: str, order: str, piece: Chunk, state: str) -> None:
    """Tell the books how a chunk fares; what they do not take down changes no result."""
    from orbresearch import staging

    with contextlib.suppress(Unreachable):
        staging.note_chunk(worker_staging(), uuid, order, piece.first, piece.rows, state)


def _stage(uuid: str, order: str, piece: Chunk, payload: bytes) -> None:
    """Stage a chunk's results; while Redis is full, wait for the reaper to make room."""
    from orbresearch import staging

    end, pause = time.monotonic() + _FULL_SECONDS, 0.1
    while True:
        try:
            staging.complete_chunk(worker_staging(), uuid, order, piece.first, piece.rows, payload)
            return
        except Full:
            if time.monotonic() > end:
                raise
            log.warning("Redis is full; chunk %d of run %s waits for the reaper", piece.first, order)
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


def call_with_services(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function(services, *args)`` in this worker: what a lab without Redis of its own asks of the cluster."""
    with worker_services() as services:
        return function(services, *args)


def describe_services(services: Services) -> dict[str, str]:
    """Return which store and Redis a process works with, without secrets."""
    from orbresearch import staging

    redis = {"redis": services.staging.where, "server": staging.server_id(services.staging)}
    return {"uuid": services.store.uuid, "store": services.store.where, **redis}


def warm_up() -> None:
    """Load the compiled kernels, so that the first chunk need not wait for them."""
    from orbresearch.kernels.warm import warm_kernels

    warm_kernels()
