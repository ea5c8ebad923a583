"""What must hold after every schedule: rows, ledger, books, an empty stream, and words that help."""

from __future__ import annotations

import io
import json
import re
import time
from contextlib import redirect_stdout

import pandas as pd

from orbresearch import staging
from orbresearch.analysis.backtests import backtest_of
from orbresearch.keep import Best, Keep, order_of, write_keep
from orbresearch.lab.finish import TRADED
from orbresearch.lab.services import Services
from orbresearch.plan import Chunk, Plan
from orbresearch.staging import keys
from orbresearch.store.keeping import read_summaries
from orbresearch.store.reader import fetch, persisted_chunks, read_best, read_results, read_run
from tests.faults.stage import Stage, opened_services, wait_for
from tests.faults.work import kept

DRAIN_SECONDS = 40.0  # for a chunk that is computed once more although its rows are in the store


def check_all(stage: Stage, plan: Plan, *, books_lost: bool) -> None:
    """Check everything about a stage's finished run; then that submitting it again changes nothing.

    Parameters
    ----------
    books_lost : bool
        Whether Redis was emptied: then the books know only what came after it, until the run is submitted again.
    """
    check_words(stage)
    with opened_services(stage.settings) as services:
        order = order_of(plan.run_id, write_keep(stage.keep), plan.chunk_rows)
        check_rows(services, plan, stage.keep)
        _await_silence(services)
        if not books_lost:
            check_books(services, plan, order)
        _check_books_hold_no_lie(services, plan, order)
        submit_again(stage, plan)
        check_books(services, plan, order)
        check_rows(services, plan, stage.keep)
        check_trades(services, plan, stage.keep)


def check_rows(services: Services, plan: Plan, keep: Keep = "all") -> None:
    """Compare all columns of all rows, and the ledger, with the undisturbed run; no other row is in the table."""
    rows, summaries = kept(plan, keep)
    found = read_results(services.store).sort_values("backtest_id", ignore_index=True)
    expected = rows.sort_values("backtest_id", ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert read_summaries(services.store, plan.run_id) == summaries
    assert persisted_chunks(services.store, plan.run_id) == {chunk.first: chunk.rows for chunk in plan.chunks()}


def check_trades(services: Services, plan: Plan, keep: Keep) -> None:
    """Compare the ids of the rows whose trades are stored with those of the best; and the trades of one."""

    def finished() -> bool:
        return (read_run(services.store, plan.run_id) or {})["finished_at"] is not None

    wait_for(finished, DRAIN_SECONDS, "the trades of the best are not stored")
    how = keep if isinstance(keep, Best) else Best(TRADED)
    best = read_best(services.store, plan.run_id, TRADED, by=how.by, min_sessions=how.min_sessions)["backtest_id"]
    query = "SELECT backtest_id, trade_stats FROM results WHERE trade_stats IS NOT NULL"
    found = fetch(services.store, query).set_index("backtest_id")["trade_stats"]
    assert sorted(found.index) == sorted(best)
    for name in best[:1]:
        at, point = divmod(int(name[-10:]), len(plan.grid))
        chunk = Chunk(int(name[-10:]), 1, at, point)
        one = backtest_of(plan.run_id, plan.inputs[at], plan.grid, plan.rules, chunk)
        assert json.loads(found[name]) == one.trade_stats()


def check_books(services: Services, plan: Plan, order: str) -> None:
    """Compare the books with the ledger."""
    where = services.staging, services.store.uuid, order
    ledger = persisted_chunks(services.store, plan.run_id)
    assert staging.chunk_states(*where) == dict.fromkeys(ledger, "persisted")
    counts = staging.counts(*where)
    assert (counts.total, counts.persisted, counts.staged, counts.staged_bytes) == (len(plan), len(plan), 0, 0)


def _check_books_hold_no_lie(services: Services, plan: Plan, order: str) -> None:
    """Whatever the books know is in the ledger, and nothing is said to be staged."""
    states = staging.chunk_states(services.staging, services.store.uuid, order)
    ledger = persisted_chunks(services.store, plan.run_id)
    wrong = {first: state for first, state in states.items() if state == "staged" or first not in ledger}
    assert not wrong, f"the books disagree with the ledger: {wrong}"
    counts = staging.counts(services.staging, services.store.uuid, order)
    assert (counts.staged, counts.staged_bytes) == (0, 0)


def _await_silence(services: Services) -> None:
    """Wait until nothing is staged and nothing pending, and stays so."""
    quiet = [0.0]

    def silent() -> bool:
        if leftovers(services) != (0, 0):
            quiet[0] = time.monotonic()
        return time.monotonic() - quiet[0] > 1.0

    quiet[0] = time.monotonic()
    wait_for(silent, DRAIN_SECONDS, f"(entries, pending) are left on the stream: {leftovers(services)}")


def leftovers(services: Services) -> tuple[int, int]:
    """Return how many results are on the stream, and how many of those a reaper has read and not acknowledged."""
    books, stream = services.staging.books, keys.stream(services.store.uuid)
    groups = books.xinfo_groups(stream) if books.exists(stream) else []
    return int(books.xlen(stream)), sum(int(group["pending"]) for group in groups)


def submit_again(stage: Stage, plan: Plan) -> None:
    """Submit the run once more: everything is known."""
    said = io.StringIO()
    with redirect_stdout(said), stage.attached() as lab:
        run = lab.submit_plan(plan, keep=stage.keep)
        assert run.wait().complete
        found = run.status()
    assert f"{len(plan):,} of them known already" in said.getvalue()
    assert (found["state"], found["running"], found["waiting"]) == ("complete", 0, 0), found
    assert not found["failures"], found


ACTIONABLE = re.compile(r"at \S+:\S+ cannot be used: .+; \w.+|: .+; (try|submit|set|check)")


def check_words(stage: Stage) -> None:
    """No client showed a stack of calls, and each complaint names who is at fault, where, and what to do."""
    said = stage.said()
    assert "Traceback" not in said, said
    for line in said.splitlines():
        if line.startswith(("results do not", "not yet:", "Unreachable:", "BadInput:")):
            assert ACTIONABLE.search(line), line
    assert stage.servers.mysql.server.password not in said
    assert stage.servers.redis.settings.password not in said
