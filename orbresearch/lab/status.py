"""Where a run stands, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from orbresearch.keep import order_of

if TYPE_CHECKING:
    from orbresearch.store.connection import Store


ENDED = ("complete", "failed", "cancelled")  # states in which nothing more comes by itself
_LEFT = "text-align:left"
_COUNTS = ("waiting", "running", "staged", "persisted", "failed")


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


def describe_status(run_id: str, total: int, persisted: int, report: Mapping[str, Any], slots: int) -> dict[str, Any]:
    """Return what ``Run.status`` does; ``report``: the scheduler's, empty without one; ``slots``: of its workers."""
    computed, seconds = max(int(report.get("computed", 0)), persisted), float(report.get("seconds", 0.0))
    computed = min(computed, total)  # a result that the store refused is computed, and counted, again
    rate = (computed - int(report["known_before"])) / seconds if seconds else None
    counts = {name: int(report.get(name, 0)) for name in ("waiting", "running", "failed", "staged_bytes")}
    counts["running"] = min(counts["running"], total - computed)  # a dead worker's last chunk may be computed twice
    counts["waiting"] = min(counts["waiting"], total - computed - counts["running"])
    return {
        "run_id": run_id,
        "state": state_of(persisted, total, report),
        "total": total,
        "computed": computed,
        "staged": computed - persisted,
        "persisted": persisted,
        "per_second": rate,
        "seconds_left": (total - computed) / (rate * slots) if rate else None,
        "held_back": bool(report.get("held_back", False)),
        "failures": list(report.get("failures", [])),
        "reaper_error": report.get("reaper_error", ""),
        **counts,
    }


def list_runs(store: Store, feeds: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return every run of a store, newest first, with its state: a DataFrame; ``feeds``: the scheduler's reports."""
    from orbresearch.store.reader import read_runs, read_totals

    found, ledger = read_runs(store), read_totals(store)
    orders = [order_of(*facts) for facts in zip(found["run_id"], found["kept"], found["chunk_size"], strict=True)]
    reports = [feeds.get(order, {}) for order in orders]
    persisted = [ledger[run_id][0] for run_id in found["run_id"]]
    rows = zip(persisted, found["backtests"], reports, strict=True)
    found["state"] = [state_of(done, int(total), report) for done, total, report in rows]
    found["persisted"], found["failed"] = persisted, [int(report.get("failed", 0)) for report in reports]
    return found


def sentence(failure: Mapping[str, Any]) -> str:
    """Return what failed in one line."""
    first, rows = failure["first"], failure["rows"]
    return f"backtests {first} to {first + rows - 1}: {failure['error']}"


def show_status(found: Mapping[str, Any], where: str) -> str:
    """Return a run's status as an HTML table: how far it is, what is wrong, and the first failures."""
    rows = [(name, f"{found[name]:,}") for name in _COUNTS if found[name]]
    if found["per_second"] and found["state"] not in ENDED:
        rows.append(("per second and slot", f"{found['per_second']:,.0f}"))
    if found["seconds_left"] and found["state"] not in ENDED:
        rows.append(("time left", f"about {timedelta(seconds=math.ceil(found['seconds_left']))}"))
    if found["held_back"]:
        rows.append(("held back", f"{found['staged_bytes'] / 2**20:,.0f} MiB of results wait for the store"))
    if found["reaper_error"]:
        rows.append(("the store", found["reaper_error"]))
    rows += [(f"failure {i + 1}", sentence(failure)) for i, failure in enumerate(found["failures"][:3])]
    cells = "".join(
        f"<tr><th style='{_LEFT};white-space:nowrap'>{escape(name)}</th><td style='{_LEFT}'>{escape(word)}</td></tr>"
        for name, word in rows
    )
    title = (
        f"run {found['run_id']}: {found['state']}, {found['persisted']:,} of {found['total']:,} backtests in {where}"
    )
    bar = f"<progress value='{found['persisted']}' max='{found['total']}' style='display:block;width:100%'></progress>"
    return f"<table><caption style='{_LEFT};white-space:nowrap'>{escape(title)}{bar}</caption>{cells}</table>"
