"""Where a run stands, in words."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orbresearch.store.connection import Store


def state_of(persisted: int, total: int, report: Mapping[str, Any]) -> str:
    """Return a run's state in one word, from the ledger and from what the scheduler reports of it."""
    if persisted >= total:
        return "complete"
    if report.get("running"):
        return "running"
    if report.get("cancelled"):
        return "cancelled"
    if report.get("waiting"):
        return "waiting"
    if report.get("failed"):
        return "failed"
    return "running" if report.get("computed", 0) > persisted else "unfinished"


def list_runs(store: Store, feeds: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return every run of a store, newest first, with its state: a DataFrame; ``feeds``: the scheduler's reports."""
    from orbresearch.store.reader import read_runs, read_totals

    found, ledger = read_runs(store), read_totals(store)
    reports = [feeds.get(run_id, {}) for run_id in found["run_id"]]
    persisted = [ledger[run_id][0] for run_id in found["run_id"]]
    rows = zip(persisted, found["backtests"], reports, strict=True)
    found["state"] = [state_of(done, int(total), report) for done, total, report in rows]
    found["persisted"], found["failed"] = persisted, [int(report.get("failed", 0)) for report in reports]
    return found


def sentence(failure: Mapping[str, Any]) -> str:
    """Return what failed in one line."""
    first, rows = failure["first"], failure["rows"]
    return f"backtests {first} to {first + rows - 1}: {failure['error']}"


def _word(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_status(found: Mapping[str, Any], where: str) -> str:
    """Return a run's status as an HTML table: what is not zero, and the first failures."""
    names = ("state", "waiting", "running", "staged", "persisted", "failed", "reaper_error")
    shown = {name: found[name] for name in names if found[name]}
    shown |= {f"failure {i + 1}": sentence(failure) for i, failure in enumerate(found["failures"][:3])}
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(_word(value))}</td></tr>"
        for name, value in shown.items()
    )
    title = f"run {found['run_id']}: {found['persisted']:,} of {found['total']:,} backtests in {where}"
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"
