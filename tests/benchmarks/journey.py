"""A run's whole way: submitted, computed, staged, stored; and what that takes beside the computing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import psutil

import orbresearch as orb
from orbresearch.analysis.performance import compute_rows
from orbresearch.plan import Plan, fit_chunks, make_plan
from orbresearch.settings import read_settings
from orbresearch.store.connection import Store, close_store, open_store
from orbresearch.store.reader import persisted_chunks
from orbresearch.store.writer import persist_chunks
from tests.benchmarks.cluster import WORKERS, bare_processes, temporary_home
from tests.benchmarks.market import DURATION, market, nested_grid
from tests.benchmarks.measure import Effort, Line, wall
from tests.servers_mysql import mysql_server, why_not

MIB = 2**20
POLL_SECONDS = 0.02
KEEP = orb.Best(1000)


def whole(effort: Effort) -> Iterator[Line]:
    """Compare a run from its submission to its last committed row with the slower of computing and loading it."""
    points = 100_000 if effort.quick else 1_000_000
    plan = make_plan(market(), nested_grid(points), DURATION)
    rounds = 2 if effort.quick else 7
    for name, database in (("SQLite", nullcontext(None)), ("MariaDB", _mariadb())):
        if name == "MariaDB" and why_not():
            continue
        with temporary_home(), database as environ:
            os.environ.update(environ or {})
            yield _whole(name, plan, rounds)


def _whole(name: str, plan: Plan, rounds: int) -> Line:
    """Time all three in turn, on emptied tables, after one round that does not count."""
    with _lab() as lab, bare_processes() as bare:
        store = open_store(read_settings().store)
        item = plan.inputs[0]
        fitted = fit_chunks(plan, lab.slots(), "all")
        batches = [(c.first, compute_rows(plan.run_id, item, plan.grid, plan.rules, c)) for c in fitted.chunks()]

        def load() -> None:
            for start in range(len(batches)):
                persist_chunks(store, [(plan.run_id, *batches[start])])

        def run() -> None:
            submitted.append(lab.submit_plan(fitted))
            _await_rows(store, plan)

        found, submitted = [], list[orb.Run]()
        for _ in range(rounds + 1):
            _empty(store)
            ours = wall(run)
            submitted[-1].wait()  # for the trades of the best, which come after the rows
            _empty(store)
            found.append((ours, wall(load), wall(lambda: bare(1))))
        close_store(store)
    ours, loading, computing = (np.median(column) for column in zip(*found[1:], strict=True))
    note = f"{ours:.1f} s; loading {loading:.1f}, computing {computing:.1f} s"
    samples = [one / max(load, compute) for one, load, compute in found[1:]]
    return Line(f"{name}: submit to the last row / the slower of both alone", samples, "x", most=1.15, note=note)


def beside(effort: Effort) -> Iterator[Line]:
    """Show how much of the slots' time a run that keeps its best computes, by the workers' own clocks."""
    from distributed import get_task_stream

    points, durations = (1_000_000, [300]) if effort.quick else (10_000_000, [300, 600])
    plan = make_plan(market(), nested_grid(points), durations)
    samples, notes = [], []
    with temporary_home(), _lab() as lab:
        fitted = fit_chunks(plan, lab.slots(), KEEP)
        lab.submit_plan(make_plan(market(), nested_grid(100_000), durations), keep=KEEP).wait()  # inputs, kernels
        for _ in range(effort.few):
            with get_task_stream(lab.client) as stream:
                run = lab.submit_plan(fitted, keep=KEEP).wait()
            busy = lab.progress(run.order)["seconds"]
            slots = _slot_seconds(stream.data)
            samples.append(100 * (1 - busy / slots))
            chunks = -(-len(plan) // fitted.chunk_rows)
            notes.append(f"{chunks} chunks of {busy / chunks:.2f} s, {len(plan) / slots * WORKERS:,.0f} backtests/s")
            with open_store(read_settings().store).engine.begin() as connection:
                _delete_all(connection)
    name = f"keep=Best(1000), {WORKERS} slots: their time that is not computing"
    yield Line(name, samples, "%", most=3, note=notes[-1])


def _slot_seconds(tasks: Any) -> float:
    """Return, over all workers, the seconds from the start of its first chunk to the end of its last."""
    spans: dict[str, list[float]] = {}
    for task in tasks:
        if str(task["key"]).startswith("backtests-"):
            times = [moment for span in task["startstops"] for moment in (span["start"], span["stop"])]
            spans.setdefault(task["worker"], []).extend(times)
    return sum(max(times) - min(times) for times in spans.values())


def priority(effort: Effort) -> Iterator[Line]:
    """Show how long priority work takes, there and back, while every slot computes and the reaper writes."""
    plan = make_plan(market(), nested_grid(1_000_000 if effort.quick else 10_000_000), [300, 600])
    waits = []
    with temporary_home(), _lab() as lab:
        lab.submit_plan(make_plan(market(), nested_grid(100_000), [300, 600]), keep=KEEP).wait()
        run = lab.submit_plan(fit_chunks(plan, lab.slots(), KEEP), keep=KEEP)
        while lab.progress(run.order)["waiting"]:
            waits.append(1e3 * wall(lambda: lab.submit_priority(time.time).result()))
            time.sleep(0.1)
        run.wait()
    note = f"95 % within {np.quantile(waits, 0.95):,.0f} ms, of {len(waits)}"
    yield Line("priority work there and back while every slot computes", waits, "ms", most=50, note=note)


def flat(effort: Effort) -> Iterator[Line]:
    """Show how memory grows over ten million backtests of which the best are kept, the first tenth aside."""
    points = 1_000_000 if effort.quick else 10_000_000
    plan = replace(make_plan(market(), nested_grid(points), DURATION), chunk_rows=points // 50)
    with temporary_home(), _lab() as lab:
        lab.submit_plan(make_plan(market(), nested_grid(100_000), DURATION), keep=KEEP).wait()
        names = _processes(lab)
        sizes: list[tuple[int, list[int]]] = []
        done = threading.Event()

        def sample() -> None:
            while not done.wait(0.1):
                sizes.append((lab.progress(run.order)["computed"], [one.memory_info().rss for one in names.values()]))

        run = lab.submit_plan(plan, keep=KEEP)
        watcher = threading.Thread(target=sample)
        watcher.start()
        run.wait()
        done.set()
        watcher.join()
    tenth, half = (next(i for i, (done, _) in enumerate(sizes) if done >= points * part) for part in (0.1, 0.5))
    rss = np.array([sample for _, sample in sizes])
    for i, name in enumerate(names):
        before, after = rss[tenth:half, i].max(), rss[half:, i].max()
        note = (
            f"{rss[tenth, i] / MIB:,.0f} MiB at the first tenth, then at most {before / MIB:,.0f}, {after / MIB:,.0f}"
        )
        name = f"memory of {name}: most in the second half / most from the first tenth to the half"
        yield Line(name, [after / before], "x", most=1.05, note=note)


def _processes(lab: orb.Lab) -> dict[str, psutil.Process]:
    """Return the processes of a lab by what they are."""
    workers = lab.client.run(os.getpid)
    found = {"client and scheduler": psutil.Process()}
    found |= {f"worker {i + 1}": psutil.Process(pid) for i, pid in enumerate(workers.values())}
    for child in psutil.Process().children(recursive=True):
        if "redis-server" in child.name():
            found["Redis"] = child
    return found


@contextmanager
def _lab() -> Iterator[orb.Lab]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), orb.Lab(n_workers=WORKERS, quiet=True) as lab:
        lab.client.run(_warm)
        yield lab


def _warm() -> None:
    from orbresearch.lab.worker import warm_up

    warm_up()


@contextmanager
def _mariadb() -> Iterator[dict[str, str]]:
    """Start a private server; yield what makes it the store."""
    with mysql_server() as server:
        settings = server.settings(server.create_database())
        yield settings_to_environ(settings)


def settings_to_environ(settings: Any) -> dict[str, str]:
    """Return the environment variables of a MySQL store."""
    return {
        "DB_ENDPOINT": settings.endpoint,
        "DB_PORT": str(settings.port),
        "DB_USERNAME": settings.username,
        "DB_PASSWORD": settings.password,
        "DB_NAME": settings.database,
    }


def _await_rows(store: Store, plan: Plan) -> None:
    while sum(persisted_chunks(store, plan.run_id).values()) < len(plan):
        time.sleep(POLL_SECONDS)


def _empty(store: Store) -> None:
    with store.engine.begin() as connection:
        _delete_all(connection)


def _delete_all(connection: Any) -> None:
    """Empty every table that knows runs; by TRUNCATE where there is one: what was deleted is cleaned up later."""
    for table in ("results", "chunks", "runs", "summaries"):
        way = "DELETE FROM" if connection.dialect.name == "sqlite" else "TRUNCATE"
        connection.exec_driver_sql(f"{way} {table}")
