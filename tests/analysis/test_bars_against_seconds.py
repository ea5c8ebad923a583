"""Bars mislead by little: what level fills on minute bars earn, the same market's seconds earn as well."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.sources.synthetic.sessions import synthetic_prices, synthetic_schedule

SESSIONS, SEED, START = 1500, 2, "2019-01-02"


def minute_bars() -> orb.Sessions:
    """Aggregate the synthetic market's seconds into minute bars, as a vendor would."""
    time, price = synthetic_prices(synthetic_schedule(SESSIONS, START), SEED)
    minute = time - time % 60
    first = np.flatnonzero(np.diff(minute, prepend=0))
    last = np.append(first[1:], len(time)) - 1
    bars = {
        "timestamp_utc": minute[first],
        "open": price[first],
        "high": np.maximum.reduceat(price, first),
        "low": np.minimum.reduceat(price, first),
        "price": price[last],
    }
    return orb.load_sessions(pd.DataFrame(bars), "SYNTHETIC", bar=60, stamp="start")


@pytest.mark.slow
def test_resolved_backtests_on_minute_bars_differ_from_seconds_by_a_quarter_of_a_bar_range_a_day():
    seconds, bars = orb.synthetic_sessions(SESSIONS, SEED, start=START), minute_bars()
    bar_range = bars.series.bar_range_twice / 2 * bars.increment
    stops = [round(bar_range * times, 2) for times in (1.1, 2.1, 3.2, 4.2, 5.3, 10.5)]
    grid = orb.ParameterGrid(stops, [1, 3], 60, [1, 2, 3, 5])
    truth = orb.run_grid(seconds, grid, 300)
    for sessions in (bars, bars.other_path()):
        found = orb.run_grid(sessions, grid, 300)
        resolved = (found.resolved == 1).to_numpy()
        assert resolved.sum() == 32
        difference = (found.backtest_profit - truth.backtest_profit)[resolved] / SESSIONS / bar_range
        assert difference.abs().max() <= 0.25
