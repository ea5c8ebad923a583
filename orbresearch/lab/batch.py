"""A notebook for each of many tickers, executed by papermill, a few at a time; a page ranks what they came to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from orbresearch.console import tell
from orbresearch.errors import BadInput
from orbresearch.lab.outcomes import Outcome, one_line, rank, read_outcome, write_index
from orbresearch.settings import read_settings

TICKER = "TICKER"  # the parameter that differs between notebooks
_PATIENCE_SECONDS = 5.0  # before what was told to end is killed
_NAMELESS = re.compile(r"^\.|^i(?=ndex$)|[^A-Za-z0-9._-]", re.IGNORECASE)  # index.html is the ranking's


def run_batch(
    template: str | os.PathLike[str],
    tickers: Iterable[str],
    folder: str | os.PathLike[str],
    at_once: int = 2,
    **parameters: Any,
) -> Any:
    """Execute a notebook once per ticker, a few at a time, and rank what they came to. One that fails stops no other.

    The notebook tells its outcome by showing a verdict: ``orb.verdict(run)`` as the last line of a cell. The folder
    gets each executed notebook (and as an HTML page where nbconvert is installed), up to the cell that stopped it where
    one did, and ``index.html``, which is written anew whenever one is done.

    Parameters
    ----------
    template : path
        A notebook with a cell tagged ``parameters`` that has TICKER, such as ``04_results_and_verdict.ipynb``. It is
        executed in the working directory, where relative paths among the parameters begin, with this process'
        ``ORB_HOME``.
    tickers : iterable of str
    folder : path
    at_once : int
        Notebooks that run at the same time, each in a process of its own.
    **parameters
        Others of its parameters, the same for every ticker, as plain values, lists and dicts. ``ADDRESS`` of a running
        lab keeps each from starting one of its own.

    Returns
    -------
    DataFrame
        Failures first, then the least p first: see :func:`~orbresearch.lab.outcomes.rank`.

    Raises
    ------
    BadInput
        papermill is not installed; no such notebook; parameters that it does not have, or that are no plain values.

    Examples
    --------
    >>> run_batch("04_results_and_verdict.ipynb", ["SPY", "QQQ"], "verdicts", SOURCE="prices/")  # doctest: +SKIP
    """
    require_notebooks()
    batch = _Batch(_check_template(template, parameters), _check_tickers(tickers), Path(folder).expanduser().resolve())
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise BadInput("at_once", f"{at_once!r} is no number of notebooks", "give a whole number of 1 or more")
    batch.folder.mkdir(parents=True, exist_ok=True)
    found: list[Outcome] = []
    with _written(parameters) as given:
        for outcome in batch.execute(given, at_once):
            found.append(outcome)
            ranked = rank(found)
            page = write_index(ranked, batch.folder, parameters, waiting=len(batch.tickers) - len(found))
            tell(f"{outcome.ticker}: {'FAILED: ' + outcome.error if outcome.error else (outcome.told or {})['line']}")
    tell(f"{ranked.attrs['summary']}; {int((ranked['error'] != '').sum())} failed: {page}")
    return ranked


def require_notebooks() -> None:
    """Refuse to execute notebooks where nothing that can is installed."""
    missing = [name for name in ("papermill", "nbformat") if find_spec(name) is None]
    if missing:
        raise BadInput(missing[0], "it is not installed", "pip install 'orbresearch[notebooks]'")


@dataclass(frozen=True)
class _Batch:
    """Which notebook, for whom, to where; and the processes that run it now."""

    template: Path
    tickers: tuple[str, ...]
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def execute(self, given: Path, at_once: int) -> Iterator[Outcome]:
        """Yield each ticker's outcome as it comes; whoever stops asking ends what runs."""
        pool = ThreadPoolExecutor(at_once, "batch")
        try:
            futures = [pool.submit(self._run, ticker, given) for ticker in self.tickers]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(self.processes)
            pool.shutdown()

    def _run(self, ticker: str, given: Path) -> Outcome:
        """Execute one ticker's notebook."""
        book = self.folder / f"{file_name(ticker)}.ipynb"
        for old in (book, book.with_suffix(".html")):
            old.unlink(missing_ok=True)
        options = ["-r", TICKER, ticker, "-f", str(given), "-k", "python3", "--no-progress-bar"]
        failure = self._call("papermill", str(self.template), str(book), *options)
        if book.exists() and find_spec("nbconvert"):
            self._call("nbconvert", "--to", "html", "--log-level", "ERROR", str(book))
        return read_outcome(ticker, book, failure)

    def _call(self, module: str, *arguments: str) -> str:
        """Run a module in a process of its own; return the last line that it says where it fails."""
        environ = {**os.environ, "ORB_HOME": str(read_settings().home)}
        command = [sys.executable, "-m", module, *arguments]
        with tempfile.TemporaryFile("w+") as words:  # not a pipe: what a dead papermill leaves running would hold it
            process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words, env=environ
            )
            self.processes.append(process)
            if process.wait() == 0:
                return ""
            words.seek(0)
            said = words.read().splitlines()
        return one_line("\n".join(reversed(said)) or f"{module} ended with {process.returncode}")


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes with all that they have started: a kernel does not end with its papermill."""
    trees: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.poll() is None:
                own = psutil.Process(process.pid)
                trees += [*own.children(recursive=True), own]
    for how in (psutil.Process.terminate, psutil.Process.kill):
        for one in trees:
            with suppress(psutil.NoSuchProcess):
                how(one)
        _, trees = psutil.wait_procs(trees, _PATIENCE_SECONDS)


def file_name(ticker: str) -> str:
    """Return a name for a ticker's files: what a file's name may not hold is written as its number.

    Examples
    --------
    >>> file_name("BRK/B"), file_name("^GSPC"), file_name("BF.B")
    ('BRK=2FB', '=5EGSPC', 'BF.B')
    """
    return _NAMELESS.sub(lambda one: "".join(f"={byte:02X}" for byte in one[0].encode()), ticker)


@contextmanager
def _written(parameters: Mapping[str, Any]) -> Iterator[Path]:
    """Lend a file of the parameters, as papermill reads them."""
    import yaml

    plain = {name: os.fspath(one) if isinstance(one, os.PathLike) else one for name, one in parameters.items()}
    try:
        text = yaml.safe_dump(plain)
    except yaml.YAMLError as error:
        wrong = one_line(str(error.args[0] if error.args else error))
        raise BadInput("parameters", wrong, "give plain values, lists and dicts") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parameters.yaml"
        path.write_text(text, encoding="utf-8")
        yield path


def _check_template(template: str | os.PathLike[str], parameters: Mapping[str, Any]) -> Path:
    """Return the notebook's path; refuse parameters that it does not have, which papermill would pass over."""
    papermill: Any = import_module("papermill")
    path = Path(template).expanduser().resolve()
    if path.suffix != ".ipynb" or not path.is_file():
        raise BadInput("template", f"{path} is no notebook that is there", "give the path of an .ipynb file")
    try:
        known = list(papermill.inspect_notebook(str(path)))
    except ValueError as error:  # no JSON, no kernel named
        raise BadInput("template", f"{path.name}: {one_line(str(error))}", "save it in Jupyter") from None
    for name in (TICKER, *parameters):
        if name not in known or (name == TICKER and name in parameters):
            wrong = f"{path.name} has no parameter {name}" if name not in known else f"{name} is each ticker's own"
            raise BadInput("parameters", wrong, f"its cell tagged `parameters` has {', '.join(known) or 'none'}")
    return path


def _check_tickers(tickers: Iterable[str]) -> tuple[str, ...]:
    found = (tickers,) if isinstance(tickers, str) else tuple(tickers)
    if not found or not all(isinstance(one, str) and one for one in found) or len({*found}) < len(found):
        raise BadInput("tickers", f"{list(found)!r} are no different names", "give a list of tickers, each once")
    return found
