"""Every record that crosses a boundary, once, with its units.

Times inside a session are whole seconds since its open; prices are whole increments; profits inside the kernels
are whole ``increment / q`` (strategy.md, "One backtest's numbers"). Dollars, floats and UTC stamps exist only at the
edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

RESULTS_VERSION = 1  # part of every run's id: raised only when a number changes
STAGING_VERSION = 2  # of what Redis holds
CACHE_VERSION = 4  # of what cached_data/ holds: an older folder is read from its source again

#: One price change of a session, in columns (db 2): the step function a backtest walks along.
TICKS: dict[str, np.dtype[Any]] = {
    "time": np.dtype("<i4"),  # first second at this price, since the open
    "until": np.dtype("<i4"),  # last second an observation still showed it
    "price": np.dtype("<i4"),  # increments
    "first_of_bar": np.dtype("u1"),  # 1: the price did not move here continuously from the tick before
}

#: One observation of a session, in columns (cached_data/): what ticks and opening ranges are made from.
OBSERVATIONS: dict[str, np.dtype[Any]] = {
    "time": np.dtype("<i4"),  # second since the open
    "price": np.dtype("<i4"),  # increments
    "first_of_bar": np.dtype("u1"),  # 1: the first tick of its bar
    "stands": np.dtype("u1"),  # 1: stands until the next observation (inside a bar), 0: for its own second only
}

#: The volume of an observation, shares: a column beside those above, only where the source has volumes.
VOLUME = np.dtype("<f8")

#: One tradable session under one range duration, as the kernels take it (db 1).
RANGES = np.dtype(
    [
        ("session", "<i4"),  # index into the sessions of the tick series
        ("open_price", "<i4"),  # increments: first observation of the window
        ("close_price", "<i4"),  # increments: last observation of the window
        ("high", "<i4"),  # increments
        ("low", "<i4"),  # increments
        ("count_trades", "<i4"),  # observations in the window, bars counted once
        ("trading_start", "<i4"),  # second since the open of the first observation at or after the range's end
        ("first_tick", "<i8"),  # index into the tick columns: first tick at or after trading_start
        ("last_tick", "<i8"),  # index of the session's last tick
        ("first_price", "<i4"),  # increments: the session's first price, by which returns are measured
        ("avg_vol", "<f8"),  # mean implied volatility of the window, NaN where the source has none
    ]
)

#: A tick as kernels hop over it: a quarter of a cache line. Made from TICKS, stored nowhere.
NODES = np.dtype(
    [
        ("price", "<i4"),  # increments
        ("stamp", "<i4"),  # twice the time, and one more for the first of a bar
        ("higher", "<i4"),  # the next tick of the session at a higher price, or -1
        ("lower", "<i4"),  # the next tick of the session at a lower price, or -1
    ]
)

NEVER = 2**62  # increments: a price or a distance that is not reached, a second that does not come

#: One tradable session under a run's rules, as the kernels take it (db 1).
DAYS = np.dtype(
    [
        *RANGES.descr,
        ("up", "<i8"),  # increments: the price that opens a long; NEVER where none may open
        ("down", "<i8"),  # increments: the price that opens a short; -NEVER where none may open
        ("direction", "<i8"),  # of entry `open`: +1, -1, or 0 for no entry
        ("cutoff", "<i8"),  # second since the open before which a position must open
        ("long_anchor", "<i8"),  # increments: the level that an anchored stop of a long lies beyond
        ("short_anchor", "<i8"),  # increments: and of a short
        ("long_stop", "<i8"),  # 1e-11 dollars: what a stop distance of 1 means for a long
        ("short_stop", "<i8"),  # 1e-11 dollars: and for a short
        ("long_limit", "<i8"),  # 1e-11 dollars: what a limit distance of 1 means for a long
        ("short_limit", "<i8"),  # 1e-11 dollars: and for a short
        ("base", "<i8"),  # increments: what the session's profit is divided by
    ]
)

#: One round trip, as the scan writes it.
TRADE = np.dtype(
    [
        ("side", "<i8"),  # +1 long, -1 short
        ("entry_time", "<i8"),  # second since the open
        ("entry_price", "<i8"),  # increments
        ("exit_time", "<i8"),  # second since the open
        ("exit_price", "<i8"),  # increments
        ("reason", "<i8"),  # index into EXIT_REASONS
    ]
)
EXIT_REASONS = ("close", "limit", "stop")
CLOSE, LIMIT, STOP = range(3)

#: One backtest's whole-number sums over its sessions.
SUMS = np.dtype(
    [
        ("profit", "<i8"),  # increment / q
        ("returns", "<i8"),  # sum of r_d, in units of return: 1e-8, or increment / q under measure dollars
        ("squares", "<i8"),  # sum of r_d squared
        ("downside", "<i8"),  # sum of min(r_d, 0) squared
        ("drawdown", "<i8"),  # units of return, <= 0
        ("below", "<i8"),  # how far the sum of r_d lies below its running peak at the end, <= 0
        ("traded", "<i8"),  # sessions with a trade
        ("won", "<i8"),  # sessions with x_d > 0
        ("trades", "<i8"),
        ("wins", "<i8"),  # trades with a profit above zero
        ("stops", "<i8"),
        ("gross_profit", "<i8"),  # increment / q, over winning trades, net of costs
        ("gross_loss", "<i8"),  # increment / q, over losing trades, >= 0
        ("moves", "<i8"),  # increments: profit before costs
        ("holding", "<i8"),  # microseconds: sum of the sessions' mean holding times
    ]
)

#: What a summary counts of some backtests. A step is 1/CELL_STEPS; beyond CELL_CLIP steps a value counts as that many:
#: the sums of a run's 10**10 backtests fit 63 bits.
CELL_STEPS, CELL_CLIP = 1_000_000, 900_000_000
CELL = np.dtype(
    [
        ("backtests", "<i8"),
        ("return_steps", "<i8"),  # sum of backtest_return
        ("return_max", "<f8"),
        ("sharpes", "<i8"),  # backtests whose Sharpe ratio is defined
        ("sharpe_steps", "<i8"),  # sum of sharpe_ratio
        ("sharpe_max", "<f8"),
    ]
)

_REQUIRED, _OPTIONAL = {"nullable": False}, {"nullable": True}

#: One backtest's row: the result stream, the table `results` and `run.results()`. Missing means undefined.
RESULTS = pa.schema(
    [
        pa.field("backtest_id", pa.string(), **_REQUIRED),  # run_id-index, fixed width: sorts as the run does
        pa.field("run_id", pa.string(), **_REQUIRED),
        pa.field("ticker", pa.string(), **_REQUIRED),
        pa.field("range_duration", pa.int32(), **_REQUIRED),  # seconds
        pa.field("stop_distance", pa.float64(), **_REQUIRED),  # dollars
        pa.field("stop_count_limit", pa.int64(), **_REQUIRED),
        pa.field("stop_cooloff_period", pa.int64(), **_REQUIRED),  # seconds
        pa.field("limit_distance", pa.float64(), **_OPTIONAL),  # dollars; missing: no limit
        pa.field("backtest_profit", pa.float64(), **_REQUIRED),  # dollars per share
        pa.field("backtest_return", pa.float64(), **_REQUIRED),  # sum of daily returns, 1.0 = 100 %
        pa.field("average_holding_period", pa.float64(), **_OPTIONAL),  # seconds
        pa.field("win_rate_percent", pa.float64(), **_OPTIONAL),  # whole percent of traded sessions
        pa.field("sessions", pa.int64(), **_REQUIRED),  # T
        pa.field("sessions_traded", pa.int64(), **_REQUIRED),
        pa.field("trades", pa.int64(), **_REQUIRED),
        pa.field("stops", pa.int64(), **_REQUIRED),
        pa.field("win_rate", pa.float64(), **_OPTIONAL),  # 0..1 of trades
        pa.field("gross_profit", pa.float64(), **_REQUIRED),  # dollars, net of costs, >= 0
        pa.field("gross_loss", pa.float64(), **_REQUIRED),  # dollars, net of costs, >= 0
        pa.field("profit_factor", pa.float64(), **_OPTIONAL),
        pa.field("expectancy", pa.float64(), **_OPTIONAL),  # dollars per trade
        pa.field("break_even_cost", pa.float64(), **_OPTIONAL),  # dollars per share and fill
        pa.field("sharpe_ratio", pa.float64(), **_OPTIONAL),  # annual
        pa.field("sortino_ratio", pa.float64(), **_OPTIONAL),  # annual
        pa.field("max_drawdown", pa.float64(), **_REQUIRED),  # sum of returns, <= 0
        pa.field("resolved", pa.int8(), **_REQUIRED),  # 1, or 0: distances finer than the bars can tell
    ]
)

PARAMETERS = ("stop_distance", "stop_count_limit", "stop_cooloff_period", "limit_distance")  # last one fastest
MIN_SESSIONS = 30  # with a trade, of a backtest that may be called best: strategy.md, "Best"
