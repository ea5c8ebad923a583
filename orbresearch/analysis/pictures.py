"""Pictures, with hvplot: shown inline in Jupyter, saved as self-contained HTML."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orbresearch.analysis.performance import Backtest

PROFIT, PRICE, LOSS = "#0072b2", "#999999", "#d55e00"  # Okabe and Ito: distinct to colour-blind eyes


@dataclass(frozen=True, eq=False)
class Picture:
    """A HoloViews object that shows itself in Jupyter and saves itself as a page.

    Parameters
    ----------
    plot : holoviews object
    title : str
        Of the page.
    """

    plot: Any
    title: str

    def __repr__(self) -> str:
        return f"Picture({self.title}); .save(path) writes it as HTML"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.plot._repr_mimebundle_(include, exclude)

    def save(self, path: str | Path) -> Path:
        """Write a self-contained HTML page; its folder is made. Returns the path."""
        import hvplot
        from bokeh.resources import INLINE

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part.html")
        try:
            hvplot.save(self.plot, str(part), title=self.title, resources=INLINE)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target


def equity(backtest: Backtest) -> Picture:
    """Return the cumulative profit against the price change over the sessions, both in dollars per share.

    Parameters
    ----------
    backtest : Backtest
    """
    import pandas as pd

    _load()
    change = backtest.prices - backtest.first_price
    frame = pd.DataFrame({"strategy": backtest.daily.cumsum(), "buy and hold": change})
    drawdown = frame["strategy"] - frame["strategy"].cummax().clip(lower=0)
    curves = frame.hvplot.line(
        y=["strategy", "buy and hold"],
        color=[PROFIT, PRICE],
        ylabel="profit since the first open ($ per share)",
        xlabel="",
        group_label="",
        legend="top_left",
        title=backtest.title,
        height=360,
        responsive=True,
        grid=True,
        fontsize={"title": "10pt"},
    )
    below = drawdown.rename("drawdown").hvplot.area(
        color=LOSS, alpha=0.5, ylabel="drawdown ($)", xlabel="session", height=140, responsive=True, grid=True
    )
    return Picture((curves + below).cols(1), backtest.title)


def _load() -> None:
    """Load hvplot's bokeh back end, once; in Jupyter this sends its JavaScript to the page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hvplot.pandas  # noqa: F401
