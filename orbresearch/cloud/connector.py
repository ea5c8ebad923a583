"""Dask's TLS connector, mended: a connection that is closed as soon as it stands is an error like any other.

A scheduler that dies may accept a connection and close it before TLS begins. Tornado then raises ValueError ("IOStream
is not idle"), where distributed (2026.8) expects OSError in each of its loops that connect again: a client would
neither connect again nor give up, and closing it would raise. With this one it does either within its own time.
"""

from __future__ import annotations

from typing import Any

from distributed.comm import CommClosedError
from distributed.comm.registry import backends
from distributed.comm.tcp import TLSConnector


class Connector(TLSConnector):  # type: ignore[misc]
    """As Dask's own, with one kind of error for every connection that could not be made."""

    async def connect(self, address: str, deserialize: bool = True, **connection_args: Any) -> Any:
        """Connect to a scheduler or worker.

        Raises
        ------
        CommClosedError
        """
        try:
            return await super().connect(address, deserialize, **connection_args)
        except ValueError as error:
            raise CommClosedError(f"connection to tls://{address} was closed at once: {error}") from error


def mend_connector() -> None:
    """Make every TLS connection of this process by it."""
    backends["tls"]._connector_class = Connector
