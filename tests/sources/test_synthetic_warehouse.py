"""The synthetic warehouse: tables as researchers have them, with what makes those awkward; the same for everyone."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import sqlite3

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput, Corrupt, Unreachable
from orbresearch.sources.synthetic.greeks import GREEKS, day_close, day_rows, normal_below
from orbresearch.sources.synthetic.literals import to_sql, to_tsv, to_tuples
from orbresearch.sources.synthetic.market import days_of
from orbresearch.sources.synthetic.sessions import synthetic_schedule
from orbresearch.sources.synthetic.warehouse import ticker_names
from orbresearch.sql import loading
from tests.sources.standin import StandIn, url_of

NEW_YORK = "America/New_York"
ALL = f"SELECT {', '.join(GREEKS.names)} FROM options.greeks"
CLOSES = "SELECT * FROM stocks.daily_underlying ORDER BY ticker, date"


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def place(request, tmp_path):
    """Return where an empty warehouse may be made: its URL, and a function that opens it for reading."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new/warehouse.sqlite", lambda: StandIn(tmp_path / "new" / "warehouse.sqlite")
        return
    server = request.getfixturevalue("server")
    yield url_of(server), lambda: StandIn(server)
    for database in ("options", "stocks"):
        server.drop_database(database)


def day_of(ticker="SPY", date="2024-01-03", seed=0):
    schedule = synthetic_schedule(1, date)
    (day,) = days_of(seed, ticker, schedule)
    return day


def rows_of(ticker="SPY", date="2024-01-03", seed=0, per_second=30.0):
    """Return a day's rows, with `offset`: seconds since the open."""
    day = day_of(ticker, date, seed)
    frame = day_rows(seed, ticker, day, per_second).to_pandas(date_as_object=False)
    return frame.assign(offset=frame["timestamp_utc"] - day.opened), day


def in_session(frame, day):
    return frame[(frame["offset"] >= 0) & (frame["timestamp_utc"] <= day.closed)]


# --- rows


def test_a_session_has_about_thirty_rows_a_second():
    frame, day = rows_of()
    assert len(in_session(frame, day)) / 23_401 == pytest.approx(30, rel=0.03)
    assert len(in_session(*rows_of(per_second=5))) / 23_401 == pytest.approx(5, rel=0.05)


def test_rows_stand_in_time_order_on_the_real_calendar():
    for date, opened, closed in [
        ("2024-03-08", "09:30", "16:00"),  # winter time
        ("2024-03-11", "09:30", "16:00"),  # the first session of summer time
        ("2024-07-03", "09:30", "13:00"),  # half a day
    ]:
        frame, _ = rows_of(date=date, per_second=2)
        assert frame["timestamp_utc"].is_monotonic_increasing
        local = pd.to_datetime(frame["timestamp_utc"], unit="s", utc=True).dt.tz_convert(NEW_YORK)
        day = pd.Timestamp(date, tz=NEW_YORK)
        busy = local[(local >= day + pd.Timedelta(f"{opened}:00")) & (local <= day + pd.Timedelta(f"{closed}:00"))]
        assert len(busy) / len(local) > 0.95
        assert 0 < (local < busy.iloc[0]).sum() < len(local) / 20  # before the open
        assert 0 < (local > busy.iloc[-1]).sum() < len(local) / 20  # after the close


def test_about_a_quarter_of_the_seconds_has_no_rows_and_some_sessions_have_a_gap():
    shares, gaps, late = [], [], []
    for day in days_of(0, "SPY", synthetic_schedule(12, "2024-01-02")):
        times = day_rows(0, "SPY", day, 1.0)["timestamp_utc"].to_numpy()
        times = np.unique(times[(times >= day.opened) & (times <= day.closed)])
        shares.append(len(times) / (day.closed - day.opened + 1))
        gaps.append(np.diff(times).max())
        late.append(times[0] - day.opened)
    assert np.mean(shares) == pytest.approx(0.75, abs=0.01)
    assert 2 < sum(np.array(gaps) > 60) < 12
    assert 0 < sum(np.array(late) > 3) < 9


def test_a_third_of_the_seconds_shows_several_prices_in_the_order_of_time():
    frame, day = rows_of()
    inside = in_session(frame, day)
    prices = inside.groupby("offset")["underlying"].nunique()
    assert prices.between(2, 3).mean() == pytest.approx(1 / 3, abs=0.06)
    assert prices.max() == 3
    runs = inside["underlying"].ne(inside["underlying"].shift()) | inside["offset"].ne(inside["offset"].shift())
    assert (runs.groupby(inside["offset"]).sum() <= 3).all()  # no price comes back in between


def test_a_seconds_rows_are_different_options():
    frame, _ = rows_of()
    frame["put"] = frame["delta"] < 0
    known = frame.dropna()
    twice = known.duplicated(["offset", "underlying", "strike", "expiration", "put"])
    assert twice.sum() < 0.001 * len(known)  # a few of the rows whose delta is a zero


def test_strikes_lie_around_the_price_and_expiries_are_the_friday_and_the_monthly_one():
    frame, _ = rows_of()
    away = frame["strike"] / frame["underlying"] - 1
    assert away.abs().max() < 0.06
    assert abs(away.mean()) < 0.002
    assert frame["strike"].nunique() >= 15
    assert set(frame["expiration"]) == {pd.Timestamp("2024-01-05"), pd.Timestamp("2024-01-19")}


@pytest.mark.parametrize(
    ("date", "near", "far"),
    [
        ("2024-01-16", "2024-01-19", "2024-02-16"),  # the week of the monthly expiry
        ("2024-01-19", "2024-01-19", "2024-02-16"),
        ("2024-12-23", "2024-12-27", "2025-01-17"),
        ("2024-03-25", "2024-03-28", "2024-04-19"),  # before Good Friday
        ("2022-04-13", "2022-04-14", "2022-05-20"),  # before one that is a third Friday
    ],
)
def test_expiries_move_on_with_the_year_and_before_holidays(date, near, far):
    frame, _ = rows_of(date=date, per_second=1)
    assert set(frame["expiration"]) == {pd.Timestamp(near), pd.Timestamp(far)}


def test_deltas_are_those_of_black_and_scholes():
    frame, day = rows_of("SYN001")
    known = frame[(frame["implied_volatility"] > 0) & (frame["offset"] > 0)].sample(400, random_state=0)
    days = (known["expiration"] - pd.Timestamp(day.label)).dt.days
    years = (days * 86_400 + day.closed - known["timestamp_utc"]).clip(lower=600) / (365.25 * 86_400)
    for row, left in zip(known.itertuples(), years, strict=True):
        spread = row.implied_volatility * math.sqrt(left)
        d1 = math.log(row.underlying / row.strike) / spread + spread / 2
        call = (1 + math.erf(d1 / math.sqrt(2))) / 2
        assert min(abs(row.delta - call), abs(row.delta - (call - 1))) < 1e-4
    assert (known["delta"] < 0).mean() == pytest.approx(0.5, abs=0.1)


def test_the_normal_distribution_is_right_to_seven_digits():
    points = np.linspace(-8, 8, 4001)
    right = [(1 + math.erf(x / math.sqrt(2))) / 2 for x in points]
    assert np.abs(normal_below(points) - right).max() < 1e-7


def test_implied_volatility_smiles():
    frame, _ = rows_of("SYN001")
    known = frame[(frame["implied_volatility"] > 0) & (frame["expiration"] == "2024-01-05")]
    mean = known.groupby(pd.cut(known["strike"] / known["underlying"] - 1, 5), observed=True)
    low, *_, middle, _, high = [mean["implied_volatility"].mean().iloc[i] for i in (0, 1, 2, 3, 4)]
    assert low > 1.1 * middle
    assert low > high > 0.9 * middle


def test_few_rows_have_no_numbers_or_zeros():
    frame, _ = rows_of()
    assert 0 < frame["delta"].isna().mean() < 0.002
    assert frame["delta"].isna().equals(frame["implied_volatility"].isna())
    assert 0 < (frame["implied_volatility"] == 0).mean() < 0.002
    assert frame[["timestamp_utc", "underlying", "strike", "expiration"]].notna().all(axis=None)
    cents = 100 * frame["underlying"]
    assert (abs(cents - cents.round()) < 1e-6).all()


# --- the market


def test_a_day_is_the_same_whatever_else_is_asked_for():
    long = synthetic_schedule(30, "2024-01-02")
    late = synthetic_schedule(3, str(long.labels[20]))
    for ticker in ("SPY", "SYN001"):
        one, other = list(days_of(3, ticker, long))[20], next(days_of(3, ticker, late))
        assert one == other
        assert day_rows(3, ticker, one, 2.0).equals(day_rows(3, ticker, other, 2.0))


def test_the_rows_are_the_same_on_any_machine():
    rows = day_rows(7, "SYN002", day_of("SYN002", seed=7), 1.0)
    assert rows.num_rows == FIXED["rows"]
    assert rows["underlying"].to_pylist()[::6000] == FIXED["underlying"]
    assert rows["implied_volatility"].to_pylist()[::6000] == FIXED["volatility"]


def test_tickers_seeds_and_dates_differ():
    prices = [
        rows_of(*what, per_second=1)[0]["underlying"].mean()
        for what in [("SPY",), ("SYN001",), ("SYN002",), ("SPY", "2024-01-04"), ("SPY", "2024-01-03", 1)]
    ]
    assert len(set(prices)) == 5


def closes_of(ticker, seed, count=600):
    days = list(days_of(seed, ticker, synthetic_schedule(count, "2021-01-04")))
    return np.array([day.start for day in days]), np.array([day.start * (1 + day.move) for day in days])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_days_are_correlated_with_the_market_as_their_character_says(seed):
    market = np.diff(np.log(closes_of("SPY", seed)[1]))
    found = [np.corrcoef(np.diff(np.log(closes_of(name, seed)[1])), market)[0, 1] for name in ticker_names(12)[1:]]
    assert max(found) > 0.6
    assert max(found) - min(found) > 0.3
    assert max(found) < 0.99


def test_seconds_are_correlated_with_the_market_as_well():
    def minutes(ticker):
        frame, day = rows_of(ticker, per_second=1)
        inside = in_session(frame, day)
        return np.log(inside.groupby(inside["offset"] // 60)["underlying"].last()).diff()

    found = [minutes("SPY").corr(minutes(name)) for name in ticker_names(8)[1:]]
    assert max(found, key=abs) > 0.5


def test_nothing_is_to_be_earned():
    """Returns of an hour tell nothing of the next hour's, the day nothing of the night's: |t| of 400 days below 4."""
    first, second, nights, days = [], [], [], []
    for ticker in ("SPY", "SYN001", "SYN002", "SYN003"):
        found = list(days_of(5, ticker, synthetic_schedule(100, "2021-01-04")))
        for day in found:
            rows = day_rows(5, ticker, day, 1.0)
            times, prices = rows["timestamp_utc"].to_numpy(), rows["underlying"].to_numpy()
            hours = np.searchsorted(times, [day.opened, day.opened + 3600, day.closed])
            early, mid, late = prices[np.minimum(hours, len(prices) - 1)]
            first.append((mid - early) / day.start)
            second.append((late - mid) / day.start)
        days += [day.move for day in found[:-1]]
        nights += [later.start / (day.start * (1 + day.move)) - 1 for day, later in itertools.pairwise(found)]
    for before, after in ((first, second), (days, nights)):
        assert abs(np.corrcoef(before, after)[0, 1]) * math.sqrt(len(before)) < 4
        bet = np.sign(before) * after
        assert abs(bet.mean() / bet.std() * math.sqrt(len(bet))) < 4


def test_a_day_ends_where_it_was_to_end_and_the_close_is_its_last_price():
    frame, day = rows_of("SYN003", per_second=4)
    assert frame["underlying"].iloc[-1] == pytest.approx(day.start * (1 + day.move), rel=2e-3)
    rows = day_rows(0, "SYN003", day, 4.0)
    assert day_close(rows, day) == in_session(frame, day)["underlying"].iloc[-1]


# --- text


def tiny():
    columns = [[1, 2], ["A B", "C.D"], [10.5, 1e-7], [10.0, 2.0], [dt.date(2024, 1, 5)] * 2, [-0.5, None], [None, 0.0]]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, GREEKS, strict=True)], schema=GREEKS
    )


def test_rows_become_text_and_tuples():
    assert bytes(to_tsv(tiny())).decode().splitlines() == [
        "1\tA B\t10.5\t10\t2024-01-05\t-0.5\t\\N",
        "2\tC.D\t1e-7\t2\t2024-01-05\t\\N\t0",
    ]
    assert to_sql(tiny())[0] == "(1,'A B',10.5,10,'2024-01-05',-0.5,NULL)"
    assert to_tuples(tiny())[1] == (2, "C.D", 1e-7, 2.0, "2024-01-05", None, 0.0)
    assert bytes(to_tsv(tiny().slice(0, 0))) == b""


# --- the warehouse


def same_rows(found, ticker, dates, per_second):
    """Compare a table's rows of a ticker with those that were generated."""
    wanted = pd.concat([rows_of(ticker, date, 3, per_second)[0].drop(columns="offset") for date in dates])
    found = found[found["ticker"] == ticker].assign(expiration=pd.to_datetime(found["expiration"]))
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), wanted.reset_index(drop=True), check_dtype=False, check_exact=True
    )


def test_a_warehouse_holds_the_market_and_grows(place):
    url, reader = place
    first = orb.synthetic_warehouse(url, 2, 1, seed=3, per_second=1)
    assert first["ticker"].tolist() == ["SPY", "SYN001"]
    assert first["sessions"].tolist() == [1, 1]
    again = orb.synthetic_warehouse(url, 2, 1, seed=3, per_second=1)
    assert again["rows"].tolist() == [0, 0]
    more = orb.synthetic_warehouse(url, ["SYN001", "BRK.B"], 2, seed=3, per_second=1)
    assert more["sessions"].tolist() == [1, 2]
    warehouse = reader()
    found, closes = warehouse.query(ALL), warehouse.query(CLOSES)
    assert len(found) == first["rows"].sum() + more["rows"].sum()
    for ticker, dates in {"SPY": ["2024-01-02"], "BRK.B": ["2024-01-02", "2024-01-03"]}.items():
        same_rows(found, ticker, dates, 1.0)
    assert closes["ticker"].tolist() == ["BRK.B", "BRK.B", "SPY", "SYN001", "SYN001"]
    assert closes["date"].astype(str).tolist() == ["2024-01-02", "2024-01-03", "2024-01-02", "2024-01-02", "2024-01-03"]
    frame, day = rows_of("BRK.B", "2024-01-03", 3, 1.0)
    assert closes["close_price"][1] == in_session(frame, day)["underlying"].iloc[-1]


def test_another_market_is_not_mixed_in(place):
    url, reader = place
    orb.synthetic_warehouse(url, 1, 1, seed=3, per_second=1)
    for other in ({"seed": 4, "per_second": 1}, {"seed": 3, "per_second": 2}):
        with pytest.raises(BadInput, match="it holds the synthetic market of orbresearch, seed 3, 1 rows/s"):
            orb.synthetic_warehouse(url, 1, 1, **other)
    assert len(reader().query(CLOSES)) == 1


@pytest.mark.mysql
def test_nothing_is_added_to_real_prices_on_a_server(server):
    server.create_database("options")
    try:
        server.run("CREATE TABLE options.greeks (timestamp_utc INT, ticker VARCHAR(16))")
        with pytest.raises(BadInput, match="something else than a synthetic market"):
            orb.synthetic_warehouse(url_of(server), 1, 1)
        assert server.run("SELECT COUNT(*) FROM options.greeks") == ((0,),)
    finally:
        server.drop_database("options")
        server.drop_database("stocks")


def test_nothing_is_added_to_real_prices_in_a_file(tmp_path):
    with sqlite3.connect(tmp_path / "real.sqlite") as connection:
        connection.execute("CREATE TABLE daily_underlying (ticker, date, close_price)")
    connection.close()
    with pytest.raises(BadInput, match="something else than a synthetic market"):
        orb.synthetic_warehouse(f"sqlite:///{tmp_path}/real.sqlite", 1, 1)
    connection = sqlite3.connect(tmp_path / "real.sqlite")
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("daily_underlying",)]
    connection.close()


@pytest.mark.mysql
def test_where_loading_is_refused_rows_are_inserted(server, monkeypatch):
    def refuse(*_):
        raise loading.LoadRefused("not here")

    monkeypatch.setattr(loading, "load_rows", refuse)
    monkeypatch.setenv("SQL_PASSWORD", server.password)
    try:
        orb.synthetic_warehouse(f"mysql://{server.username}@{server.host}:{server.port}", 1, 1, seed=3, per_second=1)
        same_rows(StandIn(server).query(ALL), "SPY", ["2024-01-02"], 1.0)
    finally:
        server.drop_database("options")
        server.drop_database("stocks")


@pytest.mark.mysql
def test_a_session_is_there_whole_or_not_at_all(server, monkeypatch):
    whole = loading.load_rows

    def fail(connection, *rest):
        whole(connection, *rest)
        raise Corrupt("rows", "not what they were")

    url = url_of(server)
    try:
        monkeypatch.setattr(loading, "load_rows", fail)
        with pytest.raises(Corrupt):
            orb.synthetic_warehouse(url, 1, 1, per_second=1)
        monkeypatch.undo()
        assert StandIn(server).query("SELECT COUNT(*) AS n FROM options.greeks")["n"][0] == 0
        assert len(StandIn(server).query(CLOSES)) == 0
        assert orb.synthetic_warehouse(url, 1, 1, per_second=1)["sessions"].tolist() == [1]
    finally:
        server.drop_database("options")
        server.drop_database("stocks")


@pytest.mark.mysql
def test_the_password_is_never_shown(server):
    with pytest.raises(Unreachable) as caught:
        orb.synthetic_warehouse(f"mysql://orb:wrong-secret@{server.host}:{server.port}", 1, 1)
    assert "wrong-secret" not in f"{caught.value!r} {caught.value}"
    assert "SQL_PASSWORD" in str(caught.value)


@pytest.mark.mysql
def test_a_right_that_is_missing_is_named(server):
    server.run("CREATE USER reader@'%' IDENTIFIED BY 'reads'")
    server.run("GRANT ALL ON options.* TO reader@'%'")
    try:
        with pytest.raises(Unreachable, match=r"GRANT ALL ON stocks\.\* TO 'reader'"):
            orb.synthetic_warehouse(f"mysql://reader:reads@{server.host}:{server.port}", 1, 1)
    finally:
        server.run("DROP USER reader@'%'")
        server.drop_database("options")


@pytest.mark.parametrize("url", ["", None, 3, "warehouse.sqlite", "sqlite://", "mysql://", "mysql://a:secret@b/prices"])
def test_a_url_that_names_no_warehouse_is_refused(url, monkeypatch):
    for name in ("HOSTNAME", "USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"SQL_{name}", "real-prices")
    with pytest.raises(BadInput, match='give "mysql://user@host:port"') as caught:
        orb.synthetic_warehouse(url, 1, 1)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tickers": 0}, "tickers"),
        ({"tickers": True}, "tickers"),
        ({"tickers": []}, "tickers"),
        ({"tickers": "SPY"}, "tickers"),
        ({"tickers": ["SPY", "spy"]}, "tickers"),
        ({"tickers": ["it's"]}, "tickers"),
        ({"tickers": ["A\tB"]}, "tickers"),
        ({"tickers": ["X" * 17]}, "tickers"),
        ({"sessions": 0}, "sessions"),
        ({"seed": -1}, "seed"),
        ({"start": "2019-12-01"}, "start"),
        ({"start": "soon"}, "start"),
        ({"per_second": 0.5}, "per_second"),
        ({"per_second": float("nan")}, "per_second"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, changes, what):
    with pytest.raises(BadInput) as caught:
        orb.synthetic_warehouse(f"sqlite:///{tmp_path}/w.sqlite", **{"tickers": 1, "sessions": 1, **changes})
    assert caught.value.what == what
    assert not (tmp_path / "w.sqlite").exists()


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "w.sqlite").write_text("notes" * 100)
    with pytest.raises(Unreachable, match="no SQLite file"):
        orb.synthetic_warehouse(f"sqlite:///{tmp_path}/w.sqlite", 1, 1)
    assert (tmp_path / "w.sqlite").read_text() == "notes" * 100


FIXED = {
    "rows": 23_464,
    "underlying": [111.33, 111.53, 111.37, 111.21],
    "volatility": [0.2338, 0.2359, 0.2355, 0.237],
}
