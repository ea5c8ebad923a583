"""What executed notebooks tell, and the page that ranks them."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch.analysis.verdict import MIME
from orbresearch.lab.batch import file_name
from orbresearch.lab.outcomes import Outcome, one_line, rank, read_outcome, write_index

nbformat = pytest.importorskip("nbformat")

TOLD = {
    "run_id": "0123456789abcdef",
    "tickers": ["SPY"],
    "title": "run 0123456789abcdef: SPY",
    "line": "luck: best Sharpe 2.00 of 480 eligible",
    "eligible": 480,
    "sessions": 250,
    "sharpe_ratio": 2.0,
    "p": 0.04,
    "p_family": 0.06,
    "forward_sharpe": -0.5,
    "forward_low": -2.0,
    "forward_high": 1.0,
}
NOTHING = {name: None if isinstance(value, float) else value for name, value in TOLD.items()}


def told(**changes: Any) -> dict[str, Any]:
    return {**TOLD, **changes}


def executed(path: Path, *outputs: Any) -> Path:
    """Write a notebook with a cell for each output."""
    cells = [nbformat.v4.new_code_cell("…", outputs=[one]) for one in outputs]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A"), *cells]), path)
    return path


def shown(content: dict[str, Any]) -> Any:
    return nbformat.v4.new_output("execute_result", {MIME: content, "text/plain": "verdict on …"}, execution_count=1)


def stopped(name: str, words: str) -> Any:
    return nbformat.v4.new_output("error", ename=name, evalue=words, traceback=[])


SAID = nbformat.v4.new_output("stream", name="stdout", text="Error: not one")


# --- what a notebook tells


def test_the_last_verdict_shown_is_the_outcome(tmp_path: Path) -> None:
    path = executed(tmp_path / "a.ipynb", SAID, shown(told(p=0.9)), shown(told(p=0.2)), SAID)
    found = read_outcome("SPY", path)
    assert found == Outcome("SPY", path, told(p=0.2))


def test_an_error_is_told_in_one_line_whatever_was_shown_before(tmp_path: Path) -> None:
    path = executed(tmp_path / "a.ipynb", shown(TOLD), stopped("BadInput", "ticker: 'X' is not there\nmore\nwords"))
    found = read_outcome("SPY", path, failure="papermill.exceptions.PapermillExecutionError")
    assert found.error == "BadInput: ticker: 'X' is not there"


def test_without_its_own_error_what_the_process_said_counts(tmp_path: Path) -> None:
    path = executed(tmp_path / "a.ipynb", SAID)
    assert read_outcome("SPY", path, failure="DeadKernelError: Kernel died").error == "DeadKernelError: Kernel died"
    missing = read_outcome("SPY", tmp_path / "none.ipynb", failure="No such kernel")
    assert (missing.error, missing.told) == ("No such kernel", None)


def test_a_notebook_that_says_nothing_or_is_none_is_a_failure(tmp_path: Path) -> None:
    assert "it shows no verdict" in read_outcome("SPY", executed(tmp_path / "a.ipynb", SAID)).error
    assert read_outcome("SPY", tmp_path / "none.ipynb").error.startswith("the notebook cannot be read: ")
    (tmp_path / "half.ipynb").write_text('{"cells": [')
    assert read_outcome("SPY", tmp_path / "half.ipynb").error.startswith("the notebook cannot be read: ")


@given(st.text())
def test_an_errors_line_is_one_line_and_says_something(text: str) -> None:
    found = one_line(text)
    assert found.strip()
    assert len(found.splitlines()) == 1
    assert len(found) <= 302


# --- the ranking


def outcomes() -> list[Outcome]:
    some = {"AAA": 0.2, "BBB": 0.01, "CCC": None, "DDD": 0.04, "EEE": 0.04}
    found = [Outcome(name, Path(f"{name}.ipynb"), told(p=p)) for name, p in some.items()]
    found[-1] = Outcome("EEE", Path("EEE.ipynb"), told(p=0.04, sharpe_ratio=3.0))
    return [*found, Outcome("FFF", Path("FFF.ipynb"), TOLD, "BadInput: x"), Outcome("GGG", Path("G.ipynb"), None, "y")]


def test_failures_come_first_then_the_least_p() -> None:
    found = rank(outcomes())
    assert found["ticker"].tolist() == ["FFF", "GGG", "BBB", "EEE", "DDD", "AAA", "CCC"]
    assert found["error"].tolist()[:3] == ["BadInput: x", "y", ""]
    assert found["p"][:2].isna().all()  # what stopped after its verdict is not ranked


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30))
def test_q_is_p_adjusted_by_benjamini_and_hochberg(values: list[float]) -> None:
    found = rank(Outcome(f"T{i}", Path("t"), told(p=p)) for i, p in enumerate(values))
    rising, count = sorted(values), len(values)
    expected = [min(1.0, *(rising[j] * count / (j + 1) for j in range(i, count)), 1.0) for i in range(count)]
    np.testing.assert_allclose(found["q"], expected)


def test_what_cannot_be_judged_and_what_failed_count_for_nothing() -> None:
    found = rank(outcomes())
    assert found.attrs["summary"] == "3 of 4 below 5 %; luck alone gives 0.2; of 1 nothing can be said"
    known = found.set_index("ticker")
    assert known["q"][["BBB", "EEE", "DDD", "AAA"]].tolist() == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.2])
    assert math.isnan(known["q"]["CCC"])
    assert rank([outcomes()[-1]])["error"].tolist() == ["y"]


# --- the page


class Page(HTMLParser):
    """Text, links and tags of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.links, self.tags = "", [], []  # type: ignore[var-annotated]
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += f"{data}|"


def test_the_page_shows_failures_first_and_everything_in_order(tmp_path: Path) -> None:
    (folder := tmp_path / "out").mkdir()
    path = write_index(rank(outcomes()), folder, {"RULES": {"commission": 0.5}}, waiting=2)
    page = Page(path)
    places = [page.text.index(f"|{one}|") for one in ("FFF", "GGG", "BBB", "EEE", "DDD", "AAA", "CCC")]
    assert places == sorted(places)
    assert "7 of 9 tickers so far" in page.text
    assert page.text.index("2 failed") < places[0] < page.text.index("BadInput: x") < page.text.index("3 of 4 below")
    assert "{'commission': 0.5}" in page.text
    assert path.name == "index.html"
    assert [one.name for one in folder.iterdir()] == ["index.html"]


def test_nothing_that_is_told_becomes_markup_and_links_lead_to_files(tmp_path: Path) -> None:
    name = "<script>&'\"/x"
    book = tmp_path / f"{file_name(name)}.ipynb"
    book.touch()
    book.with_suffix(".html").touch()
    wicked = {"line": "<img src='x' onerror='y'>", "run_id": "<i>", "title": "<u>"}
    found = rank([Outcome(name, book, told(**wicked)), Outcome("<b>", tmp_path / "b#c.ipynb", None, "<img>' title='")])
    page = Page(write_index(found, tmp_path, {"<em>": "</table><a href='z'>"}))
    assert not {"script", "img", "i", "u", "em"} & {*page.tags}
    assert page.tags.count("b") == page.tags.count("p") * 3 + 1  # the explanation's, and a p below .05
    assert {unquote(one) for one in page.links} == {book.name, book.with_suffix(".html").name, "b#c.ipynb"}
    assert "<script>&" in page.text


def test_a_page_of_failures_alone_is_a_page(tmp_path: Path) -> None:
    page = Page(write_index(rank([outcomes()[-1]]), tmp_path))
    assert "1 failed" in page.text
    assert "Reality Check" not in page.text
