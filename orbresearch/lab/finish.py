"""The last step of a run: the trades of its best backtests, stored beside their rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from orbresearch import staging
from orbresearch.analysis.backtests import backtest_of
from orbresearch.errors import InputsMissing, Unreachable
from orbresearch.keep import Best, order_of
from orbresearch.lab.services import Services
from orbresearch.lab.worker import Spec, load_input, load_spec
from orbresearch.plan import Chunk, parse_backtest_id

TRADED = 100  # of a run's best backtests

log = logging.getLogger(__name__)


class LostError(Exception):
    """Somebody else reaps by now."""


def finish_runs(services: Services, alive: Callable[[], bool] = lambda: True) -> list[str]:
    """Store the trades of the best backtests of every run whose rows are all there; return the ids of those runs.

    Done again after a crash; left undone where Redis no longer holds a run's inputs, until it is submitted again.

    Parameters
    ----------
    alive : callable
        Whether to go on, asked before each backtest.
    """
    from orbresearch.store.writer import finish_run, unfinished_runs

    redis, store, done = services.staging, services.store, []
    for run_id, kept, chunk_size in unfinished_runs(store):
        order = order_of(run_id, kept, chunk_size)
        try:
            spec = load_spec(redis, store.uuid, order)
            finish_run(store, run_id, (kept, chunk_size), _trades_of_best(services, spec, alive))
            staging.retire_run(redis, store.uuid, order)
            done.append(run_id)
        except InputsMissing as error:
            log.debug("the trades of run %s wait: %s", run_id, error)
        except LostError:
            break
        except Unreachable:
            raise
        except Exception:  # rows are worth more than trades that anybody can make again
            log.exception("the trades of the best of run %s were not stored", run_id)
    return done


def _trades_of_best(services: Services, spec: Spec, alive: Callable[[], bool]) -> dict[str, str]:
    """Return ``trade_stats`` as JSON text of a run's best backtests, by id; none of pooled ones, which have none."""
    from orbresearch.store.reader import read_best

    if spec.pooled:
        return {}
    how = spec.kept if isinstance(spec.kept, Best) else Best(TRADED)
    asked: dict[str, Any] = {"by": how.by, "min_sessions": how.min_sessions, "unresolved": how.unresolved}
    best = read_best(services.store, spec.run_id, TRADED, **asked)["backtest_id"]
    found = {}
    for name in sorted(best):  # input by input: each is loaded once
        if not alive():
            raise LostError
        _, index = parse_backtest_id(name)
        at, point = divmod(index, len(spec.grid))
        item = load_input(services.staging, spec, at)
        one = backtest_of(spec.run_id, item, spec.grid, spec.rules, Chunk(index, 1, at, point))
        found[name] = json.dumps(one.trade_stats(), allow_nan=False)
    return found
