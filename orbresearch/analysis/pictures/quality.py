"""The data-quality report as a picture: observations and gaps of every session, and what was found in which."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.analysis.pictures.picture import (
    BLUE,
    HEAT,
    ORANGE,
    PALE,
    SHARED,
    Picture,
    hover,
    load,
)
from orbresearch.errors import BadInput

#: Columns of the report that count what is wrong with a session's rows -> what they are called.
FINDINGS = {
    "dropped": "rows without a usable price",
    "overruled": "rows overruled in their second",
    "reordered": "rows out of order",
    "rounded": "prices rounded",
    "inconsistent": "bars with inconsistent extremes",
    "broken": "bars with a bad value",
    "no_volume": "rows without a volume",
    "before_open": "rows before the open",
    "after_close": "rows after the close",
    "gaps": "gaps of more than a minute and a bar",
    "longest_gap": "longest gap, s",
    "first": "first observation, s after the open",
    "early_end": "last observation, s before the close",
}
_FOUND = ["at", "session", "finding", "count", "shown"]
_LATE = 30  # seconds after the open, or before the close, where the report does not say what is late


def quality(report: Any) -> Picture:
    """Return a data-quality report as a picture: observations by session above, what was found in which below.

    The colour says how much of the most of its line a session has, on a logarithmic scale; lines of which no session
    has any are left out. Hover for the numbers.

    Parameters
    ----------
    report : Quality or DataFrame
        ``sessions.quality``: one row per session.

    Raises
    ------
    BadInput
        A table without sessions, or of other columns.

    Examples
    --------
    >>> from orbresearch import synthetic_sessions
    >>> quality(synthetic_sessions(3).quality)
    Picture(Data quality of SYNTHETIC, 3 sessions 2024-01-02 to 2024-01-04); .save(path) writes it as HTML
    """
    if len(report) == 0 or "observations" not in report.columns:
        raise BadInput("report", "no session's observations are in it", "give sessions.quality")
    hv = load()
    ticker = (getattr(report, "facts", None) or {}).get("ticker", "")
    of = f" of {ticker}" if ticker else ""
    first, last = (f"{report.index[i]:%Y-%m-%d}" for i in (0, -1))
    title = f"Data quality{of}, {len(report):,} session{'s' * (len(report) != 1)} {first} to {last}"
    counts, found = _counts(hv, report, title), found_in(report)
    if len(found) == 0:
        return Picture(counts.opts(title=f"{title}; nothing was found in any of them"), title)
    return Picture((counts + _draw_found(hv, report, found)).cols(1), title)


def found_in(report: Any) -> Any:
    """Return what was found, of the findings that some session has: one row per session and finding.

    Returns
    -------
    DataFrame
        ``at`` (number of the session), ``session``, ``finding``, ``count`` (as in the report), ``shown`` (the same, 0
        where it is nothing to remark: seconds between observations that are no gap, an end on time).
    """
    import pandas as pd

    parts = []
    for name in (name for name in FINDINGS if name in report.columns):
        count = report[name].to_numpy(float)
        shown = np.where(_remarkable(report, name, count), count, 0)
        if shown.any():
            columns = {"at": np.arange(len(report)), "session": report.index, "finding": FINDINGS[name]}
            parts.append(pd.DataFrame({**columns, "count": count, "shown": shown}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_FOUND)


def _remarkable(report: Any, name: str, count: Any) -> Any:
    """Return in which sessions a count is one to remark: bool array."""
    if name == "longest_gap":
        return report["gaps"].to_numpy() > 0
    if name in ("first", "early_end"):
        return count > (getattr(report, "facts", None) or {}).get("late_after", _LATE)
    return count > 0


def _counts(hv: Any, report: Any, title: str) -> Any:
    table = {"at": np.arange(len(report)), "observations": report["observations"].to_numpy()}
    table["date"] = report.index.strftime("%Y-%m-%d").to_numpy(object)
    tools = [hover(("session", "@date"), ("observations", "@observations{0,0}"))]
    curve = hv.Curve((table["at"], table["observations"]), "at", "observations").opts(
        interpolation="steps-mid", color=BLUE, line_width=1
    )
    points = hv.Scatter(table, "at", ["observations", "date"]).opts(color=BLUE, size=3, tools=tools)
    parts, few = [curve, points], _few(report)
    marked = hv.Scatter({name: values[few] for name, values in table.items()}, "at", ["observations", "date"])
    marked = marked.relabel("under 90 % of the median").opts(
        color=ORANGE, marker="triangle", size=10, line_color="black"
    )
    parts += [marked] if few.any() else []
    style = {"height": 220, "title": title, "xlabel": "", "xticks": _dates(report), "xlim": _ends(report)}
    style |= {
        "yformatter": "%d",
        "legend_position": "top_left",
        "ylim": (0, 1.4 * float(table["observations"].max())),
    }
    return hv.Overlay(parts).opts(**SHARED, **style)


def _few(report: Any) -> Any:
    """Return which sessions have clearly fewer observations than usual: bool array."""
    counts = report["observations"].to_numpy()
    return counts < 0.9 * np.median(counts)


def _draw_found(hv: Any, report: Any, found: Any) -> Any:
    """Return a rectangle for each session and finding."""
    lines = list(dict.fromkeys(found["finding"]))[::-1]
    up = found["finding"].map({name: i for i, name in enumerate(lines)}).to_numpy(float)
    shown = found["shown"].to_numpy(float)
    most = found.groupby("finding")["shown"].transform("max").to_numpy(float)
    share = np.where(shown > 0, np.log1p(shown) / np.log1p(most), np.nan)
    at = found["at"].to_numpy(float)
    table = {"at": at - 0.5, "line": up - 0.5, "at_end": at + 0.5, "line_end": up + 0.5, "share": share}
    table |= {"count": found["count"].to_numpy(), "finding": found["finding"].to_numpy(object)}
    table["date"] = found["session"].dt.strftime("%Y-%m-%d").to_numpy(object)
    tools = [hover(("session", "@date"), ("@finding", "@count{0,0}"))]
    drawn = hv.Rectangles(table, ["at", "line", "at_end", "line_end"], ["share", "count", "finding", "date"])
    ticks = {"xticks": _dates(report), "yticks": list(enumerate(lines)), "xlim": _ends(report)}
    style = {**SHARED, "show_grid": False, "height": 150 + 26 * max(1, len(lines)), "ylabel": "", "xlabel": "session"}
    style |= {
        "title": "What was found in which session (grey: nothing)",
        "ylim": (-0.5, max(1, len(lines)) - 0.5),
    }
    heat = {"cmap": HEAT, "clim": (0, 1), "colorbar": True, "colorbar_opts": {"width": 14}, "bgcolor": PALE}
    heat["clabel"] = "share of most, log"
    return drawn.opts(**style, **ticks, **heat, clipping_colors={"NaN": PALE}, color="share", line_alpha=0, tools=tools)


def _ends(report: Any) -> tuple[float, float]:
    return -0.5, len(report) - 0.5


def _dates(report: Any, most: int = 10) -> list[tuple[int, str]]:
    """Return which sessions are named on the axis."""
    step = -(-len(report) // most)
    return [(i, f"{report.index[i]:%Y-%m-%d}") for i in range(0, len(report), step)]
