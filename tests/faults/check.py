"""What must hold after every schedule: rows, ledger, books, an empty stream, and words that help."""

from __future__ import annotations

import io
import re
import time
from contextlib import redirect_stdout

import pandas as pd
import sqlalchemy as sa

from orbresearch import staging
from orbresearch.lab.services import Services
from orbresearch.plan import Plan
from orbresearch.staging import keys
from orbresearch.store.connection import reading
from orbresearch.store.reader import persisted_chunks, read_results
from tests.faults.stage import Stage, opened_services, wait_for
from tests.faults.work import undisturbed

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
        check_rows(services, plan)
        _await_silence(services)
        if not books_lost:
            check_books(services, plan)
        _check_books_hold_no_lie(services, plan)
        submit_again(stage, plan)
        check_books(services, plan)
        check_ledger(services, plan)


def check_rows(services: Services, plan: Plan) -> None:
    """Compare all columns of all rows, and the ledger, with the undisturbed run; no other row is in the table."""
    found = read_results(services.store).sort_values("backtest_id", ignore_index=True)
    expected = undisturbed(plan).sort_values("backtest_id", ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    check_ledger(services, plan)


def check_ledger(services: Services, plan: Plan) -> None:
    """Compare the ledger with the plan, and the count of rows with both."""
    results = services.store.tables.results
    assert persisted_chunks(services.store, plan.run_id) == {chunk.first: chunk.rows for chunk in plan.chunks()}
    with reading(services.store) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(results)).scalar() == len(plan)


def check_books(services: Services, plan: Plan) -> None:
    """Compare the books with the ledger."""
    where = services.staging, services.store.uuid, plan.run_id
    ledger = persisted_chunks(services.store, plan.run_id)
    assert staging.chunk_states(*where) == dict.fromkeys(ledger, "persisted")
    counts = staging.counts(*where)
    assert (counts.total, counts.persisted, counts.staged, counts.staged_bytes) == (len(plan), len(plan), 0, 0)


def _check_books_hold_no_lie(services: Services, plan: Plan) -> None:
    """Whatever the books know is in the ledger, and nothing is said to be staged."""
    states = staging.chunk_states(services.staging, services.store.uuid, plan.run_id)
    ledger = persisted_chunks(services.store, plan.run_id)
    wrong = {first: state for first, state in states.items() if state == "staged" or first not in ledger}
    assert not wrong, f"the books disagree with the ledger: {wrong}"
    counts = staging.counts(services.staging, services.store.uuid, plan.run_id)
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
        run = lab.submit_plan(plan)
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
