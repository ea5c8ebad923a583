"""Heat maps: what is drawn and marked, against a groupby of the rows."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.analysis.pictures import heatmap
from orbresearch.analysis.pictures.heat import MOST_TICKS

X, Y = "stop_distance", "limit_distance"


def parts(picture) -> tuple:
    """Return what is drawn and the star."""
    drawn, star = picture.plot.values()
    return drawn, star


@pytest.mark.parametrize(
    ("column", "how"), [("sharpe_ratio", "max"), ("backtest_profit", "mean"), ("trades", "median")]
)
def test_rectangles_equal_a_groupby(rows, column, how):
    drawn = parts(heatmap(rows, X, Y, column, {"max": "best"}.get(how, how), min_sessions=0))[0].dframe()
    expected = rows.groupby([X, Y], dropna=False)[column].agg(how)
    assert len(drawn) == len(expected) == 20
    for (x, y), value in expected.items():
        word = "no limit" if np.isnan(y) else f"{y:g}"
        cell = drawn[(drawn["across"] == f"{x:g}") & (drawn["up"] == word)]
        assert cell["value"].item() == pytest.approx(value)


def test_the_star_marks_the_highest_cell_and_the_title_says_which(rows):
    picture = heatmap(rows, X, Y, "sharpe_ratio", title="SPY, 2024")
    drawn, star = parts(picture)
    at, cells = star.dframe().iloc[0], drawn.dframe()
    under = cells[
        (cells["x"] < at["x"]) & (at["x"] < cells["x_end"]) & (cells["y"] < at["y"]) & (at["y"] < cells["y_end"])
    ]
    fit = rows[rows["sessions_traded"] >= 30]
    assert under["value"].item() == fit["sharpe_ratio"].max()
    assert picture.title.startswith("SPY, 2024\nbest sharpe_ratio by stop_distance and limit_distance, ")
    assert f"highest (star): {fit['sharpe_ratio'].max():.4g} at stop_distance {under['across'].item()}" in picture.title


def test_cells_without_a_value_are_no_low_ones(rows):
    gone = rows.assign(sharpe_ratio=rows["sharpe_ratio"].mask((rows[X] == 0.4) & (rows[Y] == 2)))
    picture = heatmap(gone, X, Y)
    drawn = parts(picture)[0]
    assert drawn.dframe()["value"].isna().sum() == 1
    assert "grey: no value" in picture.title
    figure = hv.renderer("bokeh").get_plot(picture.plot).state
    mapper = next(g.glyph.fill_color.transform for g in figure.renderers if hasattr(g.glyph, "right"))
    assert mapper.nan_color not in mapper.palette
    assert mapper.low == pytest.approx(drawn.dframe()["value"].min())


def test_axes_and_colour_bar_say_names_and_units(rows):
    figure = hv.renderer("bokeh").get_plot(heatmap(rows, X, Y, units={X: "atr"}).plot).state
    assert figure.xaxis[0].axis_label == "stop_distance, atr"
    assert figure.yaxis[0].axis_label == "limit_distance, $"
    assert figure.yaxis[0].major_label_overrides[4.0] == "no limit"
    bar = next(panel for panel in figure.right if type(panel).__name__ == "ColorBar")
    assert bar.title == "sharpe_ratio, annual"


def test_of_long_axes_some_values_are_named():
    frame = pd.DataFrame({"a": np.repeat(np.arange(150), 2), "b": np.tile([1, 2], 150), "v": np.arange(300.0)})
    figure = hv.renderer("bokeh").get_plot(heatmap(frame, "a", "b", "v").plot).state
    assert 10 <= len(figure.xaxis[0].ticker.ticks) <= MOST_TICKS


def test_no_limit_is_always_named():
    frame = pd.DataFrame({"a": 1, "limit_distance": [*np.arange(49.0), np.nan], "v": 1.0})
    figure = hv.renderer("bokeh").get_plot(heatmap(frame, "a", "limit_distance", "v").plot).state
    assert figure.yaxis[0].major_label_overrides[49.0] == "no limit"


def test_a_scale_is_drawn_the_right_way_up():
    values = np.linspace(0, 1, 300)
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    frame = pd.DataFrame({"a": x, "b": y, "v": 10 * y + x})
    drawn, star = parts(heatmap(frame, "a", "b", "v"))
    assert isinstance(drawn, hv.Image)
    assert drawn[0.99, 0.01] == pytest.approx(0.99 + 0.1, abs=0.1)
    assert drawn[0.01, 0.99] == pytest.approx(9.9 + 0.01, abs=0.1)
    assert star.dframe().iloc[0].tolist() == pytest.approx([1, 1], abs=0.01)


def test_a_runs_summary_is_drawn_as_it_is():
    cells = pd.DataFrame({X: [0.1, 0.1, 0.2], Y: [1.0, np.nan, 1.0], "sharpe_max": [1.0, 2.0, 3.0]})
    drawn = parts(heatmap(cells, X, Y, "sharpe_max"))[0].dframe()
    assert sorted(drawn["value"].dropna()) == [1.0, 2.0, 3.0]


def test_unresolved_backtests_are_left_out_unless_asked_for(market_data):
    path = market_data / "spy_1min_2024_2025.parquet"
    found = orb.load_sessions(path, "SPY", start="2024-07-01", end="2024-10-01", bar=60, stamp="start", cache=False)
    rows = orb.run_grid(found, orb.ParameterGrid([0.05, 2], 1, 60, [0.1, 3]), 900)
    assert 0 < rows["resolved"].sum() < len(rows)
    assert parts(heatmap(rows, X, Y))[0].dframe()["value"].notna().sum() == rows["resolved"].sum()
    assert parts(heatmap(rows, X, Y, min_sessions=0))[0].dframe()["value"].notna().all()
