"""What tests of warehouses share."""

from __future__ import annotations

import pandas as pd
import pytest

from orbresearch.sources.warehouse import collect


@pytest.fixture
def asked(monkeypatch):
    """Keep the dates of the sessions that are fetched."""
    found, really = [], collect.read_seconds

    def read(connection, layout, ticker, first, last):
        found.append(f"{pd.Timestamp(first, unit='s'):%Y-%m-%d}")
        return really(connection, layout, ticker, first, last)

    monkeypatch.setattr(collect, "read_seconds", read)
    return found
