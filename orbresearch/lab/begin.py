"""Before a run computes: stage what is missing, register it, and find out what the ledger already holds.

These functions take services first: they run in the notebook's process where it reaches Redis, or in the cluster as
priority work where it does not. The same functions serve both ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orbresearch import staging
from orbresearch.console import tell
from orbresearch.errors import BadInput
from orbresearch.keep import Keep, covers, order_of, read_keep, write_keep
from orbresearch.lab.services import Services
from orbresearch.lab.worker import encode_spec
from orbresearch.plan import Plan
from orbresearch.rules import NANOS, Rules
from orbresearch.schema import RESULTS_VERSION
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.series import Series
from orbresearch.sessions.splits import listed_splits

if TYPE_CHECKING:
    from orbresearch.store.connection import Store

_PART_BYTES = 4_000_000


def session_hashes(series: Iterable[Series]) -> list[str]:
    """Return under which hashes the sessions of some tick series are staged, each once."""
    return list(dict.fromkeys(content for one in series for content in one.session_hashes))


def stage_plan(call: Callable[..., Any], plan: Plan) -> int:
    """Stage what is missing of a plan's inputs, through ``call(function, *args)``; return how many sessions."""
    hashes = session_hashes(item.series for item in plan.staged)
    missing = call(missing_inputs, hashes, [item.days_hash for item in plan.staged])
    sessions, documents, ranges = stage_payloads(plan, missing)
    for part in _parts(sessions):
        call(stage_inputs, part, {}, {})
    call(stage_inputs, {}, documents, ranges)
    return len(missing[0])


def _parts(payloads: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Yield payloads in parts that a scheduler passes on without a stop, for where Redis is out of reach."""
    part, size = dict[str, bytes](), 0
    for content, payload in payloads.items():
        if part and size + len(payload) > _PART_BYTES:
            yield part
            part, size = {}, 0
        part[content] = payload
        size += len(payload)
    if part:
        yield part


def unstage_sessions(services: Services, hashes: list[str]) -> int:
    """Remove staged sessions; return how many there were."""
    return staging.drop_sessions(services.staging, hashes)


def missing_inputs(services: Services, sessions: list[str], ranges: list[str]) -> tuple[list[str], list[str]]:
    """Return which session and opening-range hashes are not staged."""
    redis = services.staging
    return staging.missing_sessions(redis, sessions), staging.missing_ranges(redis, ranges)


def stage_inputs(
    services: Services, sessions: Mapping[str, bytes], documents: Mapping[str, bytes], ranges: Mapping[str, bytes]
) -> None:
    """Stage inputs by their content hashes; the documents that name them last."""
    redis = services.staging
    staging.stage_sessions(redis, sessions)
    staging.stage_ranges(redis, ranges)
    for content, document in documents.items():
        staging.stage_document(redis, content, document)


def begin_run(
    services: Services, record: dict[str, object], spec: bytes, chunks: list[tuple[int, int]], anew: bool
) -> tuple[dict[int, int], list[int]] | None:
    """Register a run and open its books.

    Parameters
    ----------
    record : dict
        The row of the table ``runs``.
    spec : bytes
        As ``worker.encode_spec`` makes it.
    chunks : list of (first, rows)
        All chunks of the plan.
    anew : bool
        Whether a run that is kept in another way is emptied for this one.

    Returns
    -------
    persisted : dict of int to int
        First backtest -> rows of the chunks in the ledger.
    staged : list of int
        First backtests of chunks whose results wait in Redis.
    None
        Where the run is kept in another way.
    """
    from orbresearch.store.keeping import agree_keep
    from orbresearch.store.reader import persisted_chunks
    from orbresearch.store.writer import register_run

    redis, uuid = services.staging, services.store.uuid
    run_id, kept, size = str(record["run_id"]), str(record["kept"]), int(str(record["chunk_size"]))
    if not register_run(services.store, record) and not agree_keep(services.store, run_id, kept, size, anew):
        return None
    order = order_of(run_id, kept, size)
    staging.retire_others(redis, uuid, run_id, order)
    persisted = persisted_chunks(services.store, run_id)
    waiting = [(first, rows) for first, rows in chunks if first not in persisted]
    total = sum(rows for _, rows in chunks)
    return persisted, staging.open_run(redis, uuid, order, spec, total, persisted, waiting)


def find_left(call: Callable[..., Any], plan: Plan, record: dict[str, object], anew: bool) -> list[list[int]]:
    """Make a run's books agree with the ledger, through ``call(function, *args)``; return the chunks left to compute.

    Doing it again repairs what Redis has lost.
    """
    chunks = [[chunk.first, chunk.rows, chunk.input, chunk.point] for chunk in plan.chunks()]
    firsts = [(chunk[0], chunk[1]) for chunk in chunks]
    begun = call(begin_run, record, encode_spec(plan, read_keep(str(record["kept"]))), firsts, anew)
    if begun is None:
        wrong = "somebody has submitted it in another way meanwhile"
        raise BadInput(f"run {plan.run_id}", wrong, "submit it again")
    done = {*begun[0], *begun[1]}
    return [chunk for chunk in chunks if chunk[0] not in done]


def run_counts(services: Services, order: str | None = None) -> dict[str, int]:
    """Return total, computed, staged, persisted and queued backtests of a run, or of all runs of the store."""
    found = staging.counts(services.staging, services.store.uuid, order)
    names = ("total", "computed", "staged", "persisted", "queued", "staged_bytes")
    return {name: int(getattr(found, name)) for name in names}


def stage_payloads(plan: Plan, staged: tuple[list[str], list[str]]) -> tuple[dict[str, bytes], ...]:
    """Return (sessions, documents, ranges) of a plan, those that are missing only, hash -> bytes."""
    wanted, sessions = set(staged[0]), {}
    for item in {item.series.hash: item for item in plan.staged}.values():
        for index, content in enumerate(item.series.session_hashes):
            if content in wanted:
                sessions[content] = item.series.payload(index)
    documents = {item.series.hash: item.series.document for item in plan.staged}
    ranges = {item.days_hash: item.days.tobytes() for item in plan.staged if item.days_hash in set(staged[1])}
    return sessions, documents, ranges


def _joined(sessions: Sessions, rules: Rules) -> dict[str, list[float | str]]:
    """Return the user's own columns that the rules need, by session: they are cached nowhere else."""
    columns = sessions.joined or {}
    return {
        name: [value if math.isfinite(value) else str(value) for value in columns[name].tolist()]  # JSON has no NaN
        for name in rules.columns
        if name in columns
    }


def run_record(
    plan: Plan, sessions: Mapping[str, Sessions], keep: Keep, version: str, quality: str
) -> dict[str, object]:
    """Return the row of ``runs`` for a plan: what it was, in columns that people read.

    ``inputs`` tells where the prices lie in ``cached_data/`` and which hashes they must have.
    """
    labels = [label for item in plan.members for label in item.series.labels[[0, -1]]]
    inputs = [
        {
            "ticker": ticker,
            "fingerprint": item.fingerprint,
            "first": str(item.schedule.labels[0]),
            "last": str(item.schedule.labels[-1]),
            "series": item.series.hash,
            "increment": item.increment_nanos / NANOS,
            "joined": _joined(item, plan.rules),
            "splits": listed_splits(item),
            **({"pooled": True} if plan.pooled else {}),
        }
        for ticker, item in sessions.items()
    ]
    first = plan.members[0].series
    return {
        "run_id": plan.run_id,
        "family": plan.family,
        "tickers": list(plan.tickers),
        "first_session": str(min(labels)),
        "last_session": str(max(labels)),
        "sessions": max(len(item.days) for item in plan.inputs),
        "range_durations": list(plan.durations),
        "bar_seconds": first.bar_seconds,
        "path": first.path,
        "fill": plan.rules.fill,
        "commission": plan.rules.commission,
        "slippage": plan.rules.slippage,
        "rules": plan.rules.document(),
        "grid": plan.grid.document(),
        "inputs": inputs,
        "quality": quality,
        "backtests": len(plan),
        "chunk_size": plan.chunk_rows,
        "source": ", ".join(dict.fromkeys(item.source for item in sessions.values())),
        "results_version": RESULTS_VERSION,
        "orbresearch_version": version,
        "kept": write_keep(keep),
    }


def settle_keep(store: Store, plan: Plan, asked: Keep) -> tuple[Plan, Keep, bool]:
    """Return the plan with the chunks that the ledger knows, what the run will keep, and whether it is begun anew.

    A run that is stored goes on as it is where that holds all that is asked for. Only a run that keeps all of its rows
    and is not complete makes room for one that keeps its best: somebody found it too large.
    """
    from orbresearch.store.reader import read_run, read_totals

    if (begun := read_run(store, plan.run_id)) is None:
        return plan, asked, False
    kept, persisted = read_keep(str(begun["kept"])), read_totals(store)[plan.run_id][0]
    if kept == asked or (covers(kept, asked) and (kept != "all" or persisted >= len(plan))):
        if kept != asked:
            tell(f"run {plan.run_id} keeps {_said(kept)} already")
        return replace(plan, chunk_rows=int(str(begun["chunk_size"]))), kept, False
    if persisted:
        tell(f"run {plan.run_id} keeps {_said(asked)} from now on, not {_said(kept)}: it is computed anew")
    return plan, asked, True


def _said(keep: Keep) -> str:
    return "all rows" if keep == "all" else str(keep)


def tell_of_relatives(store: Store, plan: Plan) -> None:
    """Say what is new about a run whose like was run before on other sessions."""
    from orbresearch.store.reader import read_family

    found = read_family(store, plan.family)
    if len(found) == 0 or plan.run_id in set(found["run_id"]):
        return
    change = max(len(item.days) for item in plan.inputs) - int(found["sessions"].iloc[0])
    word = f"{abs(change)} session{'s' if abs(change) != 1 else ''} {'added' if change > 0 else 'fewer'}"
    tell(f"new run: {word if change else 'other prices'} since run {found['run_id'].iloc[0]}")
