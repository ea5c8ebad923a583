"""How fast rows get into the store: ``python -m tests.benchmarks.bench_store [--rows 1000000] [bench.json]``.

Each line is the speed of ``persist_chunk`` over that of the plain way to do the same, by the clock, in pairs measured
in turn in one process, into emptied tables of a private server or a fresh file. The plain ways check nothing, and
commit once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from orbresearch import schema
from orbresearch.settings import StoreSettings
from orbresearch.store.connection import Store, close_store, open_store
from orbresearch.store.writer import persist_chunks
from tests.benchmarks.measure import Line, alternate, head, machine, number, wall
from tests.servers_mysql import MySQLServer, mysql_server, why_not
from tests.store.rows import RUN, make_batch

NAMES = ", ".join(schema.RESULTS.names)
LEAST = 0.85
#: The fields hold no comma and no quote.
LOAD = f"LOAD DATA LOCAL INFILE '{{}}' INTO TABLE results CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' ({NAMES})"


def main() -> None:
    """Measure what was asked for; print the table; write the JSON."""
    asked = arguments()
    batches = make_batches(asked.rows, asked.chunk)
    facts = {**machine(), "rows": asked.rows, "chunk": asked.chunk, "together": asked.together, "pairs": asked.pairs}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(head())
    lines = []
    for name in asked.only or PARTS:
        line = PARTS[name](batches, asked.together, asked.pairs)
        print(line.text(), flush=True)
        lines.append({"part": name, **line.document()})
    if asked.json:
        asked.json.write_text(json.dumps({**facts, "lines": lines}, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_store", description="Rows into the store.")
    parser.add_argument("json", nargs="?", type=Path, help="write all samples there")
    parser.add_argument("--rows", type=int, default=100_000, help="the figures of the README: 1000000")
    parser.add_argument("--chunk", type=int, default=100_000, help="rows of a chunk")
    parser.add_argument("--together", type=int, default=1, help="chunks of a transaction")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    return parser.parse_args()


def make_batches(rows: int, chunk: int) -> list[pa.RecordBatch]:
    """Return chunks without a missing value, for which CSV has no word that LOAD DATA knows."""
    return [make_chunk(first, min(chunk, rows - first)) for first in range(0, rows, chunk)]


def make_chunk(first: int, n: int) -> pa.RecordBatch:
    """Return rows like a grid's: distances in steps of five cents, profits in cents, ratios of all digits."""
    index = np.arange(first, first + n)
    stops, limits = np.round(0.05 + index // 100 % 100 * 0.05, 2), np.round(0.05 + index % 100 * 0.05, 2)
    profit = np.round(np.random.default_rng(first).normal(0, 20, n), 2)
    return make_batch(first=first, n=n, stop_distance=stops, limit_distance=limits, backtest_profit=profit)


def against_csv(batches: Sequence[pa.RecordBatch], together: int, pairs: int) -> Line:
    """Compare with writing the batches to a CSV file, by Arrow, and loading that."""
    with database() as (server, name), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"

        def load_file() -> None:
            with file.open("wb") as out:
                for batch in batches:
                    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
                    pyarrow.csv.write_csv(batch, out, options)
            run(server, name, lambda cursor: cursor.execute(LOAD.format(file)))

        return compare("LOAD DATA: persist / CSV file and load", server, name, load_file, batches, together, pairs)


def against_executemany(batches: Sequence[pa.RecordBatch], together: int, pairs: int) -> Line:
    """Compare with PyMySQL's executemany, on a server that refuses LOCAL."""
    statement = f"INSERT INTO results ({NAMES}) VALUES ({', '.join(['%s'] * len(schema.RESULTS))})"
    with database() as (server, name):
        server.run("SET GLOBAL local_infile = 0")

        def insert(cursor: object) -> None:
            for batch in batches:
                cursor.executemany(statement, tuples(batch))

        def plain() -> None:
            run(server, name, insert)

        return compare("INSERT: persist / PyMySQL's executemany", server, name, plain, batches, together, pairs)


def against_sqlite(batches: Sequence[pa.RecordBatch], together: int, pairs: int) -> Line:
    """Compare with sqlite3's executemany into the same tables."""
    statement = f"INSERT INTO results ({NAMES}) VALUES ({', '.join('?' * len(schema.RESULTS))})"
    with tempfile.TemporaryDirectory() as folder:
        settings = StoreSettings(Path(folder) / "fresh" / "results.sqlite")

        def fresh() -> Store:
            shutil.rmtree(settings.sqlite.parent, ignore_errors=True)
            return open_store(settings)

        def plain() -> None:
            connection = sqlite3.connect(settings.sqlite)
            for batch in batches:
                connection.executemany(statement, tuples(batch))
            connection.commit()
            connection.close()

        return timed("SQLite: persist / sqlite3's executemany", fresh, plain, batches, together, pairs)


PARTS = {"load": against_csv, "insert": against_executemany, "sqlite": against_sqlite}


def compare(
    title: str,
    server: MySQLServer,
    name: str,
    plain: Callable[[], None],
    batches: Sequence[pa.RecordBatch],
    together: int,
    pairs: int,
) -> Line:
    """Time persist and a plain way into one database, emptied before each."""
    store = open_store(server.settings(name))

    def fresh() -> Store:
        for table in ("results", "chunks"):
            server.run(f"TRUNCATE {table}", name)
        return store

    line = timed(title, fresh, plain, batches, together, pairs)
    close_store(store)
    return line


def timed(
    title: str,
    fresh: Callable[[], Store],
    plain: Callable[[], None],
    batches: Sequence[pa.RecordBatch],
    together: int,
    pairs: int,
) -> Line:
    """Time both in turn; see that both wrote every row."""
    rows = sum(batch.num_rows for batch in batches)

    def ours() -> float:
        store = fresh()
        seconds = wall(lambda: persist(store, batches, together))
        check(store, rows)
        return seconds

    def theirs() -> float:
        store = fresh()
        seconds = wall(plain)
        check(store, rows)
        return seconds

    found = alternate(pairs, theirs, ours)
    plain_rate, rate = (rows / float(np.median(seconds)) for seconds in zip(*found, strict=True))
    note = f"{number(rate)} rows/s; plain {number(plain_rate)}"
    return Line(title, [theirs / ours for theirs, ours in found], "x", least=LEAST, note=note)


def persist(store: Store, batches: Sequence[pa.RecordBatch], together: int) -> None:
    """Write all chunks, a few in each transaction."""
    firsts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    chunks = [(RUN, int(first), batch) for first, batch in zip(firsts, batches, strict=False)]
    for start in range(0, len(chunks), together):
        persist_chunks(store, chunks[start : start + together])


def check(store: Store, rows: int) -> None:
    """See that the rows are there."""
    with store.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT COUNT(*) FROM results").scalar()
    if found != rows:
        raise RuntimeError(f"{found} rows instead of {rows}")


@contextmanager
def database() -> Iterator[tuple[MySQLServer, str]]:
    """Start a private server for one comparison."""
    if reason := why_not():
        raise SystemExit(reason)
    with mysql_server() as server:
        yield server, server.create_database()


def run(server: MySQLServer, name: str, work: Callable[[object], object]) -> None:
    """Do something with a plain driver's cursor, in one transaction."""
    connection = server.connect(name, local_infile=True, autocommit=False)
    with connection, connection.cursor() as cursor:
        work(cursor)
        connection.commit()


def tuples(batch: pa.RecordBatch) -> list[tuple[object, ...]]:
    """Return rows as the drivers take them."""
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


if __name__ == "__main__":
    main()
