"""Walk-forward: what following each window's choice came to, session by session out of sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.pictures.picture import BLACK, GREY, PALE, PROFIT, SHARED, Picture, hover, load
from orbresearch.analysis.pictures.words import words
from orbresearch.errors import BadInput
from orbresearch.schema import PARAMETERS

if TYPE_CHECKING:
    from orbresearch.analysis.walkforward import WalkForward

_SHORT = {
    "range_duration": "range",
    "stop_distance": "stop",
    "stop_count_limit": "stops",
    "stop_cooloff_period": "cool-off",
    "limit_distance": "limit",
}


def forward(walk: WalkForward) -> Picture:
    """Return the cumulative return out of sample, its windows, and under the pointer what was chosen for each.

    Parameters
    ----------
    walk : WalkForward

    Raises
    ------
    BadInput
        One without a session.
    """
    hv = load()
    if len(walk.returns) == 0:
        raise BadInput("walk-forward", "it has no session", "give one of more sessions")
    equity = (100 * walk.equity).rename("earned")
    title = forward_title(walk)
    tools = [hover(("session", "@session{%F}"), ("out of sample so far", "@earned{0,0.00} %"))]
    curve = hv.Curve(equity, "session", "earned").opts(color=PROFIT, line_width=2, tools=tools)
    labels = {"xlabel": "session, out of sample", "ylabel": "sum of daily returns, %"}
    style = {**SHARED, "show_grid": False, "height": 400, "title": title, "show_legend": False}
    parts = [draw_windows(hv, walk, equity), hv.HLine(0).opts(color=BLACK, line_width=1), curve]
    return Picture(hv.Overlay(parts).opts(**style, **labels), title)


def forward_title(walk: WalkForward) -> str:
    """Return what the picture is called: the Sharpe ratio out of sample, and what the choices promised."""
    low, high = walk.interval
    told = f"Sharpe {walk.sharpe_ratio:.2f}, 95 % between {low:.2f} and {high:.2f}"
    own = f"Out of sample: {len(walk.choices)} choices by {walk.by}, {len(walk.returns)} sessions: {told}"
    promised = walk.choices["chosen_at"].mean()
    lines = [walk.title, own, "" if np.isnan(promised) else f"mean {walk.by} when chosen: {promised:.2f}"]
    return "\n".join(line for line in lines if line)


def draw_windows(hv: Any, walk: WalkForward, equity: Any) -> Any:
    """Return one box a window, every other one grey, each of which knows what was chosen for it."""
    table = windows_of(walk, float(equity.min()), float(equity.max()))
    tools = [
        hover(
            ("followed", "@span"),
            ("chosen", "@chosen"),
            (f"{walk.by} when chosen", "@promised"),
            ("sharpe_ratio out of sample", "@kept"),
            ("return", "@earned"),
        )
    ]
    sides = ["session", "earned_from", "until", "earned_to"]
    boxes = hv.Rectangles(table, sides, ["shade", "span", "chosen", "promised", "kept", "earned"])
    return boxes.opts(color="shade", alpha=0.5, line_color=GREY, line_width=0.5, line_dash="dotted", tools=tools)


def windows_of(walk: WalkForward, low: float, high: float) -> Any:
    """Return the windows as boxes between two heights, with what is said of each: a DataFrame.

    A window ends where the next one begins, so that no session lies between two.
    """
    import pandas as pd

    rows = walk.choices
    first, last = (pd.to_datetime(rows[name]) for name in ("test_first", "test_last"))
    shade = np.where(np.arange(len(rows)) % 2 == 0, PALE, "#ffffff")
    room = 0.05 * (high - low) or 1.0
    found = {"session": first, "until": first.shift(-1).fillna(last), "shade": shade}
    found |= {"earned_from": low - room, "earned_to": high + room}
    found |= {"span": rows["test_first"] + " to " + rows["test_last"], "chosen": [_chosen(row) for row in _dicts(rows)]}
    numbers = {"promised": ("chosen_at", 1, ""), "kept": ("sharpe_ratio", 1, ""), "earned": ("return", 100, " %")}
    for name, (column, times, unit) in numbers.items():
        found[name] = [_number(times * value, unit) for value in rows[column]]
    return pd.DataFrame(found)


def _dicts(rows: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.to_dict("records")
    return found


def _chosen(row: dict[str, Any]) -> str:
    """Return what was chosen, in words."""
    if not isinstance(row["backtest_id"], str):
        return "nothing: no backtest had traded enough"
    named = [name for name in ("range_duration", *PARAMETERS) if name in row]
    said = (f"{_SHORT[name]} {words(name, [row[name]])[0]}" for name in named)
    return ", ".join(said).replace("limit no limit", "no limit")


def _number(value: float, unit: str) -> str:
    return "undefined" if np.isnan(value) else f"{value:.2f}{unit}"
