"""On the real files, under rules of every kind: every sum of a grid and of a list is the plain scan's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from orbresearch import ParameterGrid, Rules
from tests.kernels.test_grid import check
from tests.sessions import real

FILES = {
    "SPY bars": ("spy_1min_2024_2025", "SPY", {}),
    "UPRO bars": ("upro_1min_2020", "UPRO", {}),
    "AAPL bars": ("eqker_1min_2019_24tickers", "AAPL", {}),
    "SPY seconds": ("lean_second_trades_dev", "SPY", {"bar": 0}),
    "BAC ticks": ("lean_tick_trades_dev", "BAC", {}),
    "SPY mids": ("lean_second_quotes_dev", "SPY", {}),
}
RULES = {
    "default": {},
    "costs": {"commission": 0.0005, "slippage": 0.005},
    "long in percent": {"side": "long", "stop_unit": "percent", "limit_unit": "percent", "entry_cutoff": 12_600},
    "range and R": {"side": "opening_bar", "stop_unit": "range", "limit_unit": "R", "measure": "dollars"},
    "other edge": {"stop_anchor": "opposite_edge", "limit_unit": "R", "exit_time": 20_400},
    "open": {"side": "opening_bar", "entry": "open", "stop_anchor": "opposite_edge", "stop_unit": "range"},
    "buffer": {"entry_buffer": 0.02, "stop_anchor": "opposite_entry", "select": ("weekday", "in", [0, 2, 4])},
}


def draw(rng, rules: Rules, price: float) -> ParameterGrid:
    """Return a grid of some hundred points that suits a price, in the rules' units, in no order."""
    scale = {"dollars": price / 500, "percent": 0.2, "range": 0.5, "R": 2.0}
    stops, limits = (
        np.round(scale[unit] * 10 ** rng.uniform(-1, 1, size), 3).clip(0.001).tolist()
        for unit, size in ((rules.stop_unit, 4), (rules.limit_unit, 6))
    )
    return ParameterGrid(stops, rng.integers(1, 7, 3).tolist(), rng.choice([0, 1, 30, 60, 900], 3), [*limits, None])


@pytest.mark.parametrize("fill", ["seen", "level"])
@pytest.mark.parametrize("said", RULES.values(), ids=RULES)
@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_grid_on_real_prices_equals_the_scan(file, said, fill, market_data):
    name, ticker, options = file
    sessions, rules = real.load(market_data, name, ticker, **options), Rules(fill=fill, **said)
    rng = np.random.default_rng([len(name), len(said), len(fill)])
    days = sessions.between(*(str(day.date()) for day in sessions.dates[[0, min(40, len(sessions) - 1)]]))
    price = float(days.columns["price"][0]) * days.increment
    found = check(days, draw(rng, rules, price), 300, rules, cells=int(rng.choice([30, 500, 50_000])))
    assert found["traded"].max() > 0
