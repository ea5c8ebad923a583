"""Pictures, with hvplot: shown inline in Jupyter, saved as self-contained HTML."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest

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
            hvplot.save(self.plot, str(part), title=self.title.splitlines()[0], resources=INLINE)
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
    _load()
    strategy = backtest.daily.cumsum().rename("profit")
    hold = backtest.price_change.rename("profit")
    drawdown = (strategy - strategy.cummax().clip(lower=0)).rename("drawdown")
    shared = {"responsive": True, "grid": True, "xlabel": "", "fontsize": {"title": "10pt"}}
    above = {**shared, "height": 380, "ylabel": "since the first open, $ per share", "title": backtest.title}
    curves = hold.hvplot.line(color=PRICE, label="price change", **above)
    curves *= strategy.hvplot.line(color=PROFIT, line_width=2, label="backtest, cumulative profit", **above)
    below = drawdown.hvplot.area(color=LOSS, alpha=0.6, height=150, title="", ylabel="drawdown, $", yticks=3, **shared)
    return Picture((curves.opts(legend_position="top_left") + below).cols(1), backtest.title)


def _load() -> None:
    """Load hvplot's bokeh back end, once. In Jupyter its JavaScript goes into the page: no network is needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import holoviews

        if not getattr(holoviews.extension, "_loaded", False):
            holoviews.extension("bokeh", inline=True, logo=False)
        import hvplot.pandas  # noqa: F401
