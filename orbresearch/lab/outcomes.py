"""What the notebooks of a batch came to: their verdicts, read from their files, and a page that ranks them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orbresearch.analysis.luck import LEVEL
from orbresearch.analysis.selection.significance import false_discoveries
from orbresearch.analysis.verdict import MIME
from orbresearch.lab.saving import replacing
from orbresearch.lab.verdicts import count_found

INDEX = "index.html"
_NUMBERS = ("p", "q", "sharpe_ratio", "forward_sharpe", "forward_low", "forward_high", "p_family")
COLUMNS = ("ticker", "error", *_NUMBERS, "eligible", "sessions", "run_id", "line", "title", "notebook")
_MOST_ERROR = 300  # characters of an error's line


@dataclass(frozen=True)
class Outcome:
    """What came of one notebook.

    Parameters
    ----------
    ticker : str
    notebook : Path
        Executed, up to the cell that stopped where one did.
    told : dict, optional
        ``Verdict.outcome`` of the last verdict that it shows.
    error : str
        One line; empty where it ran to its end and shows a verdict.
    """

    ticker: str
    notebook: Path
    told: dict[str, Any] | None = None
    error: str = ""


def read_outcome(ticker: str, notebook: Path, failure: str = "") -> Outcome:
    """Return what an executed notebook tells.

    Parameters
    ----------
    failure : str
        What whoever executed it said when it stopped; the notebook's own error is told instead where it holds one.
    """
    nbformat: Any = import_module("nbformat")
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except (OSError, ValueError) as fault:
        return Outcome(ticker, notebook, error=failure or one_line(f"the notebook cannot be read: {fault}"))
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    raised = [one_line(f"{one.ename}: {one.evalue}") for one in outputs if one.output_type == "error"]
    verdicts = [dict(one.data[MIME]) for one in outputs if MIME in one.get("data", {})]
    told = verdicts[-1] if verdicts else None
    error = raised[0] if raised else failure
    if not error and told is None:
        error = "it shows no verdict: orb.verdict(run) as the last line of a cell does"
    return Outcome(ticker, notebook, told, error)


def one_line(text: str) -> str:
    r"""Return the first line of a text that says anything, not too long.

    Examples
    --------
    >>> one_line("  \n BadInput: ticker\nmore")
    'BadInput: ticker'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = lines[0] if lines else "it stopped without a word"
    return found if len(found) <= _MOST_ERROR else f"{found[:_MOST_ERROR]} …"


def rank(outcomes: Iterable[Outcome]) -> Any:
    """Return outcomes as a DataFrame: failures first, then the least p first.

    Returns
    -------
    DataFrame
        ``ticker, error`` (empty: none), ``p``, ``q`` (p adjusted by Benjamini and Hochberg over the notebooks that came
        to an end), then what :meth:`Verdict.outcome` tells, and ``notebook``, its path. ``attrs["summary"]`` says how
        many p are below 5 %, and how many luck alone would put there.
    """
    import pandas as pd

    rows = [{"ticker": one.ticker, "error": one.error, "notebook": one.notebook, **_known(one)} for one in outcomes]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    found[list(_NUMBERS)] = found[list(_NUMBERS)].astype(float)
    found["q"] = false_discoveries(found["p"].to_numpy())
    keys = pd.DataFrame({"well": found["error"] == "", "p": found["p"], "best": -found["sharpe_ratio"]})
    found = found.loc[keys.sort_values(["well", "p", "best"], kind="stable").index].reset_index(drop=True)
    found.attrs["summary"] = count_found(found["p"][found["error"] == ""].to_numpy())
    return found


def _known(one: Outcome) -> dict[str, Any]:
    """Return what counts of a notebook's verdict: nothing, where the notebook stopped after it."""
    return {} if one.error or one.told is None else {name: one.told.get(name) for name in COLUMNS[2:-1]}


def write_index(found: Any, folder: Path, parameters: Mapping[str, Any] | None = None, *, waiting: int = 0) -> Path:
    """Write the page that ranks a batch: failures first, then tickers by p, each with links. Returns its path.

    Parameters
    ----------
    found : DataFrame
        As :func:`rank` returns it.
    folder : Path
        Where the notebooks are.
    parameters : mapping, optional
        What they were given.
    waiting : int
        Tickers that are not done yet.
    """
    failed, well = found[found["error"] != ""], found[found["error"] == ""]
    title = f"{len(found)} tickers" if not waiting else f"{len(found)} of {len(found) + waiting} tickers so far"
    parts = [f"<h1>{title}</h1>"]
    if len(failed):
        rows = [(_links(row, folder), html.escape(row.error)) for row in failed.itertuples()]
        parts.append(f"<h2 class='failed'>{len(failed)} failed</h2>{_table(('ticker', 'where it stopped'), rows)}")
    if len(well):
        heads = ("", "ticker", "p", "q", "best Sharpe", "out of sample", "95 %", "eligible", "sessions", "run")
        ranked = [(str(at), *_cells(row, folder)) for at, row in enumerate(well.itertuples(), 1)]
        parts.append(f"<h2>{html.escape(found.attrs['summary'])}</h2>{_EXPLAINED}{_table(heads, ranked, 'ranked')}")
    given = [(html.escape(str(name)), html.escape(repr(value))) for name, value in (parameters or {}).items()]
    if given:
        parts.append(f"<h2>All of them with</h2>{_table(('parameter', 'value'), given)}")
    target = folder / INDEX
    with replacing(target) as file:
        file.write(_PAGE.format(title=title, style=_STYLE, body="\n".join(parts)).encode())
    return target


def _cells(row: Any, folder: Path) -> tuple[str, ...]:
    """Return a row of the ranking."""
    between = f"{_number(row.forward_low)} to {_number(row.forward_high)}" if row.forward_low == row.forward_low else ""
    p = f"<b>{row.p:.3f}</b>" if row.p < LEVEL else _number(row.p, 3)
    numbers = p, _number(row.q, 3), _number(row.sharpe_ratio), _number(row.forward_sharpe), between
    counts = f"{row.eligible:,.0f}", f"{row.sessions:,.0f}", f"<code>{html.escape(str(row.run_id))}</code>"
    return _links(row, folder), *numbers, *counts


def _links(row: Any, folder: Path) -> str:
    """Return a ticker with links to its notebook: as a page where there is one, and as itself."""
    book = Path(row.notebook)
    page = book.with_suffix(".html")
    name, target = html.escape(row.ticker), page if (folder / page.name).exists() else book
    link = f"<a href='{quote(target.name)}'>{name}</a>"
    source = "" if target is book else f" <a class='book' href='{quote(book.name)}'>ipynb</a>"
    return f"<span class='name' title='{html.escape(str(row.error or row.line))}'>{link}{source}</span>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "plain") -> str:
    """Return a table of cells that are HTML already."""
    top = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table class='{kind}'><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table>"


def _number(value: float, places: int = 2) -> str:
    return "&mdash;" if value != value else f"{value:.{places}f}"


_EXPLAINED = """<p><b>p</b> says how often luck alone finds a best as good among as many backtests (Reality Check);
bold below .05. Of many tickers some are there by luck: <b>q</b> is p adjusted for their number (Benjamini and
Hochberg), and of the tickers up to a q about that share is luck. <b>Out of sample</b>: the annual Sharpe ratio of
following each window's best over the sessions after it, and where the true one lies in 95 of 100 cases.</p>
"""
_STYLE = """body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.1em; margin: 1.6em 0 .5em } .failed { color: #a33c00 } p { max-width: 56em }
table { border-collapse: collapse } th, td { text-align: left; padding: .25em .9em .25em 0; vertical-align: top }
th { border-bottom: 2px solid #999; white-space: nowrap } td { border-bottom: 1px solid #ddd }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere } .book { color: #888; font-size: .8em }
.name { white-space: nowrap } .ranked :is(th, td):nth-child(n+3) { text-align: right }"""
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
