"""A run, planned: everything bad is refused before any work, the id is the work's, chunks cover it exactly once."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orbresearch import (
    ParameterGrid,
    ParameterList,
    Rules,
    load_sessions,
    plan,
    run_grid,
    seed_grid,
    synthetic_sessions,
)
from orbresearch.errors import BadInput
from orbresearch.inputs import day_distances
from orbresearch.keep import Best
from orbresearch.plan import backtest_ids, block_rows, fit_chunks, make_plan, parse_backtest_id
from orbresearch.schema import NEVER
from tests.sources import market

GRID = ParameterGrid([0.1, 0.2, 0.3], [1, 2], [30, 60], [0.5, 1, 2])
BARS, PRICES = load_sessions(market.bars(), "TEST"), load_sessions(market.prices(), "TEST")
OTHER = load_sessions(market.prices(ticker="OTHER", seed=9), "OTHER")
FIRST, HALF_DAY, LAST = market.DAYS


def together(*sessions):
    return {one.ticker: one for one in sessions}


def planned(sessions=PRICES, grid=GRID, durations=300, rules=None):
    """Plan a run; what several tickers warn of is tested apart."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make_plan(sessions, grid, durations, rules)


# Chunks and ids


@pytest.mark.parametrize("rows", [1, 5, 16, 36, 37, 1000])
@pytest.mark.parametrize("durations", [300, [300, 600, 900]])
@pytest.mark.parametrize("sessions", [PRICES, together(PRICES, OTHER)], ids=["one", "two"])
def test_chunks_cover_every_backtest_once_and_hold_part_of_an_input_or_whole_ones(rows, durations, sessions):
    whole = replace(planned(sessions, durations=durations), chunk_rows=rows)
    chunks = list(whole.chunks())
    assert [i for chunk in chunks for i in range(chunk.first, chunk.first + chunk.rows)] == list(range(len(whole)))
    for chunk in chunks:
        assert 1 <= chunk.rows <= rows
        assert chunk.first == chunk.input * len(GRID) + chunk.point
        assert chunk.point + chunk.rows <= len(GRID) or (chunk.point == 0 and chunk.rows % len(GRID) == 0)
    pieces = [piece for chunk in chunks for piece in chunk.cut(len(GRID))]
    assert pieces == list(replace(whole, chunk_rows=min(rows, len(GRID))).chunks())
    assert {piece.input for piece in pieces} == set(range(len(whole.inputs)))


def test_inputs_go_ticker_by_ticker_duration_by_duration():
    whole = planned(together(PRICES, OTHER), durations=[900, 300])
    assert [(item.ticker, item.duration) for item in whole.inputs] == [
        ("TEST", 900),
        ("TEST", 300),
        ("OTHER", 900),
        ("OTHER", 300),
    ]
    assert (whole.tickers, whole.durations, len(whole)) == (("TEST", "OTHER"), (900, 300), 4 * len(GRID))


def test_a_chunk_holds_whole_stop_distances_where_they_fit(monkeypatch):
    assert block_rows(seed_grid(), 5000) == 5000 // 513 * 513
    assert planned(grid=seed_grid()).chunk_rows == len(seed_grid())
    monkeypatch.setattr(plan, "MAX_CHUNK_ROWS", 1100)
    assert planned(grid=seed_grid()).chunk_rows == 1026
    monkeypatch.setattr(plan, "MAX_CHUNK_ROWS", 500)
    assert planned(grid=seed_grid()).chunk_rows == 500


def test_ids_are_of_fixed_width_and_sort_as_the_run():
    whole = planned(durations=[300, 600])
    ids = backtest_ids(whole.run_id, range(len(whole))).to_pylist()
    assert ids == sorted(ids)
    assert len(set(ids)) == len(whole)
    assert {len(name) for name in ids} == {16 + 1 + 10}
    assert re.fullmatch("[0-9a-f]{16}", whole.run_id)
    table = run_grid(PRICES, GRID, [300, 600])
    assert table["backtest_id"].tolist() == ids
    assert set(table["run_id"]) == {whole.run_id}


def test_an_id_names_its_run_and_its_place():
    run_id = planned().run_id
    for index in (0, 7, 9_999_999_999):
        assert parse_backtest_id(backtest_ids(run_id, [index])[0]) == (run_id, index)


@pytest.mark.parametrize(
    "bad", ["", "abc", "-", "0123456789abcdef", "0123456789abcdef-1", "0123456789abcdef-000000000x", 5, None]
)
def test_what_is_no_id_is_refused(bad):
    with pytest.raises(BadInput, match=r"backtest_id: .* is no id"):
        parse_backtest_id(bad)


def test_more_backtests_than_ids_have_digits_for_are_refused():
    values = list(range(1, 401))
    grid = ParameterGrid(values, values, values, values)  # 2.56e10
    with pytest.raises(BadInput, match=r"25,?600,?000,?000|10,?000,?000,?000"):
        planned(PRICES, grid, 300)


# Identity


def changed(column, row=100, by=0.01):
    frame = market.prices()
    frame.loc[row, column] += by
    return load_sessions(frame, "TEST")


def with_vix(*values):
    return PRICES.join(pd.Series(values, list(market.DAYS), name="vix"))


CHANGES = {
    "another price": {"sessions": changed("price")},
    "another second": {"sessions": changed("timestamp_utc", by=1)},
    "another ticker": {"sessions": load_sessions(market.prices(ticker="TEST2"), "TEST2")},
    "a session less": {"sessions": PRICES.between(HALF_DAY)},
    "another increment": {"sessions": load_sessions(market.prices(), "TEST", increment=0.005)},
    "another duration": {"durations": 301},
    "one duration more": {"durations": [300, 600]},
    "durations in another order": {"durations": [600, 300]},
    "another stop": {"grid": ParameterGrid([0.1, 0.2, 0.31], [1, 2], [30, 60], [0.5, 1, 2])},
    "stops in another order": {"grid": ParameterGrid([0.2, 0.1, 0.3], [1, 2], [30, 60], [0.5, 1, 2])},
    "another count": {"grid": ParameterGrid([0.1, 0.2, 0.3], [1, 3], [30, 60], [0.5, 1, 2])},
    "another cool-off": {"grid": ParameterGrid([0.1, 0.2, 0.3], [1, 2], [30, 61], [0.5, 1, 2])},
    "another limit": {"grid": ParameterGrid([0.1, 0.2, 0.3], [1, 2], [30, 60], [0.5, 1])},
    "another commission": {"rules": Rules(commission=0.0005)},
    "another slippage": {"rules": Rules(slippage=0.005)},
    "another fill": {"rules": Rules(fill="level")},
    "another tick size": {"rules": Rules(fill="level", tick_size=0.05)},
    "another side": {"rules": Rules(side="long")},
    "the opening bar's side": {"rules": Rules(side="opening_bar")},
    "another entry": {"rules": Rules(side="opening_bar", entry="open")},
    "a buffer": {"rules": Rules(entry_buffer=0.01)},
    "a buffer in another unit": {"rules": Rules(entry_buffer=0.01, buffer_unit="percent")},
    "stops in another unit": {"rules": Rules(stop_unit="percent")},
    "stops in multiples of the range": {"rules": Rules(stop_unit="range")},
    "limits in another unit": {"rules": Rules(limit_unit="percent")},
    "limits in multiples of the stop": {"rules": Rules(limit_unit="R")},
    "an anchor": {"rules": Rules(stop_anchor="opposite_edge")},
    "another anchor": {"rules": Rules(stop_anchor="opposite_entry")},
    "a cut-off": {"rules": Rules(entry_cutoff=3600)},
    "an exit": {"rules": Rules(exit_time=3600)},
    "a selection": {"rules": Rules(select=("weekday", "!=", 0))},  # which holds on all sessions
    "a selection by date": {"rules": Rules(select=("date", ">=", HALF_DAY))},
    "another measure": {"rules": Rules(measure="dollars")},
    "a column that the rules name": {"sessions": with_vix(13, 14, 15), "rules": Rules(select=("vix", ">", 13.5))},
    "that column with another value": {"sessions": with_vix(14, 14, 15), "rules": Rules(select=("vix", ">", 13.5))},
    "no limit": {"grid": ParameterGrid([0.1, 0.2, 0.3], [1, 2], [30, 60], [0.5, 1, None])},
    "the same points in a list": {"grid": ParameterList(pd.DataFrame(list(GRID)))},
    "the list in another order": {"grid": ParameterList(pd.DataFrame(list(GRID)[::-1]))},
    "one ticker more": {"sessions": together(PRICES, OTHER)},
    "tickers in another order": {"sessions": together(OTHER, PRICES)},
    "bars": {"sessions": BARS},
    "bars along another path": {"sessions": BARS.other_path()},
    "bars read as closes": {"sessions": load_sessions(market.bars(), "TEST", bar=0)},
}


def test_everything_that_decides_a_number_makes_another_run():
    ids = {"the plain run": planned().run_id}
    ids |= {what: planned(**arguments).run_id for what, arguments in CHANGES.items()}
    twins = [(a, b) for a, b in itertools.combinations(ids, 2) if ids[a] == ids[b]]
    assert twins == []


def same_work(tmp_path):
    """Yield the plain run's work, said in other ways."""
    frame = market.prices()
    frame.to_csv(tmp_path / "b.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    yield "from a CSV file", {"sessions": load_sessions(tmp_path / "b.csv", "TEST")}
    yield "from Parquet", {"sessions": load_sessions(str(tmp_path / "a.parquet"), "TEST")}
    yield "from the cache", {"sessions": load_sessions(tmp_path / "a.parquet", "TEST")}
    yield "past the cache", {"sessions": load_sessions(tmp_path / "a.parquet", "TEST", cache=False)}
    yield "descending", {"sessions": load_sessions(frame.iloc[::-1], "TEST")}
    yield "shuffled", {"sessions": load_sessions(frame.sample(frac=1, random_state=1), "TEST")}
    yield "in milliseconds", {"sessions": load_sessions(frame.assign(timestamp_utc=frame.timestamp_utc * 1000), "TEST")}
    yield "with more columns", {"sessions": load_sessions(frame.assign(volume=5, note="x"), "TEST")}
    wide = pd.concat([frame, market.prices(("2024-07-08",)), market.prices(("2024-06-28",))])
    yield "a stretch of more", {"sessions": load_sessions(wide, "TEST", start=FIRST, end=LAST)}
    yield "a stretch taken later", {"sessions": load_sessions(wide, "TEST").between(FIRST, LAST)}
    yield "as a mapping", {"sessions": {"TEST": PRICES}}
    yield "durations in a list", {"durations": [300]}
    yield "durations of numpy", {"durations": np.int64(300)}
    yield (
        "a grid of other kinds",
        {"grid": ParameterGrid(np.array(GRID.stop_distance), (1, 2.0), range(30, 90, 30), [0.5, 1.0, 2])},
    )
    yield "the rules said", {"rules": Rules()}
    yield "what auto decides said", {"rules": Rules(fill="seen", slippage=0.0)}
    yield "whole numbers", {"rules": Rules(commission=0, slippage=0)}
    yield "with a column that no rule uses", {"sessions": with_vix(13, 14, 15)}
    yield "selecting nothing", {"rules": Rules(select=[])}


def test_the_same_work_has_the_same_id_however_it_is_said(tmp_path):
    expected = planned().run_id
    assert {what: planned(**arguments).run_id == expected for what, arguments in same_work(tmp_path)} == {
        what: True for what, _ in same_work(tmp_path)
    }


def test_the_size_of_chunks_is_not_part_of_the_id(monkeypatch):
    expected = planned().run_id
    monkeypatch.setattr(plan, "MAX_CHUNK_ROWS", 1)
    small = planned()
    assert small.chunk_rows == 1
    assert small.run_id == expected


def test_the_id_is_the_same_on_any_machine():
    """Whoever makes this fail has changed every id there is: raise RESULTS_VERSION or STAGING_VERSION, and say so."""
    found = planned(synthetic_sessions(2, seed=1)).run_id
    assert found == planned(synthetic_sessions(2, seed=1)).run_id
    assert found == "e6b35709c66418e0"


def test_the_family_is_the_question_without_the_prices():
    plain = planned()
    longer = planned(load_sessions(market.prices((*market.DAYS, "2024-07-08")), "TEST"))
    assert longer.run_id != plain.run_id
    assert longer.family == plain.family
    assert planned(OTHER).family != plain.family
    assert planned(durations=600).family != plain.family


def test_a_plan_can_be_looked_at_before_it_runs():
    shown = repr(planned(together(PRICES, OTHER), durations=[300, 600], rules=Rules(commission=0.0005)))
    for part in ("144 backtests in 4 chunks", "TEST, OTHER", "300, 600 s", "seen fills", "0.0005"):
        assert part in shown
    shown = repr(planned(rules=Rules(stop_unit="range", exit_time=3600, limit_unit="R")))
    for part in ("stop_unit range", "exit_time 3600", "limit_unit R"):
        assert part in shown


# Bad input


@pytest.mark.parametrize(
    "bad", [0, -300, 300.5, float("nan"), "300", "12", True, None, [300.7], [True], ["300"], [300, 0], [None]]
)
def test_a_duration_that_is_none_is_refused_by_name(bad):
    with pytest.raises(BadInput, match=r"^range_duration: "):
        planned(durations=bad)


def test_a_duration_without_any_or_twice_the_same_is_refused():
    with pytest.raises(BadInput, match="range_duration: empty"):
        planned(durations=[])
    with pytest.raises(BadInput, match=r"range_duration: \[300, 600, 300\] names a duration twice"):
        planned(durations=[300, 600, 300])


@pytest.mark.parametrize("duration", [23_400, 23_401, 10**9])
def test_a_range_longer_than_the_session_is_refused_with_both_numbers(duration):
    with pytest.raises(BadInput, match=f"{duration} s is not shorter than TEST's longest session of 23400 s"):
        planned(durations=duration)


def test_a_range_longer_than_a_half_day_leaves_that_day_out():
    whole = planned(durations=14_400)
    assert len(whole.inputs[0].days) == 2
    with pytest.raises(BadInput, match="longest session of 12600 s"):
        planned(PRICES.between(HALF_DAY, HALF_DAY), durations=14_400)


@pytest.mark.parametrize(("duration", "nearest"), [(90, 120), (59, 60), (1, 60), (301, 300)])
def test_a_range_of_no_whole_bars_is_refused_with_one_that_is(duration, nearest):
    wrong = f"{duration} s is no whole number of TEST's 60 s bars; give a multiple of 60, such as {nearest}$"
    with pytest.raises(BadInput, match=f"range_duration: {wrong}"):
        planned(BARS, durations=duration)
    assert planned(PRICES, durations=duration).durations == (duration,)


def test_no_tradable_session_is_refused_with_the_reasons():
    late = market.prices()
    since = late["timestamp_utc"] - late["timestamp_utc"].map(lambda time: max(o for o in OPENS if o <= time))
    with pytest.raises(
        BadInput, match=r"TEST: no tradable session for a range of 300 s \(2024-07-02: no obs.* in the op"
    ):
        planned(load_sessions(late[since > 400], "TEST"))
    with pytest.raises(BadInput, match=r"no tradable session .*2024-07-03: no observation after the opening range"):
        planned(load_sessions(late[since < 200], "TEST"))


OPENS = [market.opened(day) for day in market.DAYS]


def test_one_ticker_without_a_tradable_session_is_named_among_others():
    empty = load_sessions(market.prices((FIRST,), ticker="EMPTY").iloc[:20], "EMPTY")
    with pytest.raises(BadInput, match=r"^ticker EMPTY: no tradable session"):
        planned(together(PRICES, empty))


@pytest.mark.parametrize("name", ["stop_distance", "limit_distance"])
@pytest.mark.parametrize("huge", [21_474_836.48, 1e9, 1e18, 10**30])
def test_a_distance_beyond_int32_increments_is_refused_by_name_and_value(name, huge):
    values = {"stop_distance": 1, "stop_count_limit": 1, "stop_cooloff_period": 1, "limit_distance": 1, name: [1, huge]}
    with pytest.raises(BadInput, match=rf"^{name}: .* dollars are beyond int32 increments of 0\.01") as refused:
        planned(grid=ParameterGrid(**values))
    assert str(float(huge)) in refused.value.wrong


def test_the_largest_distance_that_int32_holds_is_computed():
    whole = planned(grid=ParameterGrid(21_474_836.47, 1, 0, 21_474_836.47))
    for name in ("stop_distance", "limit_distance"):
        assert distances(whole, name).tolist() == [[[2**31 - 1]] * 2]
    assert run_grid(PRICES, whole.grid)["stops"].tolist() == [0]


def wild(days):
    """Return sessions that jump between one dollar and 1,001 every second: 100,000 per cent to lose in each trade."""
    frame = market.prices(days, ticker="WILD", step=1)
    return load_sessions(frame.assign(price=np.where(frame.index % 2, 1001.0, 1.0)), "WILD")


def test_squares_that_could_pass_2_to_63_are_refused_with_the_day():
    grid = ParameterGrid(1, [1, 100], 1, 2000)
    with pytest.raises(
        BadInput, match=r"stop_count_limit: .*squared returns could pass 2\*\*63 with 100 stops a day \(on 2024"
    ):
        planned(wild(market.DAYS), grid)


def test_squares_that_cannot_pass_2_to_63_are_computed():
    table = run_grid(PRICES, ParameterGrid(0.01, 30, 0, 50))
    assert table["stops"].item() > 50
    assert np.isfinite(table["sharpe_ratio"]).all()


def test_costs_count_for_what_squares_could_be():
    assert planned(rules=Rules(commission=1.0)).rules.commission == 1.0
    with pytest.raises(BadInput, match=r"2\*\*63"):
        planned(rules=Rules(commission=1e7))


def test_bars_and_prices_are_refused_in_one_run():
    closes = load_sessions(market.bars(ticker="OTHER"), "OTHER", bar=0)
    with pytest.raises(BadInput, match="sessions: some tickers are bars and some are prices; submit them as two runs"):
        planned(together(BARS, closes))
    assert len(planned(together(PRICES, closes)).inputs) == 2


def test_several_tickers_warn_of_the_span_of_their_prices():
    cheap = load_sessions(market.prices(ticker="CHEAP").assign(price=lambda found: found.price / 10), "CHEAP")
    with pytest.warns(
        UserWarning, match=r"distances are in dollars, but prices span 10\.\d\d \(CHEAP\) to 10\d\.\d\d \(TEST\)"
    ):
        make_plan(together(PRICES, cheap), GRID)


def test_one_ticker_warns_of_nothing():
    assert len(make_plan(PRICES, GRID, [300, 600])) == 2 * len(GRID)  # warnings are errors here


@pytest.mark.parametrize("bad", [{"stop_distance": 1}, None, [0.1], "grid"])
def test_what_is_no_grid_is_refused(bad):
    with pytest.raises(BadInput, match=f"grid: a {type(bad).__name__}; give an orb.ParameterGrid"):
        make_plan(PRICES, bad)


@pytest.mark.parametrize(
    "bad", [{}, "SPY", None, [PRICES], {"SPY": market.prices()}, market.prices()], ids=lambda b: type(b).__name__
)
def test_what_is_no_sessions_is_refused(bad):
    with pytest.raises(BadInput, match="sessions: "):
        make_plan(bad, GRID)


@pytest.mark.parametrize("bad", [{"commission": 0.1}, "default", 0.0005])
def test_what_is_no_rules_is_refused(bad):
    with pytest.raises(BadInput, match="rules: "):
        make_plan(PRICES, GRID, 300, bad)


def test_rules_are_resolved_in_a_plan():
    assert (planned(PRICES).rules.fill, planned(PRICES).rules.slippage) == ("seen", 0.0)
    assert (planned(BARS).rules.fill, planned(BARS).rules.slippage) == ("level", 0.01)


# Distances


def distances(whole, name):
    return day_distances(whole.inputs[0], whole.rules, name, getattr(whole.grid, name))


def test_dollars_become_increments_by_an_exact_ceiling():
    whole = planned(grid=ParameterGrid([0.07, 0.071, 0.29, 0.0001], 1, 0, [1, 1.15, None]))
    assert distances(whole, "stop_distance").tolist() == [[[7, 8, 29, 1]] * 2]
    assert distances(whole, "limit_distance").tolist() == [[[100, 115, NEVER]] * 2]


@pytest.mark.parametrize("anchor", ["opposite_edge", "opposite_entry"])
def test_a_stop_of_0_wants_an_anchor(anchor):
    grid = ParameterGrid([0.1, 0], 1, 0, 1)
    with pytest.raises(
        BadInput, match=r"^stop_distance: 0 from the entry price .*; give distances above 0, or a stop_"
    ):
        make_plan(PRICES, grid)
    whole = make_plan(PRICES, grid, rules=Rules(stop_anchor=anchor))
    assert distances(whole, "stop_distance").tolist() == [[[10, 0]] * 2]


def test_multiples_of_the_stop_end_at_a_million():
    grid, rules = ParameterGrid(0.1, 1, 0, [None, 1, 1e6]), Rules(limit_unit="R")
    assert distances(planned(grid=grid, rules=rules), "limit_distance").tolist() == [[[NEVER, 10**9, 10**15]] * 2]
    with pytest.raises(BadInput, match=r"^limit_distance: 1e\+07 R; give a million at the most, or None for no limit"):
        planned(grid=ParameterGrid(0.1, 1, 0, [None, 1, 1e7]), rules=rules)


@pytest.mark.parametrize("unit", ["percent", "range", "vix"])
def test_a_distance_in_another_unit_beyond_int32_increments_is_refused_in_that_unit(unit):
    grid = ParameterGrid([0.1, 1e9], 1, 0, 1)
    with pytest.raises(BadInput, match=rf"^stop_distance: 1000000000\.0 {unit} are beyond int32 increments of 0\.01"):
        planned(with_vix(13, 14, 15), grid, rules=Rules(stop_unit=unit))


@pytest.mark.parametrize(
    ("values", "said", "what"),
    [
        ((0.005, 1), {}, r"stop_distance: 0\.005 below TEST's increment of 0\.01 dollars: counted as one increment"),
        (([0.1, 0.001, 0.002], 1), {}, r"stop_distance: 2 of 3 values below TEST's increment"),
        ((1, [0.001, None]), {}, r"limit_distance: 0\.001 below|limit_distance: 1 of"),
        (([0.009, 0.02], 1), {"stop_unit": "percent"}, r"1 of 2 values below .* on some day: counted as one"),
        ((1, 0.001), {"limit_unit": "range"}, r"limit_distance: 0\.001 below .* on some day"),
    ],
)
def test_distances_finer_than_an_increment_warn_and_count_as_one(values, said, what):
    stops, limits = values
    with pytest.warns(UserWarning, match=what):
        whole = make_plan(PRICES, ParameterGrid(stops, 1, 0, limits), 300, Rules(**said))
    least = [distances(whole, name).min() for name in ("stop_distance", "limit_distance")]
    assert 1 in least
    assert min(least) == 1


@pytest.mark.parametrize("durations", [[60, 3600], [3600, 60]])
def test_distances_finer_than_an_increment_under_any_duration_warn(durations):
    grid, rules = ParameterGrid(0.03, 1, 0, 1), Rules(stop_unit="range")
    make_plan(PRICES, grid, 3600, rules)  # of which .03 are enough
    with pytest.warns(UserWarning, match=r"stop_distance: 0\.03 below"):
        make_plan(PRICES, grid, durations, rules)


def test_anchored_stops_and_multiples_of_the_stop_warn_of_nothing():
    rules = Rules(stop_anchor="opposite_edge", limit_unit="R")
    assert (
        len(make_plan(PRICES, ParameterGrid([0, 0.001], 1, 0, [0.001, None]), 300, rules)) == 4
    )  # warnings are errors


# Pools


def pooled(sessions, grid=GRID, durations=300, rules=None):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make_plan(sessions, grid, durations, rules, pool=True)


def test_a_pool_is_one_input_for_each_duration():
    whole = pooled(together(PRICES, OTHER), durations=[300, 600])
    assert [(item.ticker, item.duration) for item in whole.inputs] == [
        ("POOL:OTHER+TEST", 300),
        ("POOL:OTHER+TEST", 600),
    ]
    assert len(whole) == 2 * len(GRID)
    assert [(item.ticker, item.duration) for item in whole.members] == [
        (ticker, duration) for duration in (300, 600) for ticker in ("OTHER", "TEST")
    ]
    assert "POOL:OTHER+TEST" in repr(whole)


def test_a_pools_name_fits_its_column():
    sessions = {ticker: replace(PRICES, ticker=ticker) for ticker in (f"TICKER{i}" for i in range(12))}
    assert pooled(sessions).tickers == ("POOL:12",)


def test_a_pools_id_is_its_tickers_in_any_order_and_nobody_elses():
    both = together(PRICES, OTHER)
    expected = pooled(both).run_id
    assert pooled(together(OTHER, PRICES)).run_id == expected
    others = {
        "not pooled": planned(both),
        "a ticker less": pooled(PRICES),
        "alone": planned(PRICES),
        "another grid": pooled(both, ParameterGrid(0.1, 1, 0, 1)),
        "another duration": pooled(both, durations=600),
        "other rules": pooled(both, rules=Rules(commission=0.001)),
        "selected": pooled(both, rules=Rules(select=("weekday", "<", 4))),
        "other prices": pooled(together(PRICES, load_sessions(market.prices(ticker="OTHER", seed=4), "OTHER"))),
    }
    ids = [one.run_id for one in others.values()]
    assert expected not in ids
    assert len(set(ids)) == len(ids)
    assert pooled(both).family != planned(both).family
    assert pooled(together(OTHER, PRICES)).family == pooled(both).family


def test_the_dates_of_a_pool_decide_its_id():
    """The same selected days of one ticker, but dates of T on which none is selected."""
    vix = pd.Series([1, 0, 0], [pd.Timestamp(day) for day in market.DAYS], name="vix")
    rules = Rules(select=("vix", "==", 1))
    long, short = PRICES.join(vix), PRICES.join(vix.iloc[:2])  # NaN: not tradable
    plans = pooled(long, rules=rules), pooled(short, rules=rules)
    assert [len(one.inputs[0].days) for one in plans] == [3, 2]
    assert [len(one.members[0].days) for one in plans] == [1, 1]
    assert plans[0].run_id != plans[1].run_id


def test_every_ticker_that_cannot_be_pooled_is_named():
    short = {ticker: replace(PRICES, ticker=ticker) for ticker in ("AA", "BB", "CC")}
    with pytest.raises(BadInput, match=r"'atr' is missing on all of AA's 3 sessions; so it is with 2 others: BB, CC"):
        pooled(short, rules=Rules(stop_unit="atr"))


def test_sums_of_a_pool_that_could_pass_2_to_63_are_refused():
    dear = {
        ticker: load_sessions(market.prices(ticker=ticker).assign(price=lambda f: f.price * 3e4), ticker)
        for ticker in ("DEAR", "DEARER")
    }
    with pytest.raises(BadInput, match=r"sums and squares of POOL:DEAR\+DEARER could pass 2\*\*63"):
        pooled(dear, ParameterGrid(1, 10_000, 0, 1), rules=Rules(measure="dollars"))


def test_chunks_of_a_pool_are_long_enough_to_load_its_tickers_for():
    both, large = together(PRICES, OTHER), ParameterGrid(np.arange(1, 201) / 10, [1, 2], range(0, 600, 6), range(1, 51))
    alone, pool = (fit_chunks(one, 4, Best(10)) for one in (planned(both, large), pooled(both, large)))
    assert len(alone) == 2 * len(pool)
    assert pool.chunk_rows > alone.chunk_rows / 2
    assert sum(chunk.rows for chunk in pool.chunks()) == len(pool)
