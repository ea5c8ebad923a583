"""Rows of the results database, at once, page by page or as a file, whichever runs they come from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from orbresearch.errors import BadInput
from orbresearch.lab.saving import PAGE_ROWS, check_target, save_rows
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    from orbresearch.lab.run import Run
    from orbresearch.store.connection import Store
    from orbresearch.store.query import Query

Runs: TypeAlias = "str | Run | Iterable[str | Run] | None"


def results(
    run: Runs = None,
    ticker: str | Iterable[str] | None = None,
    where: Mapping[str, Any] | None = None,
    *,
    columns: str | Sequence[str] | None = None,
    order_by: str = "backtest_id",
    descending: bool | None = None,
    limit: int | None = None,
    resolved: bool | None = None,
    arrow: bool = False,
) -> Any:
    """Return rows of the results database: of one run, of several, of all.

    Parameters
    ----------
    run : str, Run or iterable of them, optional
        Default: all runs of the store.
    ticker : str or iterable of str, optional
        Default: all.
    where : mapping, optional
        What to ask of columns, all of it at once: ``{column: wanted}``. ``(lowest, highest)`` is a range, both ends
        included, None for an open end; a list is any of its values; a single value is that value; None is undefined
        (``limit_distance``: no limit). A range leaves out what is undefined; (-inf, inf) is whatever is defined.
    columns : str or sequence of str, optional
        Only these, in this order. Default: all of schema.RESULTS.
    order_by : str
        A column. Undefined values come last whatever the direction, ties in the order of ``backtest_id``.
    descending : bool, optional
        Default: True for numbers, False for ids and tickers.
    limit : int, optional
        At most so many rows.
    resolved : bool, optional
        True: only backtests whose distances their bars can tell; False: only the others.
    arrow : bool
        Return a pyarrow.Table with the types of schema.RESULTS, null where a value is undefined.

    Returns
    -------
    DataFrame or pyarrow.Table
        Of runs asked for by name, ``attrs["complete"]`` (Table: ``schema.metadata[b"complete"]``, "true" or "false")
        tells whether every backtest of each is in the store; where not, a warning says so.

    Raises
    ------
    BadInput
        No such run, ticker or column; a range, list or value that cannot be meant. The message names what is right.

    Examples
    --------
    >>> results(ticker="SPY", where={"sharpe_ratio": (1, None), "stop_count_limit": [1, 2]}, limit=20)  # doctest: +SKIP
    """
    from orbresearch.store.reader import read_rows, to_frame

    asked = {"columns": columns, "order_by": order_by, "descending": descending, "limit": limit, "resolved": resolved}
    with opened_store() as store:
        query, unfinished = _ask(store, run, ticker, where=where, **asked)
        rows = read_rows(store, query)
    found = rows if arrow else to_frame(rows)
    return found if run is None else mark(found, unfinished)


def results_pages(
    run: Runs = None,
    ticker: str | Iterable[str] | None = None,
    where: Mapping[str, Any] | None = None,
    *,
    rows: int = PAGE_ROWS,
    arrow: bool = False,
    **options: Any,
) -> Iterator[Any]:
    """Return the rows of :func:`results`, in the same order, page by page: millions need the memory of one page.

    Rows that are stored meanwhile neither shift nor repeat any. In the order of ``backtest_id`` all pages together cost
    one walk through the rows; in any other, each page reads all rows that the conditions admit.

    Parameters
    ----------
    run, ticker, where
        As in :func:`results`.
    rows : int
        Of a page; the last one may have fewer. No rows, no page.
    arrow : bool
        Pages are pyarrow.RecordBatch instead of DataFrame.
    **options
        ``columns``, ``order_by``, ``descending``, ``limit``, ``resolved``: as in :func:`results`.

    Returns
    -------
    iterator of DataFrame or pyarrow.RecordBatch

    Raises
    ------
    BadInput
        At once, before the first page: as in :func:`results`, or fewer than one row a page.

    Examples
    --------
    >>> for page in results_pages(ticker="SPY", columns=["backtest_id", "sharpe_ratio"]):  # doctest: +SKIP
    ...     print(page.sharpe_ratio.max())
    """
    from orbresearch.store.query import count_of

    page_rows = count_of("rows", rows, least=1)
    with opened_store() as store:
        query, unfinished = _ask(store, run, ticker, where=where, **options)
    for message in unfinished if run is not None else []:
        warnings.warn(message, stacklevel=2)
    return _turn_pages(store, query, page_rows, arrow)


def save_results(
    path: str | os.PathLike[str],
    run: Runs = None,
    ticker: str | Iterable[str] | None = None,
    where: Mapping[str, Any] | None = None,
    *,
    rows: int = PAGE_ROWS,
    **options: Any,
) -> Path:
    """Write the rows of :func:`results` to a file, in the memory of one page however many there are.

    The file appears when all is written: what fails or is interrupted leaves the one that was there before.

    Parameters
    ----------
    path : path
        ``.parquet``: the types of schema.RESULTS, null where a value is undefined, and ``complete`` as in a Table of
        :func:`results`. ``.csv``, ``.csv.gz``: a header, and of each double the shortest text that means it; an
        undefined value is an empty field. Its folder is made.
    run, ticker, where
        As in :func:`results`.
    rows : int
        Of a page, and of a Parquet row group.
    **options
        ``columns``, ``order_by``, ``descending``, ``limit``, ``resolved``: as in :func:`results`.

    Returns
    -------
    Path

    Raises
    ------
    BadInput
        Before anything is written: another suffix, a folder that cannot be written, or as in :func:`results`.

    Examples
    --------
    >>> save_results("good.csv.gz", ticker="SPY", where={"sharpe_ratio": (1, None)})  # doctest: +SKIP
    >>> pandas.read_csv("good.csv.gz", dtype={"run_id": str})  # doctest: +SKIP
    """
    from orbresearch.store.query import count_of

    target, page_rows = check_target(path), count_of("rows", rows, least=1)
    with opened_store() as store:
        query, unfinished = _ask(store, run, ticker, where=where, **options)
        for message in unfinished if run is not None else []:
            warnings.warn(message, stacklevel=2)
        return save_rows(store, query, target, page_rows, {} if run is None else say_complete(unfinished))


@contextmanager
def opened_store() -> Iterator[Store]:
    """Lend the results database; BadInput where there is none."""
    from orbresearch.store.connection import close_store, open_store

    store = open_store(read_settings().store, create=False)
    try:
        yield store
    finally:
        close_store(store)


def say_unfinished(runs: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return one sentence for each run of which the store holds less than there is; by id: persisted, total."""
    return [
        f"run {run_id} is unfinished: {persisted:,} of {total:,} backtests are in the store"
        for run_id, (persisted, total) in runs.items()
        if persisted < total
    ]


def say_complete(unfinished: list[str]) -> dict[str, str]:
    """Return what the metadata of a schema say of complete runs."""
    return {"complete": "false" if unfinished else "true"}


def mark(rows: Any, unfinished: list[str]) -> Any:
    """Say whether the rows come from complete runs."""
    for message in unfinished:
        warnings.warn(message, stacklevel=3)
    if not hasattr(rows, "attrs"):
        return rows.replace_schema_metadata(say_complete(unfinished))
    rows.attrs["complete"] = not unfinished
    return rows


def _ask(store: Store, run: Runs, ticker: str | Iterable[str] | None, **options: Any) -> tuple[Query, list[str]]:
    """Return the query, and what to say of those of its runs that are unfinished."""
    from orbresearch.store.query import as_list, make_query
    from orbresearch.store.reader import read_totals

    known = read_totals(store)
    names = list(known) if run is None else as_list("run", _ids(run))
    for name in names:
        if name not in known:
            latest = ", ".join(list(known)[:5]) or "none"
            raise BadInput("run", f"{name!r} is not in {store.where}", f"the latest runs there are {latest}")
    wanted = None if ticker is None else as_list("ticker", ticker)
    tickers = {one for name in names for one in known[name][2].split(",")}
    for one in wanted or []:
        if not tickers.issuperset(one.split(",")):
            shown = ", ".join(sorted(tickers)) or "none"
            raise BadInput("ticker", f"{one!r} is in none of the runs asked for", f"tickers there are {shown}")
    query = make_query(store.tables.results, None if run is None else names, ticker=wanted, **options)
    return query, say_unfinished({name: known[name][:2] for name in names})


def _ids(run: object) -> object:
    """Return runs as their ids."""
    if hasattr(run, "run_id") or isinstance(run, str) or not isinstance(run, Iterable):
        return getattr(run, "run_id", run)
    return [getattr(one, "run_id", one) for one in run]


def _turn_pages(store: Store, query: Query, rows: int, arrow: bool) -> Iterator[Any]:
    from orbresearch.store.connection import close_store
    from orbresearch.store.reader import read_pages, to_frame

    try:
        for page in read_pages(store, query, rows):
            yield page.combine_chunks().to_batches()[0] if arrow else to_frame(page)
    finally:
        close_store(store)
