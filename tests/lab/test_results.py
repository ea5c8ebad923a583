"""Rows of any runs from a notebook: `orb.results` and its pages, on either database."""

from __future__ import annotations

import warnings

import pandas as pd
import pyarrow as pa
import pytest

import orbresearch as orb
from orbresearch import schema
from orbresearch.errors import BadInput
from tests.lab.conftest import GRID, keep
from tests.store.rows import OTHER, RUN, make_batch


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_rows_equal_run_grid_to_the_bit_whatever_the_path(store, sessions):
    expected = orb.run_grid(sessions, GRID, [300, 900])
    run_id = expected.run_id[0]
    rows = pa.Table.from_pandas(expected, schema.RESULTS, preserve_index=False).combine_chunks()
    keep(store, run_id, rows.to_batches()[0])
    table = orb.results(arrow=True)
    same(orb.results(), expected)
    same(orb.results(run_id), expected)
    same(orb.open_run(run_id).results(), expected)
    same(pd.concat(orb.results_pages(run_id, rows=7), ignore_index=True), expected)
    assert table.schema == schema.RESULTS
    assert [column.null_count for column in table.columns] == expected.isna().sum().tolist()
    pages = list(orb.results_pages(rows=10, arrow=True))
    assert all(isinstance(page, pa.RecordBatch) for page in pages)
    assert pa.Table.from_batches(pages).equals(table)


def test_rows_are_asked_by_run_ticker_and_ranges_in_an_order(store):
    keep(store, RUN, make_batch(n=20, trades=list(range(20))))
    keep(store, OTHER, make_batch(OTHER, n=20, ticker="QQQ", trades=list(range(20))))
    found = orb.results(where={"trades": (5, None)}, order_by="trades", limit=3, columns=["ticker", "trades"])
    assert found.to_numpy().tolist() == [["SPY", 19], ["QQQ", 19], ["SPY", 18]]
    assert orb.results(orb.open_run(OTHER), where={"trades": [3, 4]}).trades.tolist() == [3, 4]
    assert len(orb.results([RUN, OTHER], ticker="QQQ")) == 20
    assert len(orb.results(run for run in (RUN, orb.open_run(OTHER)))) == 40
    assert len(orb.results(ticker=iter(["SPY", "QQQ"]), resolved=True)) == 40
    assert orb.open_run(RUN).results(where={"trades": (None, 1)}, arrow=True).num_rows == 2


def test_an_unfinished_run_that_is_asked_for_is_said_so(store):
    keep(store, RUN, make_batch(n=5))
    keep(store, OTHER, make_batch(OTHER, n=5), backtests=9)
    assert orb.results(RUN).attrs == {"complete": True}
    assert orb.results(RUN, arrow=True).schema.metadata == {b"complete": b"true"}
    with pytest.warns(UserWarning, match=f"run {OTHER} is unfinished: 5 of 9") as caught:
        assert orb.results([RUN, OTHER]).attrs == {"complete": False}
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="is unfinished: 5 of 9") as caught:
        assert orb.results(OTHER, arrow=True).schema.metadata == {b"complete": b"false"}
    with pytest.warns(UserWarning, match="is unfinished: 5 of 9") as caught:
        pages = orb.results_pages(OTHER)
    assert caught[0].filename == __file__
    assert len(next(pages)) == 5
    with warnings.catch_warnings(action="error"):
        assert orb.results().attrs == {}


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"run": "nobody"}, f"run: 'nobody' is not in .*; the latest runs there are {RUN}"),
        ({"run": [RUN, 5]}, "run: 5 is no text"),
        ({"run": []}, "run: the list is empty"),
        ({"ticker": "SYP"}, "ticker: 'SYP' is in none of the runs asked for; tickers there are QQQ, SPY"),
        ({"where": {"sharp_ratio": (1, None)}}, "there is no column 'sharp_ratio'; columns are"),
        ({"limit": -1}, "limit: -1 is negative"),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused_at_once(store, question, message):
    keep(store, RUN, make_batch())
    for ask in (orb.results, orb.results_pages):
        with pytest.raises(BadInput, match=message):
            ask(**question)
    with pytest.raises(BadInput, match="rows: 0 is below 1"):
        orb.results_pages(rows=0)


def test_no_rows_are_an_empty_frame_and_no_page(store):
    same(orb.results(), schema.RESULTS.empty_table().to_pandas())
    assert list(orb.results_pages()) == []


def test_without_any_store_there_is_nothing_to_read(own_home):
    with pytest.raises(BadInput, match="no results yet"):
        orb.results()
    with pytest.raises(BadInput, match="no results yet"):
        orb.results_pages()
    assert list(own_home.iterdir()) == []
