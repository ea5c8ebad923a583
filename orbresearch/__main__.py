"""``python -m orbresearch``: the main job on a synthetic market or on a file; ``up`` and ``down`` a lab that stays."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orbresearch.errors import BadInput, OrbError

if TYPE_CHECKING:
    from orbresearch.lab.run import Run
    from orbresearch.sessions.dataset import Sessions

_SHOWN = (
    "backtest_id",
    "range_duration",
    "stop_distance",
    "stop_count_limit",
    "stop_cooloff_period",
    "limit_distance",
    "backtest_profit",
    "sharpe_ratio",
    "max_drawdown",
    "trades",
    "win_rate_percent",
    "average_holding_period",
)
_OTHER = ("profit_other_path", "sharpe_other_path")
_RANKED = (
    "backtest_id",
    "range_duration",
    "risk_adjusted_win_rate",
    "backtest_profit",
    "stop_distance",
    "stop_count_limit",
)


_NONE = "  none: no resolved backtest has 30 traded sessions; all rows are in the store all the same"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m orbresearch",
        description="Run the main job: 9,747 opening-range-breakout backtests on a synthetic market or on your prices. "
        "`up` starts Redis, scheduler and workers that stay beyond a notebook, `down` ends them.",
        epilog="Where Redis and the results database are, the environment says (ORB_HOME, REDIS_…, DB_…; see README).",
    )
    parser.add_argument(
        "action", nargs="?", default="run", choices=("run", "up", "down", "serve"), metavar="run|up|down"
    )
    parser.add_argument("--env-file", metavar="FILE", help="KEY=VALUE lines with the settings, such as env.list")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one per core)")
    parser.add_argument("--port", type=int, default=0, help="up: the scheduler's port (default: any free one)")
    source = parser.add_argument_group("prices (default: a synthetic market)")
    source.add_argument(
        "--prices",
        metavar="FILE",
        help="Parquet, CSV or zip file, or a folder of them; "
        "warehouse: where SQL_HOSTNAME says; mysql://user@host:port; sqlite:///file",
    )
    source.add_argument("--ticker", help="which ticker of them")
    source.add_argument("--start", metavar="DATE", help="first session (default: the first there is)")
    source.add_argument("--end", metavar="DATE", help="last session (default: the last there is)")
    source.add_argument("--bar", default="auto", help="seconds of a bar, 0 for single prices (default: auto)")
    source.add_argument(
        "--stamp", choices=("start", "end"), help="what a bar's time says (default: what the file settles)"
    )
    source.add_argument(
        "--path", choices=("nearer", "farther"), default="nearer", help="which extreme of a bar comes first"
    )
    source.add_argument("--tz", help="zone of times that name none")
    source.add_argument("--sessions", type=int, default=250, metavar="N", help="sessions of the synthetic market")
    source.add_argument("--seed", type=int, default=0, help="seed of the synthetic market")
    rules = parser.add_argument_group("the run")
    rules.add_argument(
        "--range", type=int, nargs="+", default=[300], metavar="SECONDS", help="opening range (default: 300)"
    )
    rules.add_argument("--commission", type=float, default=0.0, help="dollars per share and fill")
    rules.add_argument("--slippage", default="auto", help="dollars per share and fill (default: auto)")
    rules.add_argument("--best", type=int, default=10, metavar="N", help="how many best backtests to show")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = make_parser().parse_args(arguments)
    if options.env_file:  # also for what reads settings later
        os.environ["ORB_ENV_FILE"] = str(Path(options.env_file).resolve())
    try:
        _act(options)
    except OrbError as error:
        print(f"orbresearch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; what is in the store stays, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def _act(options: argparse.Namespace) -> None:
    from orbresearch.lab import daemon
    from orbresearch.settings import read_settings

    if options.action == "run":
        run_job(options)
    elif options.action == "serve":
        daemon.serve(options.env_file, options.workers, options.port)
    elif options.action == "up":
        address = daemon.up(options.env_file, options.workers, options.port)
        print(f'lab is up: orb.Lab(address="{address}")  (end it with: python -m orbresearch down)')
    elif daemon.down(options.env_file):
        print("lab is down; results stay in the store")
    else:
        print(f"no lab is up in the home folder {read_settings(options.env_file).home}")


def run_job(options: argparse.Namespace) -> None:
    """Run the main job: load prices, submit the 9,747 backtests, wait, show what came of them."""
    import orbresearch as orb

    sessions = load(options)
    print(f"prices: {sessions!r}")
    print("".join(f"  {line}\n" for line in sessions.quality.summary.splitlines()), end="")
    rules = orb.Rules(commission=options.commission, slippage=_slippage(options.slippage))
    plan = orb.make_plan(sessions, orb.seed_grid(), options.range, rules)
    with orb.Lab(n_workers=options.workers, env_file=options.env_file) as lab:
        run = lab.submit_plan(plan)
        run.wait()
        if not run.complete:
            raise KeyboardInterrupt
        show(run, sessions, options, lab.settings.home)


def load(options: argparse.Namespace) -> Sessions:
    """Return the prices that the options name."""
    import orbresearch as orb

    if not options.prices:
        for name in ("ticker", "stamp", "tz"):
            if getattr(options, name):
                raise BadInput(f"--{name}", "given without --prices", "name the file of prices too")
        print("no --prices: a SYNTHETIC market without any edge, made up second by second")
        return orb.synthetic_sessions(options.sessions, options.seed, start=options.start or "2024-01-02")
    if not options.ticker:
        raise BadInput("--ticker", "missing", "say which ticker of the file")
    bar: Any = options.bar if not str(options.bar).isdigit() else int(options.bar)
    choices = {"bar": bar, "stamp": options.stamp, "path": options.path, "tz": options.tz}
    prices: Any = options.prices
    if prices == "warehouse" or "://" in prices:
        prices = orb.Warehouse(None if prices == "warehouse" else prices, env_file=options.env_file)
    found: Sessions = orb.load_sessions(prices, options.ticker, start=options.start, end=options.end, **choices)
    return found


def _slippage(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def show(run: Run, sessions: Sessions, options: argparse.Namespace, home: Path) -> None:
    """Print the best backtests, the user's own ranking, and where rows and picture are."""
    import pandas as pd

    with warnings.catch_warnings():  # that none is best is said below
        warnings.simplefilter("ignore")
        best = run.best(options.best, luck=False)
    pd.set_option("display.width", 250, "display.max_columns", 30, "display.precision", 4)
    print(f"\nbest by Sharpe ratio, {run.conditions()}:")
    print(
        beside(best, sessions)[[*_SHOWN, *_OTHER]].dropna(axis=1, how="all").to_string(index=False)
        if len(best)
        else _NONE
    )
    if len(best):
        print(f'\n{run.luck()}\n(more: orb.verdict(orb.open_run("{run.run_id}")))')
    print("\nyour own ranking, (stop_distance / backtest_profit) * stop_count_limit; profits nearest zero come first:")
    print(run.ranking(options.best)[list(_RANKED)].to_string(index=False))
    print(f"\n{run.persisted():,} rows of run {run.run_id} are in {run.where}")
    if len(best):
        from orbresearch.lab.display import backtest

        backtest_id = best["backtest_id"].iloc[0]
        path = backtest(backtest_id).plot().save(home / "plots" / f"{backtest_id}.html")
        print(f"the best backtest's picture is {path}")


def beside(best: Any, sessions: Sessions) -> Any:
    """Return best rows on bars with profit and Sharpe ratio under the other path beside them: the path is a guess."""
    from orbresearch.lab.display import under_other_path

    return best.join(under_other_path(best, sessions)) if sessions.is_bars else best.assign(**dict.fromkeys(_OTHER))


if __name__ == "__main__":
    sys.exit(main())
