"""What the store knows, without a lab: its runs, one of them, a query of one's own; and what is on its way there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orbresearch.errors import BadInput
from orbresearch.keep import read_keep
from orbresearch.lab.connection import open_labs
from orbresearch.lab.reaper import lifecycle
from orbresearch.lab.results import opened_store
from orbresearch.lab.run import Run
from orbresearch.lab.services import open_services
from orbresearch.settings import read_settings


def runs() -> Any:
    """Return what the store knows of every run, newest first, as a DataFrame.

    Raises
    ------
    BadInput
        There is no store yet.
    """
    from orbresearch.store.reader import read_runs

    with opened_store() as store:
        return read_runs(store)


def open_run(run_id: str) -> Run:
    """Return a run of the store, without a lab.

    Raises
    ------
    BadInput
        There is no such run; the message names the latest.
    """
    from orbresearch.store.connection import open_store
    from orbresearch.store.reader import read_run, read_runs

    store = open_store(read_settings().store, create=False)
    found = read_run(store, str(run_id))
    if found is None:
        known = ", ".join(read_runs(store)["run_id"].head(5)) or "none"
        raise BadInput("run_id", f"{run_id!r} is not in {store.where}", f"the latest runs there are {known}")
    return Run(str(run_id), int(str(found["backtests"])), store, keep=read_keep(str(found["kept"])))


def select(sql: str, params: Mapping[str, object] | None = None) -> Any:
    """Run a query of one's own against the results database; nothing can be written with it.

    Parameters
    ----------
    sql : str
        One SELECT; ``:name`` stands for ``params["name"]``.
    params : mapping, optional

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> select("SELECT tickers, backtests FROM runs WHERE sessions > :least", {"least": 100})  # doctest: +SKIP
    """
    from orbresearch.store.reader import fetch

    with opened_store() as store:
        return fetch(store, sql, params)


def lifecycle_result_data() -> dict[str, Any]:
    """Move what is staged into the store: of this process's open lab, else of the Redis that the environment names.

    Raises
    ------
    BadInput
        There is neither.
    """
    for lab in list(open_labs):
        return lab.lifecycle_result_data()
    settings = read_settings()
    if settings.redis.endpoint is None:
        raise BadInput("lifecycle_result_data", "no lab is open and REDIS_ENDPOINT is not set", "open an orb.Lab()")
    services = open_services(settings)
    try:
        return lifecycle(services)
    finally:
        services.close()
