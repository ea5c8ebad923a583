"""A stored run computed once more: its plan from the cached prices, its chunks on a lab or in this process.

What a verdict needs of a million backtests is far too much to store and takes seconds to compute: it is computed again,
from the same prices, to the same numbers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orbresearch.console import somebody_looks
from orbresearch.errors import BadInput, Corrupt
from orbresearch.grid import read_points
from orbresearch.keep import order_of
from orbresearch.lab.plugin import MAIN
from orbresearch.lab.services import worker_staging
from orbresearch.lab.worker import Spec, encode_spec, load_input, read_spec
from orbresearch.plan import Chunk, Plan, block_rows, fit_chunks, make_plan
from orbresearch.rules import Rules

if TYPE_CHECKING:
    from orbresearch.lab.lab import Lab
    from orbresearch.sessions.dataset import Sessions

CHUNK_ROWS = 50_000  # half a second of moments and draws

#: Called with an input, points, rules and a chunk, and further arguments.
Work = Callable[..., Any]


def replan(facts: Mapping[str, Any], cached_data: Path) -> Plan:
    """Return a stored run's plan, its prices from ``cached_data/``.

    Parameters
    ----------
    facts : mapping
        The run's row of the table ``runs``.
    cached_data : Path

    Raises
    ------
    BadInput
        Prices that are no longer cached or have changed.
    """
    sessions = {source["ticker"]: load_prices(facts["run_id"], source, cached_data) for source in facts["inputs"]}
    with warnings.catch_warnings(action="ignore"):  # they were shown when it was submitted
        points, rules = read_points(facts["grid"]), Rules(**facts["rules"])
        pooled = any(source.get("pooled") for source in facts["inputs"])
        plan = make_plan(sessions, points, facts["range_durations"], rules, pool=pooled)
    if plan.run_id != facts["run_id"]:
        wrong = "its prices or this version's reading of them have changed"
        raise BadInput(f"run {facts['run_id']}", wrong, "submit it again")
    return plan


def load_prices(run_id: str, source: Mapping[str, Any], cached_data: Path) -> Sessions:
    """Return the sessions that one of a run's ``inputs`` names, as they were.

    Raises
    ------
    BadInput
        They are no longer cached, or have changed.
    """
    import pandas as pd

    from orbresearch.sessions.splits import apply_splits, read_splits
    from orbresearch.sources.cache import load_cached

    dates = source["first"], source["last"]
    wrong = f"{source['ticker']}'s prices from {dates[0]} to {dates[1]} are not in {cached_data} as they were"
    try:
        sessions = load_cached(cached_data, source["ticker"], source["fingerprint"], *dates)
    except Corrupt as error:
        wrong, sessions = str(error), None
    if sessions is None or sessions.series.hash != source["series"]:
        raise BadInput(f"run {run_id}", wrong, "load them again with load_sessions and submit the run again")
    if source.get("joined"):
        sessions = sessions.join(pd.DataFrame(source["joined"], index=sessions.dates, dtype=float))
    if source.get("splits"):
        sessions = apply_splits(sessions, read_splits(source["splits"]))
    return sessions


def each_piece(plan: Plan, lab: Lab | None, work: Work, *args: Any, say: str = "") -> Iterator[tuple[Chunk, Any]]:
    """Yield (piece, ``work(item, points, rules, piece, *args)``) of all of a plan's chunks, in any order.

    A piece is a stretch of one input. On an open lab they take the slots that runs leave; without one, this process's
    threads: kernels hold no lock.

    Parameters
    ----------
    say : str
        What to show beside a bar while it goes on.
    """
    from tqdm.auto import tqdm

    bar = tqdm(total=len(plan), desc=say, unit="backtest", unit_scale=True, leave=False, disable=not somebody_looks())
    slots = lab.slots() if lab else os.cpu_count() or 1
    plan = fit_chunks(plan, slots, "all")
    plan = plan if plan.chunk_rows <= CHUNK_ROWS else replace(plan, chunk_rows=block_rows(plan.grid, CHUNK_ROWS))
    with bar:
        for found in _on_lab(plan, lab, work, args) if lab else _here(plan, work, args):
            for piece, result in found:
                bar.update(piece.rows)
                yield piece, result


def _here(plan: Plan, work: Work, args: tuple[Any, ...]) -> Iterator[list[tuple[Chunk, Any]]]:
    def one(chunk: Chunk) -> list[tuple[Chunk, Any]]:
        pieces = chunk.cut(len(plan.grid))
        return [(piece, work(plan.inputs[piece.input], plan.grid, plan.rules, piece, *args)) for piece in pieces]

    for item in plan.staged:
        item.entries, item.reach_of_days, item.series.nodes  # made once, before threads share them  # noqa: B018
    with ThreadPoolExecutor(os.cpu_count(), "recompute") as pool:
        yield from pool.map(one, plan.chunks())


def _on_lab(plan: Plan, lab: Lab, work: Work, args: tuple[Any, ...]) -> Iterator[list[tuple[Chunk, Any]]]:
    from distributed import as_completed

    lab.stage(plan)
    spec = encode_spec(plan, "all")
    chunks = [(chunk.first, chunk.rows, chunk.input, chunk.point) for chunk in plan.chunks()]
    given: Any = lab.client.scatter([spec, args], broadcast=True, hash=False)
    order = order_of(plan.run_id, "all", plan.chunk_rows)
    futures = [
        lab.client.submit(_in_worker, given[0], order, chunk, work, given[1], pure=False, resources={MAIN: 1})
        for chunk in chunks
    ]
    for _, found in as_completed(futures, loop=lab.client.loop, with_results=True):
        yield found


def _in_worker(
    document: bytes, order: str, chunk: tuple[int, int, int, int], work: Work, args: tuple[Any, ...]
) -> list[tuple[Chunk, Any]]:
    spec, redis = _read_spec(document, order), worker_staging()
    return [
        (piece, work(load_input(redis, spec, piece.input), spec.grid, spec.rules, piece, *args))
        for piece in Chunk(*chunk).cut(len(spec.grid))
    ]


@lru_cache(maxsize=8)
def _read_spec(document: bytes, order: str) -> Spec:
    return read_spec(document, order)
