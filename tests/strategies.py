"""Hypothesis strategies: small sessions in which much happens.

Prices are whole increments around 1000 (give or take 30), times whole seconds since the open. `point_rows`
and `bar_rows` turn a drawn session into what a file would hold: UTC seconds and dollars.
"""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

SESSION_SECONDS = 23_400  # a regular session
MIDDLE, REACH = 1000, 30

PointSession = list[tuple[int, int]]
BarSession = list[tuple[int, int, int, int, int]]

_time_steps = st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 5, 9, 30, 61, 400])
_small_moves = st.sampled_from([0, 0, 0, 1, -1, 2, -2, 4, -4, 7, -7])
_jumps = st.integers(-2 * REACH, 2 * REACH)
_moves = st.one_of(_small_moves, _small_moves, _small_moves, _jumps)


def _clamped(price: int) -> int:
    """The price, held within the reach."""
    return max(MIDDLE - REACH, min(MIDDLE + REACH, price))


@st.composite
def _walk(draw: st.DrawFn, length: int, max_size: int) -> PointSession:
    """A walk with gaps, ties, missing seconds and several prices in one second."""
    time, price = draw(st.sampled_from([0, 0, 0, 1, 3, 30])), MIDDLE
    session = [(time, price)]
    for step, move in draw(st.lists(st.tuples(_time_steps, _moves), min_size=4, max_size=max_size)):
        time, price = time + step, _clamped(price + move)
        if time > length:
            break
        session.append((time, price))
    return session


@st.composite
def _eventful(draw: st.DrawFn, length: int, max_size: int) -> PointSession:
    """A narrow range in the first five seconds, then prices that stand, cross it and come back."""
    session = [(second, MIDDLE + draw(st.integers(-2, 2))) for second in range(draw(st.integers(1, 5)))]
    time = 5
    for _ in range(draw(st.integers(3, max_size))):
        side = draw(st.sampled_from([1, 1, -1]))
        price = MIDDLE + side * draw(st.sampled_from([0, 2, 3, 4, 6, 10, 20, 30]))
        for step in draw(st.lists(st.sampled_from([0, 1, 1, 2, 4]), min_size=1, max_size=4)):
            time += step
            if time <= length:
                session.append((time, price))
    return session


@st.composite
def _quiet(draw: st.DrawFn, length: int, max_size: int) -> PointSession:
    """A session without a breakout: the whole reach is seen at once, nothing after leaves it."""
    session = [(0, MIDDLE), (1, MIDDLE + REACH), (2, MIDDLE - REACH)]
    time = 2
    for step, move in draw(st.lists(st.tuples(_time_steps, _jumps), max_size=max_size)):
        time += step
        if time <= length:
            session.append((time, _clamped(MIDDLE + move)))
    return session


@st.composite
def _one_tick(draw: st.DrawFn, length: int) -> PointSession:
    """A session of one observation."""
    return [(draw(st.sampled_from([0, 7, 60, length])), MIDDLE)]


@st.composite
def sessions_of_points(draw: st.DrawFn, length: int = SESSION_SECONDS, max_size: int = 40) -> PointSession:
    """(time, price) in file order, times never falling; sometimes with a print at exactly the close."""
    kinds = [_eventful(length, max_size // 2)] * 4 + [_walk(length, max_size)] * 3
    session = draw(st.one_of(*kinds, _quiet(length, max_size // 2), _one_tick(length)))
    if draw(st.integers(0, 3)) == 0:
        session = [*session, (length, _clamped(session[-1][1] + draw(_moves)))]
    return session


@st.composite
def sessions_of_bars(
    draw: st.DrawFn, bar_seconds: int = 60, length: int = SESSION_SECONDS, max_size: int = 25
) -> BarSession:
    """(start, open, high, low, close), starts rising by whole bars; bars go missing, open with gaps, may
    start at the close, and move little, much or not at all."""
    start, price = 0, MIDDLE
    session: BarSession = []
    for _ in range(draw(st.integers(2, max_size))):
        start += bar_seconds * draw(st.sampled_from([0, 0, 0, 0, 0, 1, 3]))
        if start >= length:
            break
        opening = _clamped(price + draw(st.sampled_from([0, 0, 0, 1, -1, 3, -3, 15, -15])))
        closing = _clamped(opening + draw(_moves))
        high = max(opening, closing) + draw(st.sampled_from([0, 0, 1, 2, 5, 12]))
        low = min(opening, closing) - draw(st.sampled_from([0, 0, 1, 2, 5, 12]))
        session.append((start, opening, high, low, closing))
        start, price = start + bar_seconds, closing
    if draw(st.integers(0, 3)) == 0:
        opening = _clamped(price + draw(_moves))
        session.append((length, opening, opening + 4, opening - 4, opening + 1))
    return session


@st.composite
def parameters(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(stop, limit, cooloff, stop_count): distances in increments, the cool-off in seconds."""
    stop = draw(st.sampled_from([1, 2, 3, 5, 8, 15]))
    limit = draw(st.sampled_from([1, 2, 4, 7, 12, 25, 40]))
    cooloff = draw(st.sampled_from([0, 0, 1, 2, 3, 5, 20, 60, 300]))
    return stop, limit, cooloff, draw(st.integers(1, 5))


def durations(bar_seconds: int = 0) -> st.SearchStrategy[int]:
    """Range durations in seconds; whole bars where there are bars."""
    if bar_seconds:
        return st.sampled_from([1, 1, 2, 5]).map(lambda bars: bars * bar_seconds)
    return st.sampled_from([1, 5, 5, 5, 5, 5, 6, 10, 60])


def dollars(price: int, increment_nanos: int) -> float:
    """The float64 nearest to a price in increments."""
    return float(Fraction(price * increment_nanos, 1_000_000_000))


def point_rows(session: PointSession, open_s: int, increment_nanos: int) -> list[tuple[int, float]]:
    """(UTC seconds, dollars) of a session of points."""
    return [(open_s + time, dollars(price, increment_nanos)) for time, price in session]


def bar_rows(session: BarSession, open_s: int, increment_nanos: int) -> list[tuple]:
    """(UTC seconds of the start, open, high, low, close in dollars) of a session of bars."""
    rows = []
    for start, *values in session:
        rows.append((open_s + start, *(dollars(price, increment_nanos) for price in values)))
    return rows
