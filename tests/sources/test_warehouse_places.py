"""Where a warehouse is: what a URL and the environment say, and nothing that would be ignored."""

from __future__ import annotations

import traceback

import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.sources.warehouse.places import find_place

SECRET = "hunter2-do-not-print"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "that is no URL"),
        (3, "that is no URL"),
        ("prices.sqlite", "that is no URL"),
        (f"mysql://orb:{SECRET}@host:port", "that is no URL"),
        (f"postgresql://orb:{SECRET}@host", "postgresql:// is no warehouse"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://prices.sqlite", "names no file"),
        ("sqlite:///prices.sqlite?mode=rw", "nothing after a ?"),
        ("mysql://", "names no host"),
        (f"mysql://orb:{SECRET}@", "names no host|that is no URL"),
        (f"mysql://orb:a@{SECRET}@host", "names no host .in a password, write @ as %40"),
        (f"mysql://orb:{SECRET}@host/options", "takes no database"),
        (f"mysql://orb:a@b/{SECRET}@host", "takes no database"),
        (f"mysql://orb:{SECRET}@host?charset=latin1", "nothing after a ?"),
        (f"mysql://orb:{SECRET}@host:0", "a port that is none"),
        (f"mysql://orb:{SECRET}@host:65536", "a port that is none"),
        ("mysql://host", "SQL_USERNAME and SQL_PASSWORD not set"),
        ("mysql://orb@host", "SQL_PASSWORD not set; set what is missing, or name a file"),
        (f"mysql://:{SECRET}@host", "SQL_USERNAME not set"),
        (None, "SQL_HOSTNAME and SQL_USERNAME and SQL_PASSWORD not set"),
    ],
)
def test_a_url_that_names_no_warehouse_is_refused(url, message):
    with pytest.raises(BadInput, match=message) as caught:
        orb.Warehouse(url)
    assert caught.value.what == "warehouse"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_url_and_the_environment_say_where_it_is(monkeypatch):
    for name, value in {"HOSTNAME": "a", "USERNAME": "b", "PASSWORD": SECRET, "PORT": "3310", "TLS": "1"}.items():
        monkeypatch.setenv(f"SQL_{name}", value)
    found = find_place(None)
    assert (found.host, found.username, found.password, found.port, found.tls) == ("a", "b", SECRET, 3310, True)
    found = find_place("mysql://quant@host")  # an address is whole: the port is that of MySQL
    assert (found.host, found.username, found.password, found.port, found.tls) == ("host", "quant", SECRET, 3306, True)
    found = find_place("mariadb+pymysql://quant:p%40ss@host:1")
    assert (found.password, found.port, found.database, found.prefix) == ("p@ss", 1, "", "SQL")
    monkeypatch.setenv("SQL_PORT", "many")
    with pytest.raises(BadInput, match="SQL_PORT: 'many' is no port"):
        find_place(None)
