"""Any question gives the rows that pandas picks from the same table, at once and page by page, on both dialects."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import schema
from orbresearch.errors import BadInput
from orbresearch.settings import StoreSettings
from orbresearch.store.connection import Store
from orbresearch.store.query import make_query
from orbresearch.store.reader import read_pages, read_results, read_rows
from orbresearch.store.writer import persist_chunk
from tests.store.rows import OTHER, RUN, make_batch, run_sql, start_python

NAN, INF = math.nan, math.inf
THIRD = "2" * 16
RATIOS, LIMITS, TICKERS = [-1.5, 0.0, 0.1, 0.1 + 0.2, 2.0, NAN], [0.5, 1.0, NAN], ["SPY", "spy", 'a"b,\n', "é"]
TEXTS = ("backtest_id", "run_id", "ticker")


def fill(store: Store) -> pd.DataFrame:
    """Store three runs with many ties and undefined values; return all their rows."""
    batches = []
    for number, run_id in enumerate((RUN, OTHER, THIRD)):
        rng, n = np.random.default_rng(number), 20 + number
        columns = {
            "ticker": rng.choice(TICKERS, n).tolist(),
            "sharpe_ratio": rng.choice(RATIOS, n).tolist(),
            "limit_distance": rng.choice(LIMITS, n).tolist(),
            "stop_count_limit": rng.integers(1, 4, n).tolist(),
            "resolved": rng.integers(0, 2, n).tolist(),
        }
        batches.append(make_batch(run_id, n=n, **columns))
        persist_chunk(store, run_id, 0, batches[-1])
    return pa.Table.from_batches(batches).to_pandas()


def ends(values: list[float]) -> st.SearchStrategy[tuple[float | None, float | None]]:
    """Return ranges that bound something and are not reversed."""
    end = st.none() | st.sampled_from([value for value in values if not math.isnan(value)])
    return st.tuples(end, end).filter(lambda pair: pair != (None, None) and (None in pair or pair[0] <= pair[1]))


def among(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(values), min_size=1) | st.sampled_from(values)


WHERES = st.fixed_dictionaries(
    {},
    optional={
        "sharpe_ratio": ends(RATIOS) | among([*RATIOS, None]) | st.just((-INF, INF)),
        "limit_distance": ends(LIMITS) | among([*LIMITS, None]),
        "stop_count_limit": ends([1, 2, 2.5, 3]) | among([1, np.int64(2), 3.0]),
        "ticker": among(TICKERS) | st.just(("A", "b")),
    },
)
QUESTIONS = st.fixed_dictionaries(
    {"run": st.sampled_from([None, RUN, [OTHER, RUN], [THIRD, RUN, OTHER]])},
    optional={
        "ticker": among(TICKERS),
        "where": WHERES,
        "order_by": st.sampled_from([*TEXTS, "sharpe_ratio", "limit_distance", "stop_count_limit", "trades"]),
        "descending": st.sampled_from([None, True, False]),
        "limit": st.none() | st.integers(0, 70),
        "resolved": st.sampled_from([None, True, False]),
    },
)


def picked(column: pd.Series, wanted: Any) -> Any:
    """Return which values are wanted, as pandas says."""
    if isinstance(wanted, tuple):
        low, high = wanted
        above = True if low is None else column >= low
        return column.notna() & above & (True if high is None else column <= high)
    values = wanted if isinstance(wanted, list) else [wanted]
    missing = [pd.isna(value) for value in values]
    known = [value for value, gone in zip(values, missing, strict=True) if not gone]
    return column.isin(known) | (column.isna() & any(missing))


def asked_of_pandas(frame: pd.DataFrame, question: dict[str, Any]) -> pd.DataFrame:
    run, ticker, resolved = question["run"], question.get("ticker"), question.get("resolved")
    mask = pd.Series(True, frame.index)
    mask &= frame.run_id.isin([run] if isinstance(run, str) else run) if run else True
    mask &= frame.ticker.isin([ticker] if isinstance(ticker, str) else ticker) if ticker else True
    mask &= frame.resolved == int(resolved) if resolved is not None else True
    for name, wanted in question.get("where", {}).items():
        mask &= picked(frame[name], wanted)
    by, falling = question.get("order_by", "backtest_id"), question.get("descending")
    falling = by not in TEXTS if falling is None else falling
    ordered = frame[mask].sort_values("backtest_id", kind="stable")
    ordered = ordered.sort_values(by, ascending=not falling, kind="stable", na_position="last")
    return ordered.head(len(frame) if question.get("limit") is None else question["limit"]).reset_index(drop=True)


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_any_question_gives_the_rows_that_pandas_picks(store: Store) -> None:
    frame = fill(store)

    @given(QUESTIONS)
    def check(question: dict[str, Any]) -> None:
        table = read_rows(store, make_query(store.tables.results, **question))
        expected = asked_of_pandas(frame, question)
        assert table.schema == schema.RESULTS
        assert [column.null_count for column in table.columns] == expected.isna().sum().tolist()
        same(table.to_pandas(), expected)

    check()


def test_pages_of_any_size_are_one_reading(store: Store) -> None:
    fill(store)
    names = st.lists(st.sampled_from(schema.RESULTS.names), min_size=1, unique=True) | st.none()

    @given(QUESTIONS, names, st.integers(1, 80))
    def check(question: dict[str, Any], columns: list[str] | None, rows: int) -> None:
        query = make_query(store.tables.results, **question, columns=columns)
        whole, pages = read_rows(store, query), list(read_pages(store, query, rows))
        assert all(page.num_rows == rows for page in pages[:-1])
        assert all(0 < page.num_rows <= rows for page in pages)
        assert pa.concat_tables([whole.slice(0, 0), *pages]).equals(whole)
        assert whole.column_names == (columns or schema.RESULTS.names)

    check()


def test_any_double_pages_and_filters_to_the_bit(store: Store) -> None:
    @given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=50))
    def check(values: list[float]) -> None:
        run_sql(store.settings, "DELETE FROM results", "DELETE FROM chunks")
        check_doubles(store, values)

    check()


def check_doubles(store: Store, values: list[float]) -> None:
    persist_chunk(store, RUN, 0, make_batch(n=len(values), profit_factor=values))
    query = make_query(store.tables.results, RUN, order_by="profit_factor", columns=["profit_factor"])
    found = pa.concat_tables(read_pages(store, query, 3)).to_pandas().profit_factor
    expected = pd.Series(values, name="profit_factor").sort_values(ascending=False, na_position="last")
    same(found.to_frame(), expected.reset_index(drop=True).to_frame())
    for value in set(values[:5]):
        assert len(read_results(store, RUN, where={"profit_factor": value})) == picked(expected, value).sum()


def test_undefined_values_alone_are_rows_too(store: Store) -> None:
    persist_chunk(store, RUN, 0, make_batch(sharpe_ratio=[NAN, 1.0, NAN, NAN, NAN]))
    assert read_results(store, RUN, columns="sharpe_ratio").sharpe_ratio.isna().tolist() == [True, False] + [True] * 3


@pytest.mark.parametrize("order_by", ["backtest_id", "sharpe_ratio"])
def test_rows_stored_while_pages_turn_neither_shift_nor_repeat_any(store: Store, order_by: str) -> None:
    frame = fill(store)
    query = make_query(store.tables.results, order_by=order_by, descending=False)
    seen: list[str] = []
    for number, page in enumerate(read_pages(store, query, 7)):
        seen += page["backtest_id"].to_pylist()
        for run_id in (f"{number:016d}", f"f{number:015d}") if number < 9 else ():
            persist_chunk(store, run_id, 0, make_batch(run_id, n=3, sharpe_ratio=[-9.0, 0.1, NAN]))
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(frame.backtest_id)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"where": {"profit": 1}}, "where: there is no column 'profit'; columns are backtest_id, "),
        ({"where": [1]}, r"where: \[1\] is no mapping; give {column"),
        ({"where": {"trades": (5, 2)}}, r"where\['trades'\]: \(5, 2\) is reversed; give \(2, 5\)"),
        ({"where": {"trades": (None, None)}}, "bounds nothing; give a value"),
        ({"where": {"trades": (1, 2, 3)}}, r"\(1, 2, 3\) is no pair; give"),
        ({"where": {"trades": ()}}, "is no pair"),
        ({"where": {"trades": []}}, "the list is empty"),
        ({"where": {"trades": "many"}}, r"'many' is no number; trades is a finite number"),
        ({"where": {"trades": True}}, "True is no number"),
        ({"where": {"trades": [1, INF]}}, "inf is no number"),
        ({"where": {"trades": (INF, None)}}, "inf is no number"),
        ({"where": {"trades": (NAN, 3)}}, "nan is no number"),
        ({"where": {"trades": 2**63}}, "has more than 63 bits"),
        ({"where": {"trades": {"a": 1}}}, "'a' is no number"),
        ({"where": {"trades": None}}, "trades is never undefined; leave it out"),
        ({"where": {"trades": range(30_001)}}, "30,001 values are too many"),
        ({"where": {"ticker": 5}}, "5 is no text"),
        ({"where": {"backtest_id": "é"}}, "'é' holds characters that no backtest_id has"),
        ({"ticker": "\ud800"}, "holds characters that no ticker has"),
        ({"ticker": []}, "ticker: the list is empty"),
        ({"ticker": 5}, "ticker: 5 is neither text nor a list of texts"),
        ({"run": []}, "run: the list is empty"),
        ({"run": [5]}, "run: 5 is no text"),
        ({"columns": []}, "columns: .* names none"),
        ({"columns": ["trades", "trades"]}, "names one twice"),
        ({"columns": "profit"}, "there is no column 'profit'"),
        ({"order_by": None}, "order_by: there is no column None"),
        ({"descending": "yes"}, "descending: 'yes' is neither True, False nor None"),
        ({"resolved": 1}, "resolved: 1 is neither"),
        ({"limit": 2.5}, "limit: 2.5 is no whole number"),
        ({"limit": -1}, "limit: -1 is negative"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_can(question: dict[str, Any], message: str) -> None:
    from orbresearch.store.tables import make_tables

    with pytest.raises(BadInput, match=message):
        make_query(make_tables().results, **question)


def test_no_text_becomes_sql(store: Store) -> None:
    frame, evil = fill(store), "' OR 1=1 -- %s :x"
    assert len(read_results(store, evil.replace("'", ""))) == 0
    assert len(read_results(store, ticker=evil)) == 0
    assert len(read_results(store, where={"backtest_id": evil, "ticker": [evil, "SPY"]})) == 0
    assert len(read_results(store)) == len(frame)


@pytest.mark.slow
@pytest.mark.parametrize("order_by", ["backtest_id", "sharpe_ratio"])
def test_one_page_is_all_that_memory_holds(order_by: str, store: Store) -> None:
    for first in range(0, 300_000, 50_000):
        persist_chunk(store, RUN, first, make_batch(first=first, n=50_000))
    few, many = (peak_bytes(store.settings, order_by, limit) for limit in (30_000, 300_000))
    assert many - few < 20e6  # all rows are 80 MB


def peak_bytes(settings: StoreSettings, order_by: str, limit: int) -> int:
    """Return the highest memory of a process that reads so many rows in pages of 10,000."""
    code = (
        "import resource\n"
        "store = connection.open_store(settings)\n"
        f"query = reader.make_query(store.tables.results, RUN, order_by={order_by!r}, limit={limit})\n"
        "rows = sum(len(reader.to_frame(page)) for page in reader.read_pages(store, query, 10_000))\n"
        "print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    said, _ = start_python(code, settings).communicate()
    rows, peak = (int(part) for part in said.split())
    assert rows == limit
    return peak * (1 if sys.platform == "darwin" else 1024)
