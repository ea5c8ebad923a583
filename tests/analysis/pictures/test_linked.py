"""Clicks: a cell shows its best backtest, a session there its day. Without a browser: the streams are told."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import pytest
from bokeh.models import Plot

import orbresearch as orb
from orbresearch.analysis.pictures import explore
from orbresearch.errors import BadInput
from orbresearch.plan import make_plan, parse_backtest_id
from tests.analysis.pictures.conftest import GRID


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def picture(sessions, rows, asked):
    plan = make_plan(sessions, GRID, 300)

    def backtest_of(backtest_id: str) -> orb.Backtest:
        asked.append(backtest_id)
        point = plan.grid.points(index := parse_backtest_id(backtest_id)[1], index + 1)
        limit = point["limit_distance"][0]
        first = (point[name][0].item() for name in ("stop_distance", "stop_count_limit", "stop_cooloff_period"))
        return orb.run_backtest(sessions, 300, *first, None if np.isnan(limit) else limit)

    return explore(rows, backtest_of)


def profit_of(plot) -> np.ndarray:
    return next(e for e in plot.values() if e.label.startswith("backtest")).dframe()["profit"].to_numpy()


def taps(picture) -> tuple:
    _, profit, day = picture.plot.values()
    (cell,) = profit.streams
    return profit, day, cell, next(stream for stream in day.streams if stream is not cell)


def best_in(rows, stop: float, limit: float):
    cell = rows[(rows["stop_distance"] == stop) & (rows["limit_distance"] == limit) & (rows["sessions_traded"] >= 30)]
    return cell.loc[cell["sharpe_ratio"].idxmax()]


def test_it_begins_with_the_best_of_all_and_its_best_day(picture, rows, asked):
    profit, day, *_ = taps(picture)
    best = rows.loc[rows["sharpe_ratio"].where(rows["sessions_traded"] >= 30).idxmax()]
    assert asked == [best["backtest_id"]]
    drawn = profit_of(profit[()])
    assert drawn[-1] == pytest.approx(best["backtest_profit"])
    made = np.diff(drawn, prepend=0).max()
    assert f"profit {made:.2f} $" in hv.Store.lookup_options("bokeh", day[()], "plot").kwargs["title"]


def test_a_click_on_a_cell_shows_its_best_backtest(picture, rows):
    profit, day, cell, _ = taps(picture)
    profit[()], day[()]
    cell.event(x=2.1, y=0.8)  # the third stop, the second limit
    best = best_in(rows, 0.8, 1)
    assert profit_of(profit[()])[-1] == pytest.approx(best["backtest_profit"])


def test_a_click_on_a_session_shows_that_day(picture, sessions):
    profit, day, _, session = taps(picture)
    profit[()], day[()]
    session.event(x=np.datetime64("2024-02-06T09:00"), y=1.0)
    times = next(e for e in day[()].values() if e.label == "price").dframe()["time"]
    assert {str(moment.date()) for moment in times} == {"2024-02-06"}
    session.event(x=np.datetime64("2024-02-10T09:00"), y=1.0)  # a Saturday
    times = next(e for e in day[()].values() if e.label == "price").dframe()["time"]
    assert {str(moment.date()) for moment in times} == {"2024-02-09"}


def test_the_same_backtest_is_not_computed_twice(picture, asked):
    profit, day, cell, session = taps(picture)
    for at in ((0.0, 0.0), (1.0, 1.0), (0.0, 0.0)):
        cell.event(x=at[0], y=at[1])
        session.event(x=np.datetime64("2024-01-05"), y=0.0)
        profit[()], day[()]
    assert len(asked) == len(set(asked)) <= 3


def test_the_saved_page_needs_no_kernel(picture):
    assert not picture.page.traverse(lambda found: found, [hv.DynamicMap])
    assert len(picture.page) == 3


def test_rows_without_ids_are_refused(rows):
    with pytest.raises(BadInput, match="no column 'backtest_id'"):
        explore(rows.drop(columns="backtest_id"), lambda _: None)


def figures(plot) -> dict[int, object]:
    """Return bokeh's figures by their height, which differs."""
    return {figure.height: figure for figure in plot.state.select({"type": Plot})}


def test_the_browsers_figures_follow_the_clicks(picture):
    plot = hv.renderer("bokeh").get_plot(picture.plot)
    *_, cell, session = taps(picture)
    callbacks = [found for part in plot.traverse(lambda part: getattr(part, "callbacks", [])) for found in part]
    assert sorted(map(id, (s for found in callbacks for s in found.streams))) == sorted(map(id, (cell, session)))
    _, profit, day = (figures(plot)[height] for height in (420, 380, 460))
    cell.event(x=0.0, y=0.0)
    assert "stop 0.2, limit 0.5" in profit.title.text
    assert "stop 0.2, limit 0.5" in day.title.text
    session.event(x=np.datetime64("2024-03-12T05:00"), y=1.0)
    assert day.title.text.startswith("Tuesday 2024-03-12")
    ends = [np.datetime64(end, "ms") for end in (day.x_range.start, day.x_range.end)]
    assert [str(end)[:10] for end in ends] == ["2024-03-12"] * 2
