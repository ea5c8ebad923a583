"""Folders and zips: which files are a ticker's, in which order their rows count, what is refused."""

import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import load_sessions
from orbresearch.errors import BadInput
from orbresearch.sources import load
from orbresearch.sources.files import files, folders, tables
from tests.sources import market
from tests.sources.test_load import write

BARS, PRICES = market.bars(), market.prices()
OTHER = market.prices(ticker="OTHER", seed=9)
BARE = PRICES.drop(columns="ticker")
EXPECTED = load_sessions(PRICES, "TEST")


def put(folder, name, frame):
    """Write a frame as the file of a folder, or as `zip!member`."""
    path, _, member = name.partition("!")
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    if not member:
        return write(frame, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, frame if isinstance(frame, str) else frame.to_csv(index=False))
    return path


def split(frame, parts=3):
    """Return a frame's rows in so many stretches."""
    return [frame.iloc[at] for at in np.array_split(np.arange(len(frame)), parts)]


def alike(found, expected=EXPECTED):
    """Assert that two Sessions hold the same prices and volumes."""
    assert found.ticker == expected.ticker
    assert found.series.hash == expected.series.hash
    if expected.volume is not None:
        np.testing.assert_array_equal(found.volume, expected.volume)


@pytest.fixture
def opened(monkeypatch):
    """Count the files that are read."""
    calls, really = [], folders.read_file

    def count(file, *more):
        calls.append(file.name)
        return really(file, *more)

    monkeypatch.setattr(folders, "read_file", count)
    return calls


NAMES = {
    "plain": ["TEST.csv"],
    "lower case": ["test.parquet"],
    "years": ["TEST_2022.csv", "TEST_2023.csv.gz", "TEST_2024.csv"],
    "dashes": ["TEST-1.parquet", "TEST-2.parquet", "TEST-3.parquet"],
    "dots and spaces": ["TEST 1.csv", "TEST 2.CSV", "TEST.bars.csv"],
    "a folder": ["TEST/2024-01.csv", "TEST/2024-02.csv", "TEST/2024-03.csv"],
    "a folder below": ["us/TEST/1.csv", "us/TEST/2/3.csv"],
    "one series in a folder": ["TEST/trades_1.csv", "TEST/trades_2.csv"],
    "months": ["TEST/2024jan.csv", "TEST/2024mar.csv", "TEST/2024may.csv"],
    "hive": ["ticker=TEST/a.parquet", "ticker=TEST/b.parquet"],
    "hive of writers": ["date=1/Ticker=test/part-0-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f.parquet"],
    "zips": ["TEST_1.zip!1.csv", "TEST_1.zip!2.csv", "TEST_2.zip!1.csv"],
    "zips in a folder": ["TEST/1.zip!a.csv", "TEST/2.zip!a.csv"],
    "members": ["all.zip!TEST.csv"],
}
OTHERS = [
    "TESTS.csv",
    "OTHER/2024.csv",
    "OTHER.csv",
    "ticker=OTHER/TEST.csv",
    "BEST_TEST.csv",
    "x/TEST.A.csv",
    "ATEST.csv",
]


@pytest.mark.parametrize("frame", [PRICES, BARS], ids=["prices", "bars"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_a_file_is_the_tickers_that_its_name_says(names, frame, tmp_path):
    for name, part in zip(names, split(frame.drop(columns="ticker"), len(names)), strict=True):
        put(tmp_path / "d", name, part)
    for name in OTHERS:
        put(tmp_path / "d", name, OTHER.drop(columns="ticker"))
    market.same(load_sessions(tmp_path / "d", "TEST"), load_sessions(frame, "TEST"))


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz"])
def test_files_with_a_ticker_column_are_filtered_whatever_their_names(kind, tmp_path, opened):
    for i, parts in enumerate(zip(split(PRICES), split(OTHER), strict=True)):
        mixed = pd.concat(parts).sort_values("timestamp_utc", kind="stable")
        put(tmp_path / "d", f"OTHER-{i}.{kind}", mixed)
    found = load_sessions(tmp_path / "d", ["TEST", "OTHER"])
    market.same(found["TEST"], EXPECTED)
    market.same(found["OTHER"], load_sessions(OTHER, "OTHER"))
    assert len(opened) == 3
    assert list(load_sessions(tmp_path / "d")) == ["OTHER", "TEST"]


def test_a_file_without_the_column_may_go_on_with_those_that_have_it(tmp_path):
    first, second, third = split(PRICES)
    put(tmp_path / "d", "1.csv", pd.concat([first, OTHER]))
    put(tmp_path / "d", "TEST.csv", second.drop(columns="ticker"))
    put(tmp_path / "d", "z.csv", third)
    market.same(load_sessions(tmp_path / "d", "TEST"), EXPECTED)
    assert list(load_sessions(tmp_path / "d")) == ["OTHER", "TEST"]


def test_hidden_files_and_files_of_other_kinds_are_ignored(tmp_path):
    put(tmp_path / "d", "TEST.csv", BARE)
    for name in ("README.md", ".TEST.csv", ".git/TEST.csv", "_SUCCESS", "TEST.xlsx", "__MACOSX/TEST.csv"):
        (tmp_path / "d" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_text("no prices")
    put(tmp_path / "d", "x.zip!__MACOSX/._TEST.csv", "no prices")
    put(tmp_path / "d", "x.zip!OTHER.csv", BARE)
    put(tmp_path / "d", "x.zip!TEST.txt", "no prices")
    market.same(load_sessions(tmp_path / "d", "TEST"), EXPECTED)


@given(cuts=st.lists(st.integers(0, len(PRICES)), max_size=5), down=st.booleans(), seed=st.integers(0, 9))
def test_a_file_in_pieces_is_the_file(cuts, down, seed, tmp_path_factory):
    """Descending or not, with several prices in a second, bits and empty pieces included."""
    rng = np.random.default_rng(seed)
    frame = BARE.assign(
        timestamp_utc=BARE["timestamp_utc"] // 30 * 30, price=BARE["price"].to_numpy()[rng.permutation(len(BARE))]
    )
    frame = frame.iloc[::-1] if down else frame
    folder = tmp_path_factory.mktemp("pieces")
    edges = [0, *sorted(cuts), len(frame)]
    for i in range(len(edges) - 1):
        put(folder, f"TEST_{i}.parquet", frame.iloc[edges[i] : edges[i + 1]])
    market.same(load_sessions(folder, "TEST", cache=False), load_sessions(frame, "TEST"))


@pytest.mark.parametrize("names", [["a", "b", "c"], ["c", "b", "a"]], ids=["days rise", "days fall"])
@pytest.mark.parametrize("form", ["TEST/{}.csv", "TEST.zip!{}.csv"])
def test_of_a_folder_of_descending_files_the_upper_of_two_rows_in_a_second_is_the_later(names, form, tmp_path):
    repeated = BARS.loc[BARS.index.repeat(2)].reset_index(drop=True)
    repeated.loc[1::2, "price"] = repeated.loc[1::2, "low"]  # the later of two
    for name, (_, day) in zip(names, repeated.groupby(repeated["timestamp_utc"] // 86_400), strict=True):
        put(tmp_path / "d", form.format(f"2024{ord(name)}"), day.iloc[::-1].drop(columns="ticker"))
    found, expected = load_sessions(tmp_path / "d", "TEST"), load_sessions(repeated, "TEST")
    alike(found, expected)
    assert found.quality["overruled"].tolist() == expected.quality["overruled"].tolist()
    assert found.quality["reordered"].sum() == 0
    said = (
        "3 of 3 files in descending order; each was reversed" if names[0] == "a" else "the file is in descending order"
    )
    assert f"notable: {said}" in found.quality.summary
    again = load_sessions(tmp_path / "d", "TEST")  # from the cache
    assert again.quality.findings == found.quality.findings


def test_files_in_any_order_are_sorted_by_time_and_that_is_said(tmp_path):
    for name, part in zip("cab", split(BARE), strict=True):
        put(tmp_path / "d", f"TEST_{name}.csv", part)
    found = load_sessions(tmp_path / "d", "TEST")
    alike(found)
    assert "time jumps back 1 time in the file" in found.quality.summary


def test_of_the_same_seconds_in_two_files_those_of_the_later_name_stand(tmp_path):
    put(tmp_path / "d", "TEST_1.csv", BARE)
    put(tmp_path / "d", "TEST_2.csv", BARE.iloc[:100].assign(price=77.0))
    found = load_sessions(tmp_path / "d", "TEST")
    assert found.quality["overruled"].sum() == 100
    assert (found.columns["price"][:100] == 7700).all()


def test_an_unknown_ticker_is_refused_with_the_first_ten_that_are_there(tmp_path):
    for i in range(12):
        put(tmp_path / "d", f"T{i:02d}_2024.csv", BARE.head(2))
    with pytest.raises(BadInput, match=r"folder d: no ticker 'TEST' in any .* it has T00, T01, .*, T09 and 2 more"):
        load_sessions(tmp_path / "d", "TEST")
    put(tmp_path / "e", "1.csv", PRICES)
    with pytest.raises(BadInput, match=r"folder e: no ticker 'SPY' .*it has TEST$"):
        load_sessions(tmp_path / "e", "SPY")
    put(tmp_path / "f", "SPY.csv", BARE.head(0))
    with pytest.raises(BadInput, match=r"folder f: no ticker 'SPY' .*it has SPY$"):
        load_sessions(tmp_path / "f", "SPY")


LISTED = {
    "by name": (["SPY_2023.csv", "SPY_2024.csv", "brk.b.csv", "QQQ/2024-03.csv"], ["QQQ", "SPY", "brk.b"]),
    "by folder": (["SPY/trades.csv", "QQQ/trades.csv"], ["QQQ", "SPY"]),
    "by hive": (["x/ticker=SPY/a.csv", "x/ticker=BRK%2FB/a.csv"], ["BRK/B", "SPY"]),
    "exchanges": (["nyse/IBM.csv", "nasdaq/AAPL.csv"], ["AAPL", "IBM"]),
    "years": (["2023/IBM.csv", "2024/IBM.csv"], ["IBM"]),
    "numbers": (["7203.csv", "6758.csv"], ["6758", "7203"]),
    "zips": (["SPY_2024.zip!1.csv", "QQQ.zip!1.csv"], ["QQQ", "SPY"]),
}


@pytest.mark.parametrize(("names", "tickers"), LISTED.values(), ids=LISTED)
def test_without_a_ticker_all_that_the_folder_names_are_loaded(names, tickers, tmp_path):
    for name in names:
        put(tmp_path / "d", name, BARE)
    found = load_sessions(tmp_path / "d")
    assert list(found) == tickers
    assert {one.ticker for one in found.values()} == set(tickers)


def test_without_a_ticker_all_of_a_file_are_loaded_and_one_that_names_none_is_refused(tmp_path):
    both = pd.concat([OTHER, PRICES])
    for source in (both, write(both, tmp_path / "p.csv"), write(both, tmp_path / "p.parquet")):
        found = load_sessions(source)
        assert list(found) == ["OTHER", "TEST"]
        market.same(found["TEST"], EXPECTED)
    for source in (BARE, write(BARE, tmp_path / "q.csv"), put(tmp_path, "q.zip!1.csv", BARE)):
        with pytest.raises(BadInput, match=r"it names no tickers; say what to call its own"):
            load_sessions(source)


def test_a_folder_of_initials_is_not_taken_for_a_ticker(tmp_path):
    for name in ("A/A.csv", "A/AAPL.csv", "M/MAR.csv", "M/M.csv"):
        put(tmp_path / "d", name, BARE if name[2:-4] in "AM" else BARE.assign(price=50.0))
    alike(load_sessions(tmp_path / "d", ["A"])["A"], load_sessions(BARE, "A"))
    alike(load_sessions(tmp_path / "d", "M"), load_sessions(BARE, "M"))
    put(tmp_path / "e", "A/AAPL.csv", BARE)
    put(tmp_path / "e", "A/AMZN.csv", BARE)
    with pytest.raises(BadInput, match=r"ticker A: folder 'A' holds files of different names \(A/AAPL\.csv, A/AMZN"):
        load_sessions(tmp_path / "e", "A")


def test_a_class_of_shares_is_no_file_of_the_other(tmp_path):
    for name in ("BRK.A.csv", "BRK.B_2024.csv"):
        put(tmp_path / "d", name, BARE)
    alike(load_sessions(tmp_path / "d", "brk.b"), load_sessions(BARE, "brk.b"))
    with pytest.raises(BadInput, match=r"no ticker 'BRK' .*it has BRK\.A, BRK\.B"):
        load_sessions(tmp_path / "d", "BRK")


DIFFERENT = {
    "columns": (
        "TEST_2.csv",
        BARE.assign(volume=1),
        r"file TEST_2\.csv: it has the columns price, timestamp_utc, volume",
    ),
    "kinds": ("TEST.parquet", BARE, r"file TEST_1\.csv: it is CSV, file TEST\.parquet is Parquet; give files of one"),
    "no time": ("TEST_2.csv", BARE[["price"]], r"file TEST_2\.csv: no column 'timestamp_utc'"),
    "no numbers": ("TEST_2.csv", BARE.assign(price="x"), r"file TEST_2\.csv, column 'price': row 0 is 'x'"),
    "symbols": ("TEST_2.csv", BARE.assign(Symbol="X"), r"file TEST_2\.csv: no column 'ticker', but one 'Symbol'"),
}


@pytest.mark.parametrize(("name", "frame", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_file_that_differs_from_the_others_is_refused_by_name(name, frame, message, tmp_path):
    put(tmp_path / "d", "TEST_1.csv", BARE)
    put(tmp_path / "d", name, frame)
    with pytest.raises(BadInput, match=message):
        load_sessions(tmp_path / "d", "TEST")


def test_files_that_say_different_things_of_their_stamps_are_refused(tmp_path):
    (tmp_path / "d").mkdir()
    write(BARS, tmp_path / "d" / "1.parquet", bar_label="bar start")
    write(BARS, tmp_path / "d" / "2.parquet", bar_label="bar END")
    with pytest.raises(BadInput, match=r"file 2\.parquet: its bars say they are stamped at their end, .*: start"):
        load_sessions(tmp_path / "d", "TEST")


def test_a_folder_without_prices_is_refused(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match=r"folder .*d: no file of prices in it; give a folder with Parquet, CSV or zip"):
        load_sessions(tmp_path / "d", "TEST")


def test_a_zip_with_one_csv_is_that_csv(tmp_path):
    path = put(tmp_path, "p.zip!whatever.csv", BARE)
    put(tmp_path, "p.zip!readme.txt", "no prices")
    market.same(load_sessions(path, "TEST"), EXPECTED)
    path = put(tmp_path, "Q.ZIP!in/a.csv", pd.concat([PRICES, OTHER]))
    assert list(load_sessions(path)) == ["OTHER", "TEST"]


@given(cuts=st.lists(st.integers(0, len(BARS)), min_size=1, max_size=3, unique=True))
def test_a_zip_of_numbered_pieces_is_the_file(cuts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zips")
    edges = [0, *sorted(cuts), len(BARS)]
    order = np.random.default_rng(len(cuts)).permutation(len(edges) - 1)  # names decide, not the order in the zip
    for i in order:
        put(folder, f"x.zip!part{i}.csv", BARS.iloc[edges[i] : edges[i + 1]].drop(columns="ticker"))
    market.same(load_sessions(folder / "x.zip", "TEST", cache=False), load_sessions(BARS, "TEST"))


def test_a_zip_of_several_tickers_is_not_mixed(tmp_path):
    put(tmp_path, "x.zip!AAPL.csv", BARE)
    path = put(tmp_path, "x.zip!SPY.csv", BARE.assign(price=5.0))
    alike(load_sessions(path, "AAPL"), load_sessions(BARE, "AAPL"))
    assert list(load_sessions(path)) == ["AAPL", "SPY"]
    with pytest.raises(BadInput, match=r"file x\.zip: no ticker 'QQQ' .*it has AAPL, SPY"):
        load_sessions(path, "QQQ")


def test_a_zip_that_cannot_be_read_is_refused(tmp_path):
    path = put(tmp_path, "x.zip!notes.txt", "no prices")
    with pytest.raises(BadInput, match=r"file x\.zip: no CSV file in the zip \(it has notes\.txt\)"):
        load_sessions(path, "TEST")
    zipfile.ZipFile(tmp_path / "y.zip", "w").close()
    with pytest.raises(BadInput, match=r"file y\.zip: no CSV file in the zip \(it is empty\)"):
        load_sessions(tmp_path / "y.zip", "TEST")
    (tmp_path / "z.zip").write_bytes(b"no zip at all")
    with pytest.raises(BadInput, match=r"file z\.zip: no readable zip \(File is not a zip file\)"):
        load_sessions(tmp_path / "z.zip", "TEST")
    path = put(tmp_path, "w.zip!a.csv", BARE)
    content = bytearray(path.read_bytes())
    content[200:220] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"file w\.zip/a\.csv: no readable CSV \("):
        load_sessions(path, "TEST")


def count_opened(monkeypatch):
    calls, really = [], load.read_rows
    monkeypatch.setattr(load, "read_rows", lambda *given: calls.append(given[1]) or really(*given))
    return calls


def test_a_ticker_is_read_again_when_one_of_its_own_files_changes_and_only_then(tmp_path, monkeypatch):
    reads, folder = count_opened(monkeypatch), tmp_path / "d"
    for i, part in enumerate(split(BARE)):
        put(folder, f"TEST/{i}.csv", part)
    put(folder, "SPY.csv", BARE)
    first = load_sessions(folder, "TEST")
    put(folder, "SPY.csv", BARE.head(500))
    put(folder, "QQQ.csv", BARE)
    market.same(load_sessions(str(folder), "TEST"), first)
    assert reads == ["TEST"]
    put(folder, "TEST/3.csv", BARE.tail(1))
    assert load_sessions(folder, "TEST").fingerprint != first.fingerprint
    (folder / "TEST/3.csv").unlink()
    assert load_sessions(folder, "TEST").fingerprint == first.fingerprint
    (folder / "TEST/2.csv").rename(folder / "TEST/4.csv")
    assert load_sessions(folder, "TEST").fingerprint != first.fingerprint  # the order of files may have changed
    assert reads == ["TEST"] * 3


def test_a_file_is_hashed_once_for_all_tickers_and_once_more_only_when_it_changed(tmp_path, monkeypatch):
    calls, really = [], files._hash_bytes
    monkeypatch.setattr(files, "_hash_bytes", lambda path: calls.append(path.name) or really(path))
    folder = tmp_path / "d"
    put(folder, "1.csv", pd.concat([PRICES, OTHER]))
    load_sessions(folder, ["TEST", "OTHER"])
    assert calls == ["1.csv"]  # so young a file is not trusted to stay, but for the length of a call
    monkeypatch.setattr(files, "_SETTLED_SECONDS", -5)
    for _ in range(3):
        load_sessions(folder, ["TEST", "OTHER"])
    assert calls == ["1.csv"] * 2
    age = (folder / "1.csv").stat().st_mtime_ns
    put(folder, "1.csv", pd.concat([OTHER, PRICES]))
    os.utime(folder / "1.csv", ns=(age, age))
    load_sessions(folder, "TEST")
    assert calls == ["1.csv"] * 3


def test_of_files_for_every_ticker_only_what_is_wanted_is_kept(tmp_path):
    put(tmp_path / "d", "1.parquet", pd.concat([PRICES, OTHER]))
    folder = folders.find_source(tmp_path / "d", tables.Reading(), ["TEST"])
    assert sum(part.table.num_rows for part in folder.parts_of("TEST")) == len(PRICES)
    assert [held.table.num_rows for held in folder._held.values()] == [len(PRICES)]
    assert folder.tickers == ["OTHER", "TEST"]
