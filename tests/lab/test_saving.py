"""Rows as files: whatever reads them back sees what `orb.results` returns, and a file is whole or not there."""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import orbresearch as orb
from orbresearch import schema
from orbresearch.errors import BadInput
from orbresearch.lab.results import save_results
from orbresearch.store.connection import Store
from orbresearch.store.writer import persist_chunk, register_run
from tests.lab.conftest import keep
from tests.store.rows import OTHER, RUN, make_batch, make_record

DIGITS = "0000123412341234"  # an id that a reader takes for a number, unless told


def read_csv(path: Path) -> pd.DataFrame:
    """Read a file as Python does, which takes "" for nothing and nothing else for missing."""
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rt", newline="") as file:
        names, *rows = csv.reader(file)
    kinds = schema.RESULTS.empty_table().to_pandas().dtypes
    values = [[None if text == "" else text for text in column] for column in zip(*rows, strict=True)]
    frame = pd.DataFrame(dict(zip(names, values, strict=True)))
    return frame.astype({name: float for name in names if kinds[name].kind == "f"}).astype(kinds[names])


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def store_awkward_rows(store: Store, n: int = 23) -> None:
    """Store rows with undefined values, doubles of every size and a ticker that CSV must quote."""
    doubles = (np.random.default_rng(1).normal(size=n) * 10.0 ** np.arange(-12, n - 12)).tolist()
    missing = {name: [None, *doubles[1:]] for name in ("limit_distance", "sharpe_ratio", "profit_factor")}
    keep(
        store, DIGITS, make_batch(DIGITS, n=n, backtest_profit=doubles, ticker='BRK,"B', **missing), tickers=['BRK,"B']
    )
    keep(store, OTHER, make_batch(OTHER, n=n, ticker="NA"), tickers=["NA"])


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.csv.gz", "ROWS.CSV.GZ"])
def test_a_file_holds_what_results_return_whatever_the_page(store, tmp_path, name):
    store_awkward_rows(store)
    expected = orb.results()
    assert expected.isna().sum().sum() > 0
    for rows in (5, 23, 1000):
        path = save_results(tmp_path / "new" / name, rows=rows)
        assert path == tmp_path / "new" / name
        same(pd.read_parquet(path) if name.endswith(".parquet") else read_csv(path), expected)
    assert [found.name for found in path.parent.iterdir()] == [name]


def test_a_run_saves_itself_from_the_store_it_is_in(store, tmp_path, monkeypatch):
    store_awkward_rows(store)
    run, other = orb.open_run(DIGITS), tmp_path / "other"
    expected = run.results(order_by="sharpe_ratio", limit=9, columns=["backtest_id", "sharpe_ratio"])
    other.mkdir()
    monkeypatch.setenv("ORB_HOME", str(other))
    path = run.save(
        tmp_path / "a.csv", rows=4, order_by="sharpe_ratio", limit=9, columns=["backtest_id", "sharpe_ratio"]
    )
    same(read_csv(path), expected)
    assert run.save(str(tmp_path / "a.parquet")).stat().st_size > 0
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 23


def test_parquet_keeps_types_nulls_and_whether_the_run_is_complete(store, tmp_path):
    keep(store, RUN, make_batch(n=7, sharpe_ratio=[None, *[1.0] * 6]))
    keep(store, OTHER, make_batch(OTHER, n=5), backtests=9)
    path = tmp_path / "rows.parquet"
    found = parquet.read_table(save_results(path, RUN, rows=3))
    assert found.schema == schema.RESULTS
    assert found.schema.metadata == {b"complete": b"true"}
    assert found["sharpe_ratio"].null_count == 1
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3, 1]
    for save in (save_results, lambda path, run: orb.open_run(run).save(path)):
        with pytest.warns(UserWarning, match=f"run {OTHER} is unfinished: 5 of 9") as caught:
            save(path, OTHER)
        assert caught[0].filename == __file__
        assert parquet.read_schema(path).metadata == {b"complete": b"false"}
    with warnings.catch_warnings(action="error"):
        assert parquet.read_schema(save_results(path)).metadata == {}


def test_no_rows_are_a_file_with_the_columns(store, tmp_path):
    same(pd.read_parquet(save_results(tmp_path / "none.parquet")), orb.results())
    header = save_results(tmp_path / "none.csv").read_text()
    assert header.splitlines() == [",".join(f'"{name}"' for name in schema.RESULTS.names)]
    assert gzip.decompress(save_results(tmp_path / "none.csv.gz").read_bytes()).decode() == header


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("rows.xlsx", {}, "path: 'rows.xlsx' does not say what to write; end it with .parquet, .csv or .csv.gz"),
        ("rows.parquet.gz", {}, "does not say what to write"),
        ("rows", {}, "does not say what to write"),
        (".", {}, "does not say what to write"),
        ("folder.csv", {}, "path: folder.csv is a folder; give the name of a file"),
        ("file/rows.csv", {}, "give a file in a folder that can be written"),
        (5, {}, "path: 5 is no path"),
        ("s3://me:secret@bucket/rows.csv", {}, "path: a URL; give the name of a file on this machine$"),
        ("rows.csv", {"rows": 0}, "rows: 0 is below 1"),
        ("rows.csv", {"columns": ["sharp"]}, "there is no column 'sharp'"),
        ("rows.csv", {"arrow": True}, "arrow"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(store, tmp_path, monkeypatch, path, options, message):
    keep(store, RUN, make_batch())
    folder = tmp_path / "here"
    (folder / "folder.csv").mkdir(parents=True)
    (folder / "file").write_text("")
    monkeypatch.chdir(folder)
    for save in (save_results, orb.open_run(RUN).save):
        with pytest.raises((BadInput, TypeError), match=message):
            save(path, **options)
    assert sorted(found.name for found in folder.iterdir()) == ["file", "folder.csv"]


def test_a_file_that_cannot_be_finished_leaves_the_one_before(store, tmp_path):
    """A value of another type has come into the ninth row: the third page cannot be read."""
    if store.settings.is_mysql:
        pytest.skip("a MySQL column holds no value of another type")
    keep(store, RUN, make_batch(n=9))
    for name in ("rows.parquet", "rows.csv", "rows.csv.gz"):
        before = save_results(tmp_path / name).read_bytes()
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE results SET stops = 'many' WHERE backtest_id LIKE '%8'")
        with pytest.raises(pa.ArrowInvalid):
            save_results(tmp_path / name, rows=3)
        assert (tmp_path / name).read_bytes() == before
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE results SET stops = 8 WHERE backtest_id LIKE '%8'")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "rows.csv",
        "rows.csv.gz",
        "rows.parquet",
    ]


def test_a_file_is_as_readable_as_any_other_of_its_folder(store, tmp_path):
    keep(store, RUN, make_batch())
    other = tmp_path / "other"
    other.touch()
    assert save_results(tmp_path / "rows.csv").stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_ten_times_the_rows_need_no_more_memory(store, tmp_path, name):
    """Arrow's own book of the most it held at once, over 3,000 and over 30,000 rows in pages of 1,000."""
    if store.settings.is_mysql:
        pytest.skip("the pages are the same")
    register_run(store, make_record(RUN, backtests=30_000))
    for first in range(0, 30_000, 3000):
        persist_chunk(store, RUN, first, make_batch(first=first, n=3000))
    most, usual = {}, pa.default_memory_pool()
    for limit in (3000, 30_000):
        pool = pa.proxy_memory_pool(pa.system_memory_pool())
        pa.set_memory_pool(pool)
        try:
            save_results(tmp_path / name, RUN, limit=limit, rows=1000)
        finally:
            pa.set_memory_pool(usual)
        most[limit] = pool.max_memory()
    assert 0 < most[30_000] < 1.3 * most[3000]


def test_pandas_reads_csv_with_the_ids_as_text(store, tmp_path):
    keep(store, DIGITS, make_batch(DIGITS))
    found = pd.read_csv(save_results(tmp_path / "rows.csv.gz"), dtype={"run_id": str})
    pd.testing.assert_frame_equal(found, orb.results(), check_dtype=False)
