"""Every notebook is thin, carries no outputs and runs under papermill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
