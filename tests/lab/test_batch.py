"""Notebooks executed for many tickers: small ones that need no lab; tests/notebooks has the real ones."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orbresearch as orb
from orbresearch.analysis.verdict import MIME
from orbresearch.errors import BadInput
from orbresearch.lab.batch import file_name, run_batch
from tests.lab.test_outcomes import TOLD

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")

WORK = f"""
import os
from pathlib import Path
from IPython.display import display
if TICKER == "BAD":
    raise ValueError("no such ticker\\nand more")
if TICKER == "DEAD":
    os._exit(3)
told = {TOLD!r} | {{"run_id": TICKER, "p": P[TICKER], "line": os.environ["ORB_HOME"], "title": os.getcwd()}}
display({{{MIME!r}: told, "text/plain": "shown"}}, raw=True)
"""


def notebook(*cells: Any) -> Any:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel})


@pytest.fixture
def template(tmp_path: Path) -> Path:
    given = nbformat.v4.new_code_cell("TICKER = 'SPY'\nP = {}", metadata={"tags": ["parameters"]})
    nbformat.write(notebook(given, nbformat.v4.new_code_cell(WORK)), tmp_path / "template.ipynb")
    return tmp_path / "template.ipynb"


@pytest.mark.slow
def test_each_ticker_has_its_notebook_and_a_failure_stops_no_other(
    template: Path, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    p = {"BRK/B": 0.01, "ON": 0.5, "123": 0.3}
    found = run_batch("template.ipynb", ["BAD", "ON", "DEAD", "BRK/B", "123"], "out", at_once=2, P=p)
    assert sorted(found["ticker"][:2]) == ["BAD", "DEAD"]
    errors = dict(zip(found["ticker"], found["error"], strict=True))
    assert errors["BAD"] == "ValueError: no such ticker"
    assert "died" in errors["DEAD"].lower()
    assert found["ticker"].tolist()[2:] == found["run_id"].tolist()[2:] == ["BRK/B", "123", "ON"]
    assert found["p"].tolist()[2:] == [0.01, 0.3, 0.5]
    assert {*found["line"][2:]} == {str(own_home)}
    assert {*found["title"][2:]} == {str(tmp_path)}
    names = {one.name for one in (tmp_path / "out").iterdir()}
    assert {"index.html", "BRK=2FB.ipynb", "BAD.ipynb", "ON.ipynb", "123.ipynb"} <= names
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.index("ValueError: no such ticker") < page.index("BRK/B")
    assert "BAD: FAILED: ValueError: no such ticker" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupted_batch_leaves_no_process_behind(template: Path, tmp_path: Path) -> None:
    book = nbformat.read(template, as_version=4)
    book.cells[1].source = "if TICKER != 'FIRST': import time; time.sleep(600)"
    nbformat.write(book, template)
    me = psutil.Process()
    before = {one.pid for one in me.children(recursive=True)}
    seen: list[psutil.Process] = []

    def interrupt() -> None:
        while not seen:
            time.sleep(0.5)
            kernels = [one for one in me.children(recursive=True) if one.pid not in before]
            if any("ipykernel" in " ".join(one.cmdline()) for one in kernels) and (tmp_path / "index.html").exists():
                seen.extend(kernels)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_batch(template, ["FIRST", "A", "B", "C"], tmp_path, at_once=2)
    _, alive = psutil.wait_procs(seen, 30)
    assert not alive
    assert "1 of 4 tickers so far" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"P": {}, "RULE": 1}, r"template\.ipynb has no parameter RULE; its cell tagged `parameters` has TICKER, P"),
        ({"TICKER": "SPY"}, "TICKER is each ticker's own"),
        ({"P": object()}, "parameters: .*give plain values"),
        ({"at_once": 0}, "at_once: 0 is no number of notebooks"),
        ({"tickers": []}, "tickers: .* are no different names"),
        ({"tickers": ["A", "A"]}, "tickers: .* are no different names"),
        ({"tickers": ["A", 1]}, "tickers: .* are no different names"),
        ({"template": "none.ipynb"}, r"template: .*none\.ipynb is no notebook that is there"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    template: Path, tmp_path: Path, changes: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(BadInput, match=refusal):
        orb.run_batch(**{"template": template, "tickers": ["A"], "folder": tmp_path / "out", **changes})
    assert not list((tmp_path / "out").glob("*"))


def test_a_template_without_a_ticker_a_kernel_or_sense_is_refused(tmp_path: Path) -> None:
    nbformat.write(notebook(), tmp_path / "plain.ipynb")
    with pytest.raises(BadInput, match=r"plain\.ipynb has no parameter TICKER.*has none"):
        run_batch(tmp_path / "plain.ipynb", ["A"], tmp_path)
    bare = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("A = 1", metadata={"tags": ["parameters"]})])
    nbformat.write(bare, tmp_path / "bare.ipynb")
    with pytest.raises(BadInput, match=r"template: bare\.ipynb: No kernel name found"):
        run_batch(tmp_path / "bare.ipynb", ["A"], tmp_path)
    (tmp_path / "half.ipynb").write_text('{"cells": [')
    with pytest.raises(BadInput, match=r"template: half\.ipynb: "):
        run_batch(tmp_path / "half.ipynb", ["A"], tmp_path)


@pytest.mark.parametrize("name", ["papermill", "nbformat"])
def test_without_papermill_the_extra_that_brings_it_is_named(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadInput, match=rf"{name}: it is not installed; pip install 'orbresearch\[notebooks\]'"):
        run_batch(template, ["A"], tmp_path)


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2, unique=True))
def test_different_tickers_have_different_files(names: list[str]) -> None:
    found = [file_name(one) for one in names]
    assert len({*found}) == 2
    for one in found:
        assert Path(f"{one}.ipynb").name == f"{one}.ipynb"
        assert not one.startswith(".")
        assert one.lower() != "index"
