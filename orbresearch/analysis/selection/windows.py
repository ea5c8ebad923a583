"""Cutting sessions into blocks, and walk-forward windows over the blocks.

Opening-range trades are flat overnight: windows need no purge for the trades' sake, at most a day for features that
look back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.errors import BadInput


def month_blocks(labels: Any) -> Any:
    """Return the calendar month of each session, counted from 0; months without a session are not counted.

    Parameters
    ----------
    labels : array of dates, shape (T,)
        The sessions' labels: datetime64, or anything that numpy or pandas reads as such.

    Returns
    -------
    int64 array, shape (T,)

    Examples
    --------
    >>> month_blocks(["2024-01-31", "2024-02-01", "2024-02-29", "2024-05-01"]).tolist()
    [0, 1, 1, 2]
    """
    months = np.asarray(labels, "datetime64[M]")
    if np.isnat(months).any():
        raise BadInput("labels", "a session without a date", "give a date for every session")
    return np.unique(months, return_inverse=True)[1].astype(np.int64)


def equal_blocks(sessions: int, blocks: int) -> Any:
    """Return the block of each session: runs of equal length; the first ``sessions mod blocks`` are in none, -1.

    The oldest are left out, not the newest.

    Examples
    --------
    >>> equal_blocks(7, 3).tolist()
    [-1, 0, 0, 1, 1, 2, 2]
    """
    if not 1 <= blocks <= sessions:
        raise BadInput("blocks", f"{blocks} of {sessions} sessions", f"give 1 to {sessions}")
    length, spare = divmod(sessions, blocks)
    return np.concatenate([np.full(spare, -1), np.repeat(np.arange(blocks), length)])


def walk_windows(
    blocks: int, train: int, test: int, purge: int = 0, anchored: bool = False
) -> list[tuple[list[int], list[int]]]:
    """Return windows that choose on some blocks and test on later ones: each block is tested at most once.

    Parameters
    ----------
    blocks : int
        How many there are. Those at the end that are too few for a test take no part.
    train, test : int
        Blocks to choose by and to test on; windows advance by ``test``.
    purge : int
        Blocks left out between the two.
    anchored : bool
        Choose on everything from the first block on, ``train`` being the least, instead of on the last ``train``.

    Returns
    -------
    list of (train blocks, test blocks)

    Examples
    --------
    >>> walk_windows(6, train=2, test=1, purge=1)
    [([0, 1], [3]), ([1, 2], [4]), ([2, 3], [5])]
    """
    if train < 1 or test < 1 or purge < 0:
        wrong = f"train {train}, test {test}, purge {purge}"
        raise BadInput("windows", wrong, "give 1 or more blocks to train and to test, 0 or more to purge")
    if train + purge + test > blocks:
        wrong = f"train {train} + purge {purge} + test {test} of {blocks} blocks"
        raise BadInput("windows", wrong, f"give {blocks} or fewer together")
    starts = range(train + purge, blocks - test + 1, test)
    return [
        (list(range(0 if anchored else at - purge - train, at - purge)), list(range(at, at + test))) for at in starts
    ]
