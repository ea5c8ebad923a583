"""What all pictures share: how they show and save themselves, colours, formats, the back end."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# Okabe and Ito: distinct to colour-blind eyes
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
GREY, PALE, BLACK = "#999999", "#dddddd", "#000000"
PROFIT, PRICE, LOSS = BLUE, GREY, VERMILION
HEAT = "viridis"  # no grey in it: PALE is free for cells without a value

_NO_ICONS = {"apple_icon": "", "app_favicon": ""}  # else pages ask a server for Panel's

SHARED: dict[str, Any] = {"responsive": True, "show_grid": True, "fontsize": {"title": "10pt"}}


@dataclass(frozen=True, eq=False)
class Picture:
    """A HoloViews object that shows itself in Jupyter and saves itself as a page.

    Parameters
    ----------
    plot : holoviews object
    title : str
        Of the page.
    page : holoviews object, optional
        What is saved where it differs: a plot that answers clicks needs a running kernel.
    """

    plot: Any
    title: str
    page: Any = None

    def __repr__(self) -> str:
        return f"Picture({self.title.splitlines()[0]}); .save(path) writes it as HTML"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.plot._repr_mimebundle_(include, exclude)

    def save(self, path: str | Path) -> Path:
        """Write a self-contained HTML page; its folder is made. Returns the path."""
        import panel
        from bokeh.resources import INLINE

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part, shown = target.with_name(f".{target.name}.part.html"), self.plot if self.page is None else self.page
        try:
            named = {"title": self.title.splitlines()[0], "template_variables": _NO_ICONS}
            panel.pane.HoloViews(shown, backend="bokeh").save(str(part), resources=INLINE, **named)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target


@cache
def load() -> Any:
    """Return holoviews, its bokeh back end loaded once. In Jupyter the JavaScript goes into the page: no network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import holoviews

        if not getattr(holoviews.extension, "_loaded", False):
            holoviews.extension("bokeh", inline=True, logo=False)
    return holoviews


def hover(*tooltips: tuple[str, str]) -> Any:
    """Return bokeh's hover tool with these (name, format) lines; dates are written as dates, times as times.

    Examples
    --------
    >>> hover(("price", "@price{0,0.00} $")).tooltips
    [('price', '@price{0,0.00} $')]
    """
    from bokeh.models import HoverTool

    return HoverTool(tooltips=list(tooltips), formatters={"@time": "datetime", "@session": "datetime"})


def dollars(places: int = 2) -> Any:
    """Return the format of an axis in dollars."""
    from bokeh.models import NumeralTickFormatter

    return NumeralTickFormatter(format="0,0." + "0" * places)


def number(value: float) -> str:
    """Return a number in about four digits.

    Examples
    --------
    >>> number(1234567.8), number(0.123456), number(30.0), number(-2.0)
    ('1,234,568', '0.1235', '30', '-2')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
