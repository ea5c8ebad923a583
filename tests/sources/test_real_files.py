"""Real prices, written out in every form that is read: the same sessions come out of all."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from orbresearch import load_sessions
from orbresearch.sources.files.tables import open_table
from tests.sources import lean, market
from tests.sources.test_folders import put

#: file, tickers, options
REAL = {
    "spy": ("spy_1min_2024_2025", ["SPY"], {"stamp": "start"}),
    "upro": ("upro_1min_2020", ["UPRO"], {"stamp": "start"}),
    "descending": ("eqker_1min_2019_24tickers", ["AAPL", "TSLA"], {"stamp": "end"}),
    "wide": ("imperial_1min_2026_530tickers", ["A", "AAPL", "SPY"], {"stamp": "start"}),
    "vix": ("vix_1min_2023_2026", ["VIX"], {"stamp": "end"}),
    "ticks": ("lean_tick_trades_dev", ["BAC"], {}),
}


@pytest.fixture(scope="module", params=REAL.values(), ids=REAL)
def real(request):
    """Return rows of a real file in its order, and the sessions that come of it."""
    from tests.conftest import MARKET_DATA

    name, tickers, options = request.param
    if not MARKET_DATA.is_dir():
        pytest.skip("real market data are not at shared/data beside the project")
    frame = open_table(MARKET_DATA / f"{name}.parquet").table.to_pandas()
    frame = frame[frame["ticker"].isin(tickers)].astype({"ticker": str}).groupby("ticker").head(60_000)
    expected = load_sessions(frame, tickers, cache=False, **options)
    return frame.reset_index(drop=True), expected, options


def agrees(source, real, **more):
    """Assert that a source holds what the file held."""
    _, expected, options = real
    found = load_sessions(source, list(expected), cache=False, **{**options, **more})
    for ticker, one in expected.items():
        assert found[ticker].series.hash == one.series.hash
        assert (found[ticker].volume is None) == (one.volume is None)
        assert one.volume is None or (found[ticker].volume == one.volume).all()
        pd.testing.assert_series_equal(found[ticker].quality["rows"], one.quality["rows"])


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet", "p.zip!p.csv"])
def test_a_file(name, real, tmp_path):
    agrees(put(tmp_path, name, real[0]), real)


def test_a_file_of_another_country_in_capitals(real, tmp_path):
    frame = real[0].rename(columns=str.upper).rename(columns={"PRICE": "Close"})
    (tmp_path / "p.csv").write_text("\ufeff" + frame.to_csv(index=False, sep=";", lineterminator="\r\n"))
    agrees(tmp_path / "p.csv", real)


def days_of(frame):
    stamps = frame["timestamp_utc"]
    unit = 10**9 if stamps.max() > 10**12 else 1
    return pd.to_datetime(stamps // unit, unit="s").dt.strftime("%Y-%m")


@pytest.mark.parametrize("form", ["{}_{}.csv", "{}/{}.parquet", "ticker={}/{}.csv", "{}.zip!{}.csv"])
def test_a_folder_of_months(form, real, tmp_path):
    for (ticker, month), rows in real[0].groupby(["ticker", days_of(real[0])], sort=False):
        put(tmp_path / "d", form.format(ticker.lower(), month), rows.drop(columns="ticker"))
    agrees(tmp_path / "d", real)


def test_a_folder_of_days_with_all_tickers(real, tmp_path):
    for month, rows in real[0].groupby(days_of(real[0])):
        put(tmp_path / "d", f"{month}.parquet", rows)
    agrees(tmp_path / "d", real)


def test_a_date_and_a_time_apart(real, tmp_path):
    frame = real[0]
    stamps = frame["timestamp_utc"] // (10**9 if frame["timestamp_utc"].max() > 10**12 else 1)
    clock = pd.to_datetime(stamps, unit="s", utc=True).dt.tz_convert(lean.NEW_YORK)
    apart = frame.drop(columns="timestamp_utc").assign(
        Date=clock.dt.strftime("%Y-%m-%d"), Time=clock.dt.strftime("%H:%M:%S")
    )
    columns = {"timestamp_utc": ("Date", "Time")}
    agrees(put(tmp_path, "p.csv", apart), real, columns=columns, tz=lean.NEW_YORK)


LEAN = [
    ("lean_minute_trades_dev", "minute", 60),
    ("lean_second_trades_dev", "second", 1),
    ("lean_tick_trades_dev", "tick", 0),
]


@pytest.mark.parametrize(("name", "resolution", "bar"), LEAN, ids=["minute", "second", "tick"])
def test_a_lean_folder(name, resolution, bar, market_data, tmp_path):
    frame = pq.read_table(market_data / f"{name}.parquet").to_pandas().astype({"ticker": str})
    frame = frame[frame["ticker"].isin(["SPY", "BAC", "IBM"])].rename(columns={"cond": "condition"})
    if resolution == "tick":
        frame = frame.groupby("ticker").head(300_000)
        frame = frame.assign(suspicious=frame["suspicious"].astype(int), timestamp_utc=frame["timestamp_utc"] / 1e9)
        frame["timestamp_utc"] = (frame["timestamp_utc"] * 1000).round() / 1000
    for ticker, rows in frame.groupby("ticker"):
        lean.write(tmp_path, resolution, ticker, rows.reset_index(drop=True))
    kept = frame[frame["suspicious"] == 0] if resolution == "tick" else frame
    found = load_sessions(tmp_path, layout="quantconnect", bar=bar, cache=False)
    assert sorted(found) == sorted(frame["ticker"].unique())
    options = {"stamp": "start"} if bar else {}
    for ticker, one in found.items():
        expected = load_sessions(kept[kept["ticker"] == ticker], ticker, bar=bar, **options)
        assert one.series.hash == expected.series.hash
        assert (one.volume == expected.volume).all()


def test_greeks_have_the_price_of_their_underlying(market_data):
    path = market_data / "greeks_spy_0dte_10s_2025_dev.parquet"
    plain = load_sessions(path, "SPY", cache=False)
    said = load_sessions(path, "SPY", columns={"price": "underlying"}, cache=False)
    market.same(plain, said)
