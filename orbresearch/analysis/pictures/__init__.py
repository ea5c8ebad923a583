"""Pictures of a research run, with HoloViews on bokeh: shown inline in Jupyter, saved as self-contained HTML.

In the order of use::

    quality          what is wrong with the prices, session by session
    day              one session of a backtest: price, opening range, entries and exits
    equity           a backtest's profit against the price change
    by_entry_time    its profit by the half-hour of entry
    by_weekday       its profit by weekday
    cost_curve       its profit against what a share and side costs
    heatmap          a run: two parameters for any column
    explore          heatmap -> equity -> day, by clicks
    forward          what following each window's choice came to, out of sample
    distribution     the Sharpe ratios of all backtests, the best among them, and where luck's best would be

All of them take data: backtests, DataFrames, arrays.
"""

from orbresearch.analysis.pictures.bars import by_entry_time, by_weekday
from orbresearch.analysis.pictures.curves import cost_curve, equity
from orbresearch.analysis.pictures.days import day
from orbresearch.analysis.pictures.forward import forward
from orbresearch.analysis.pictures.heat import heatmap
from orbresearch.analysis.pictures.linked import explore
from orbresearch.analysis.pictures.picture import Picture
from orbresearch.analysis.pictures.quality import quality
from orbresearch.analysis.pictures.spread import distribution

__all__ = [
    "Picture",
    "by_entry_time",
    "by_weekday",
    "cost_curve",
    "day",
    "distribution",
    "equity",
    "explore",
    "forward",
    "heatmap",
    "quality",
]
