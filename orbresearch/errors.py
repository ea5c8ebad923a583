"""One tree of errors. Each holds its facts as arguments and composes its message, so that it survives pickling.

Dask sends exceptions back from workers by pickling them: the facts stay in ``args`` (``super().__init__(*facts)``)
and ``__str__`` builds the sentence, which names what is wrong and what would be right.
"""

from __future__ import annotations


class OrbError(Exception):
    """Base of everything orbresearch raises on purpose."""


class BadInput(OrbError, ValueError):
    """An argument, a file or a row that cannot be used: what is wrong, and what would be right.

    Parameters
    ----------
    what : str
        The thing at fault, by name: a parameter, column, file, ticker.
    wrong : str
        What is wrong with it, with the offending value.
    fix : str
        What would be right.

    Examples
    --------
    >>> print(BadInput("stop_distance", "-0.1 is not above zero", "give dollars above 0"))
    stop_distance: -0.1 is not above zero; give dollars above 0
    """

    def __init__(self, what: str, wrong: str, fix: str) -> None:
        super().__init__(what, wrong, fix)
        self.what, self.wrong, self.fix = what, wrong, fix

    def __str__(self) -> str:
        return f"{self.what}: {self.wrong}; {self.fix}"


class Unreachable(OrbError, ConnectionError):
    """A server that does not answer, or does not let us in. Names host and port, never a password.

    Parameters
    ----------
    service : str
        "Redis" or "database" and the like.
    where : str
        ``host:port`` or a file's path.
    reason : str
        First line of what the driver said.
    fix : str
        What to look at.
    """

    def __init__(self, service: str, where: str, reason: str, fix: str) -> None:
        super().__init__(service, where, reason, fix)
        self.service, self.where, self.reason, self.fix = service, where, reason, fix

    def __reduce__(self) -> tuple[type[Unreachable], tuple[str, ...]]:
        # OSError keeps two arguments only
        return type(self), (self.service, self.where, self.reason, self.fix)

    def __str__(self) -> str:
        return f"{self.service} at {self.where} cannot be used: {self.reason}; {self.fix}"


class Full(Unreachable):
    """Redis has reached its ``maxmemory`` and takes no more, until the reaper has moved results into the store."""


class WrongTable(OrbError):
    """A table in the results database that has another shape than this version writes.

    Parameters
    ----------
    table, where : str
        The table and its database.
    wrong : str
        The difference found.
    fix : str
        What to do.
    """

    def __init__(self, table: str, where: str, wrong: str, fix: str) -> None:
        super().__init__(table, where, wrong, fix)
        self.table, self.where, self.wrong, self.fix = table, where, wrong, fix

    def __str__(self) -> str:
        return f"table {self.table!r} in {self.where}: {self.wrong}; {self.fix}"


class InputsMissing(OrbError, LookupError):
    """Staged inputs (tick series or opening ranges) that Redis no longer holds.

    Parameters
    ----------
    kind : str
        "tick series" or "opening ranges".
    content_hash : str
        The content hash under which they were staged.
    """

    def __init__(self, kind: str, content_hash: str) -> None:
        super().__init__(kind, content_hash)
        self.kind, self.content_hash = kind, content_hash

    def __str__(self) -> str:
        return f"{self.kind} {self.content_hash} not in Redis (flushed?); submit the run again"


class Corrupt(OrbError):
    """Bytes whose content does not match the hash or the schema they are filed under.

    Parameters
    ----------
    what : str
        Key or file.
    wrong : str
        The difference found.
    """

    def __init__(self, what: str, wrong: str) -> None:
        super().__init__(what, wrong)
        self.what, self.wrong = what, wrong

    def __str__(self) -> str:
        return f"{self.what} is damaged: {self.wrong}"


class CloudFailed(OrbError):
    """Something in AWS that did not come about.

    Parameters
    ----------
    what : str
        What was being done: "starting Redis".
    reason : str
        As AWS gave it.
    fix : str
        What to do.
    """

    def __init__(self, what: str, reason: str, fix: str) -> None:
        super().__init__(what, reason, fix)
        self.what, self.reason, self.fix = what, reason, fix

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}; {self.fix}"


class RunFailed(OrbError):
    """Chunks of a run that raised. The rest of the run is unaffected.

    Parameters
    ----------
    run_id : str
    failures : list of str
        One line per failed chunk: its first backtest and the first line of its error.
    """

    def __init__(self, run_id: str, failures: list[str]) -> None:
        super().__init__(run_id, failures)
        self.run_id, self.failures = run_id, failures

    def __str__(self) -> str:
        shown = "\n  ".join(self.failures[:5])
        return f"run {self.run_id}: not all backtests are in the store; submit it again to compute the rest\n  {shown}"
