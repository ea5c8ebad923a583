"""The last step of a run: the trades of its best backtests, stored beside their rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from orbresearch import staging
from orbresearch.analysis.backtests import backtest_of
from orbresearch.errors import InputsMissing, Unreachable
from orbresearch.keep import Best, Keep, order_of, read_keep
from orbresearch.lab.services import Services
from orbresearch.lab.worker import load_input, load_spec
from orbresearch.plan import Chunk, parse_backtest_id

TRADED = 100  # of a run's best backtests

log = logging.getLogger(__name__)


def finish_runs(services: Services, alive: Callable[[], bool] = lambda: True) -> list[str]:
    """Store the trades of the best backtests of every run whose rows are all there; return the ids of those runs.

    Done again after a crash; left undone where Redis no longer holds a run's inputs, until it is submitted again.

    Parameters
    ----------
    alive : callable
        Whether to go on, asked before each run.
    """
    from orbresearch.store.writer import finish_run, unfinished_runs

    done = []
    for run_id, kept in unfinished_runs(services.store):
        if not alive():
            break
        try:
            finish_run(services.store, run_id, _trades_of_best(services, run_id, read_keep(kept)))
            staging.retire_run(services.staging, services.store.uuid, order_of(run_id, read_keep(kept)))
            done.append(run_id)
        except InputsMissing as error:
            log.debug("the trades of run %s wait: %s", run_id, error)
        except Unreachable:
            raise
        except Exception:  # rows are worth more than trades that anybody can make again
            log.exception("the trades of the best of run %s were not stored", run_id)
    return done


def _trades_of_best(services: Services, run_id: str, keep: Keep) -> dict[str, str]:
    """Return ``trade_stats`` as JSON text of a run's best backtests, by id."""
    from orbresearch.store.reader import read_best

    how = keep if isinstance(keep, Best) else Best(TRADED)
    asked: dict[str, Any] = {"by": how.by, "min_sessions": how.min_sessions, "unresolved": how.unresolved}
    best = read_best(services.store, run_id, TRADED, **asked)["backtest_id"]
    spec = load_spec(services.store.uuid, order_of(run_id, keep))
    found = {}
    for name in best:
        _, index = parse_backtest_id(name)
        at, point = divmod(index, len(spec.grid))
        one = backtest_of(run_id, load_input(spec, at), spec.grid, spec.rules, Chunk(index, 1, at, point))
        found[name] = json.dumps(one.trade_stats(), allow_nan=False)
    return found
