"""Every notebook is thin, carries no outputs and runs under papermill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

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
    arguments = [text for key, value in parameters.items() for text in ("-p", key, str(value))]
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
