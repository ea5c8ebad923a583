"""Every notebook is thin, carries no outputs and runs under papermill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import orbresearch as orb
from orbresearch.analysis.verdict import MIME
from orbresearch.sources.synthetic.sessions import synthetic_prices, synthetic_schedule
from tests.servers_redis import fresh_redis

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin_and_stripped(path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert "parameters" in code[0]["metadata"]["tags"]
    assert len(cells(path)) <= 20
    for cell in code:
        source = "".join(cell["source"])
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert len(source.splitlines()) <= 15
        assert "def " not in source


def papermill(name: str, folder: Path, home: Path, **parameters: object) -> str:
    """Execute a notebook as a batch would; return all text that it put out."""
    executed = folder / f"executed_{name}"
    given = {key: str(value) if isinstance(value, Path) else value for key, value in parameters.items()}
    arguments = ["-y", json.dumps(given)] if given else []
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / name), str(executed), "--cwd", str(folder)]
    environ = {**os.environ, "ORB_HOME": str(home), "PYTHONWARNINGS": "default"}
    done = subprocess.run([*command, "-k", "python3", *arguments], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [output for cell in cells(executed) for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    return json.dumps(outputs)


@pytest.mark.slow
def test_the_quickstart_runs_on_the_synthetic_market(tmp_path, own_home):
    said = papermill("01_quickstart.ipynb", tmp_path, own_home, SESSIONS=60)
    assert "9,747 of 9,747 backtests" in said
    assert "holoviews_exec" in said


@pytest.mark.slow
def test_the_quickstart_runs_on_real_prices(tmp_path, own_home, market_data):
    prices = market_data / "spy_1min_2024_2025.parquet"
    said = papermill("01_quickstart.ipynb", tmp_path, own_home, PRICES=prices, TICKER="SPY", BAR=60, STAMP="start")
    assert "256 sessions 2024-03-26" in said
    assert "9,747 of 9,747 backtests" in said
    assert "holoviews_exec" in said


@pytest.mark.slow
def test_prices_are_collected_from_a_synthetic_warehouse(tmp_path, own_home):
    said = papermill("02_prices_and_ranges.ipynb", tmp_path, own_home, SESSIONS=3, END="2024-01-04", PER_SECOND=1)
    assert re.search(r"Returned \d+ rows of data in \d+\.\d\d seconds\.", said)
    assert "holoviews_exec" in said
    assert {"SPY", "SYN001", "SYN002"} == {path.name.split("-")[0] for path in (own_home / "cached_data").iterdir()}


@pytest.mark.slow
def test_the_published_studies_run_on_the_synthetic_market(tmp_path, own_home):
    said = papermill("05_published_studies.ipynb", tmp_path, own_home, SESSIONS=40)
    assert "40 sessions 2024-01-02" in said
    assert "holoviews_exec" in said
    assert "prices" in said


@pytest.mark.slow
def test_the_published_studies_run_on_real_prices(tmp_path, own_home, market_data):
    prices = market_data / "spy_1min_2024_2025.parquet"
    said = papermill(
        "05_published_studies.ipynb", tmp_path, own_home, PRICES=prices, TICKER="SPY", BAR=60, STAMP="start"
    )
    assert "256 sessions 2024-03-26" in said
    assert "holoviews_exec" in said
    assert "farther" in said


def assert_monitored(said: str, folder: Path) -> None:
    """Assert that all of the notebook's 1,260 backtests are stored, and shown so by a cell that came long before."""
    assert said.count("complete, 1,260 of 1,260 backtests") >= 2
    assert "backtests are left to a later day" in said
    assert "'status': 'SUCCESS'" in said
    assert pq.read_metadata(folder / "highest.parquet").num_rows == 1000


@pytest.mark.slow
def test_a_run_is_monitored_on_the_synthetic_market(tmp_path, own_home):
    said = papermill("03_run_and_monitor.ipynb", tmp_path, own_home, SESSIONS=40, LARGEST=0.4, WORKERS=1)
    assert_monitored(said, tmp_path)
    assert "embedded Redis" in said
    assert "results.sqlite" in said


@pytest.mark.slow
def test_a_run_is_monitored_on_real_prices(tmp_path, own_home, market_data):
    prices = market_data / "spy_1min_2024_2025.parquet"
    given = {"PRICES": prices, "TICKER": "SPY", "BAR": 60, "STAMP": "start", "END": "2024-06-28"}
    assert_monitored(papermill("03_run_and_monitor.ipynb", tmp_path, own_home, LARGEST=0.4, **given), tmp_path)


def grid_file(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(
        "stop_distance: {start: .25, stop: 1.5, step: .25}\nstop_count_limit: 2\n"
        "stop_cooloff_period: [0, 60]\nlimit_distance: [1, 2, null]\n"
    )
    return path


def told(book: Path) -> dict:
    """Return the outcome that an executed notebook tells."""
    [found] = [
        one["data"][MIME] for cell in cells(book) for one in cell.get("outputs", []) if MIME in one.get("data", {})
    ]
    return found


@pytest.mark.slow
def test_results_are_judged_on_the_synthetic_market(tmp_path, own_home):
    saved = tmp_path / "rows.parquet"
    said = papermill(
        "04_results_and_verdict.ipynb", tmp_path, own_home, SESSIONS=60, GRID_FILE=grid_file(tmp_path), SAVE_AS=saved
    )
    assert "30 backtests" in said
    assert "Reality Check p = " in said
    assert "leverage" in said
    assert said.count("holoviews_exec") >= 7
    outcome = told(tmp_path / "executed_04_results_and_verdict.ipynb")
    assert outcome["tickers"] == ["SPY"]
    assert outcome["sessions"] == 60
    rows = pd.read_parquet(saved)
    assert len(rows) == 30
    assert outcome["sharpe_ratio"] == pytest.approx(rows["sharpe_ratio"].max())


@pytest.mark.slow
def test_results_are_judged_on_real_bars_of_which_only_the_best_are_kept(tmp_path, own_home, market_data):
    said = papermill(
        "04_results_and_verdict.ipynb",
        tmp_path,
        own_home,
        SOURCE=market_data / "spy_1min_2024_2025.parquet",
        READING={"bar": 60, "stamp": "start"},
        DURATIONS=[300, 900],
        GRID_FILE=grid_file(tmp_path),
        KEEP=10,
    )
    assert "256 sessions 2024-03-26" in said
    assert "with each bar's extremes in the other order" in said
    assert (
        "30 backtests, unresolved ones and those that traded seldom among them" in said
    )  # of one duration, from the summary
    assert told(tmp_path / "executed_04_results_and_verdict.ipynb")["sessions"] == 256


def prices_of(folder: Path, tickers: list[str]) -> Path:
    """Write a file of one-second prices."""
    schedule = synthetic_schedule(40, "2024-01-02")
    made = [synthetic_prices(schedule, seed) for seed in range(len(tickers))]
    parts = [
        pd.DataFrame({"timestamp_utc": time, "ticker": name, "price": price})
        for name, (time, price) in zip(tickers, made, strict=True)
    ]
    pd.concat(parts).to_parquet(folder / "prices.parquet")
    return folder / "prices.parquet"


@pytest.mark.slow
def test_a_batch_ranks_its_tickers_and_one_that_fails_stops_no_other(tmp_path, own_home):
    said = batch(tmp_path, own_home)
    assert "NOPE: FAILED: BadInput: " in said
    check_batch(tmp_path)
    assert {*orb.runs()["tickers"]} == {"AAA", "BBB"}


@pytest.mark.slow
@pytest.mark.mysql
def test_a_run_is_monitored_on_a_redis_and_a_mysql_of_ones_own(tmp_path, own_home, server, monkeypatch):
    database = server.create_database()
    with fresh_redis() as redis:
        found = {**server.settings(database).to_environ(), **redis.settings.to_environ()}
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        said = papermill("03_run_and_monitor.ipynb", tmp_path, own_home, SESSIONS=40, LARGEST=0.4, WORKERS=2)
    assert_monitored(said, tmp_path)
    assert f"Redis at 127.0.0.1:{redis.settings.port}" in said
    assert "rows to MySQL" in said
    assert server.run("SELECT COUNT(*) FROM results", database) == ((1260,),)
    assert not (own_home / "results.sqlite").exists()
    server.drop_database(database)


@pytest.mark.slow
@pytest.mark.mysql
def test_a_batch_runs_on_a_lab_with_servers_of_its_own(tmp_path, own_home, mysql_settings, monkeypatch):
    with fresh_redis() as redis:
        found = {**mysql_settings.to_environ(), **redis.settings.to_environ()}
        (tmp_path / "env.list").write_text("".join(f"{name}={value}\n" for name, value in found.items()))
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        with orb.Lab(n_workers=1, quiet=True) as lab:
            with monkeypatch.context() as patch:
                for name in found:
                    patch.delenv(name)
                batch(tmp_path, own_home, ADDRESS=lab.cluster.scheduler_address, ENV_FILE=tmp_path / "env.list")
            check_batch(tmp_path)
            assert not (own_home / "results.sqlite").exists()
            said = papermill(
                "04_results_and_verdict.ipynb",
                tmp_path,
                own_home,
                SESSIONS=40,
                GRID_FILE=grid_file(tmp_path),
                ADDRESS=lab.cluster.scheduler_address,
            )
        assert "results in mysql" in said
        assert {*orb.runs()["tickers"]} == {"AAA", "BBB", "SPY"}


def batch(folder: Path, home: Path, **changes: object) -> str:
    given = {
        "TEMPLATE": ROOT / "notebooks" / "04_results_and_verdict.ipynb",
        "TICKERS": ["AAA", "NOPE", "BBB"],
        "FOLDER": folder / "verdicts",
        "SOURCE": prices_of(folder, ["AAA", "BBB"]),
        "GRID_FILE": grid_file(folder),
        "RULES": {"commission": 0.001, "side": "long"},
        "N_WORKERS": 1,
    }
    return papermill("batch.ipynb", folder, home, **given, **changes)


def check_batch(folder: Path) -> None:
    """Hold the page beside what each notebook tells."""
    verdicts = folder / "verdicts"
    page = (verdicts / "index.html").read_text()
    outcomes = {name: told(verdicts / f"{name}.ipynb") for name in ("AAA", "BBB")}
    ranked = sorted(outcomes, key=lambda name: outcomes[name]["p"])
    places = [page.index(f">{name}</a>") for name in ("NOPE", *ranked)]
    assert places == sorted(places)
    assert "1 failed" in page
    assert "BadInput: " in page
    assert "&#x27;side&#x27;: &#x27;long&#x27;" in page
    for name, outcome in outcomes.items():
        assert outcome["tickers"] == [name]
        assert outcome["run_id"] in page
        assert f"{outcome['p']:.3f}" in page
        assert "side long" in outcome["title"]
    errors = [one for cell in cells(verdicts / "NOPE.ipynb") for one in cell.get("outputs", []) if "ename" in one]
    assert [one["ename"] for one in errors] == ["BadInput"]


LIVE = """
import threading, orbresearch as orb
lab = orb.Lab(n_workers=1, quiet=True)
---
run = lab.submit(orb.synthetic_sessions(20), orb.ParameterGrid([.1, .2], 1, 0, [1, 2]))
run
---
{last}
lab.close()
[thread.join() for thread in threading.enumerate() if thread.name == f"show {run.run_id}"]
print(run.persisted())
"""


@pytest.mark.slow
@pytest.mark.parametrize("last", ["run.wait()", ""], ids=["waited for", "left"])
def test_a_run_shown_in_a_notebook_keeps_itself_up_to_date(tmp_path, own_home, monkeypatch, last):
    """What the second cell shows changes while the third one waits; a lab that closes leaves what is stored."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    code = LIVE.replace("{last}", last).split("---")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in code])
    nbclient.NotebookClient(book, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    [shown] = [out["data"]["text/html"] for out in book.cells[1].outputs if "text/html" in out.get("data", {})]
    stored = int(book.cells[2].outputs[-1]["text"].split()[-1])
    state = "complete" if stored == 4 else "unfinished"
    assert f"{state}, {stored} of 4 backtests" in shown
    assert f"<progress value='{stored}' max='4'" in shown
    assert stored == 4 or not last
