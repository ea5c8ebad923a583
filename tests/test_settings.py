"""Settings: read once from env.list and the environment, refused by name, silent about secrets."""

import os
from pathlib import Path

import pytest

from orbresearch.errors import BadInput
from orbresearch.settings import KNOWN, read_settings, read_warehouse
from tests.authority import Authority

SECRET = "hunter2-do-not-print"
MYSQL = {
    "DB_ENDPOINT": "db.example.com",
    "DB_USERNAME": "quant",
    "DB_PASSWORD": SECRET,
    "DB_NAME": "warehouse",
    "DB_TABLE": "orb_results",
}
REDIS = {"REDIS_ENDPOINT": "redis.example.com", "REDIS_PORT": "6380", "REDIS_PASSWORD": SECRET, "REDIS_TLS": "yes"}


def env_file(folder, text):
    path = folder / "env.list"
    path.write_text(text)
    return path


def test_without_anything_it_is_an_embedded_redis_and_a_sqlite_file(tmp_path):
    found = read_settings(environ={"ORB_HOME": str(tmp_path)})
    assert found.redis.endpoint is None
    assert not found.store.is_mysql
    assert found.store.sqlite == tmp_path / "results.sqlite"
    assert found.store.where == str(tmp_path / "results.sqlite")
    assert found.cached_data == tmp_path / "cached_data"


def test_the_users_names_lead_to_mysql_and_redis():
    found = read_settings(environ={**MYSQL, **REDIS, "DB_PORT": "3307", "DB_TLS": "1"})
    store, redis = found.store, found.redis
    assert (store.endpoint, store.port, store.username, store.password) == ("db.example.com", 3307, "quant", SECRET)
    assert (store.database, store.table, store.tls, store.is_mysql) == ("warehouse", "orb_results", True, True)
    assert (redis.endpoint, redis.port, redis.password, redis.tls) == ("redis.example.com", 6380, SECRET, True)


def test_what_may_be_left_out_has_a_default():
    store = read_settings(environ={name: MYSQL[name] for name in MYSQL if name != "DB_TABLE"}).store
    assert (store.port, store.table, store.tls) == (3306, "results", False)
    redis = read_settings(environ={"REDIS_ENDPOINT": "localhost"}).redis
    assert (redis.port, redis.password, redis.tls) == (6379, None, False)


def test_an_env_list_is_read_line_by_line(tmp_path):
    path = env_file(
        tmp_path,
        "# the warehouse\n\nDB_ENDPOINT=db.example.com\n  DB_USERNAME = quant  \nDB_PASSWORD=a=b#c \"d\" 'e'\n"
        "DB_NAME=warehouse\r\nDB_TABLE=\n#DB_PORT=1\nUNRELATED=1\n",
    )
    store = read_settings(path, environ={}).store
    assert (store.endpoint, store.username, store.database) == ("db.example.com", "quant", "warehouse")
    assert store.password == "a=b#c \"d\" 'e'"
    assert (store.table, store.port) == ("results", 3306)


def test_an_env_list_may_be_named_in_the_environment(tmp_path):
    path = env_file(tmp_path, "REDIS_ENDPOINT=filed.example.com\n")
    assert read_settings(environ={"ORB_ENV_FILE": str(path)}).redis.endpoint == "filed.example.com"
    other = tmp_path / "other.list"
    other.write_text("REDIS_ENDPOINT=other.example.com\n")
    assert read_settings(other, environ={"ORB_ENV_FILE": str(path)}).redis.endpoint == "other.example.com"


def test_the_real_environment_wins_over_the_file(tmp_path, monkeypatch):
    path = env_file(tmp_path, "REDIS_ENDPOINT=filed\nREDIS_PORT=1111\n")
    found = read_settings(path, environ={"REDIS_ENDPOINT": "real"})
    assert (found.redis.endpoint, found.redis.port) == ("real", 1111)
    monkeypatch.setenv("REDIS_PORT", "2222")
    assert read_settings(path).redis.port == 2222


def test_the_environment_is_read_when_asked_not_at_import(monkeypatch):
    assert read_settings().redis.endpoint is None
    monkeypatch.setenv("REDIS_ENDPOINT", "later")
    assert read_settings().redis.endpoint == "later"


def test_a_line_without_an_equals_sign_is_refused_by_number_and_not_shown(tmp_path):
    path = env_file(tmp_path, f"# first\nREDIS_PORT=1\nREDIS_PASSWORD {SECRET}\n")
    with pytest.raises(BadInput, match=r"env\.list, line 3: has no '='; write KEY=VALUE") as refused:
        read_settings(path, environ={})
    assert SECRET not in str(refused.value)


def test_an_env_file_that_is_not_there_is_refused_by_name(tmp_path):
    for arguments in ((tmp_path / "none.list", {}), (None, {"ORB_ENV_FILE": str(tmp_path / "none.list")})):
        with pytest.raises(BadInput, match=r"none\.list: does not exist"):
            read_settings(*arguments)


@pytest.mark.parametrize("where", ["environment", "file"])
def test_an_unknown_variable_of_ours_is_refused_with_the_known_ones(where, tmp_path):
    path = env_file(tmp_path, "ORB_HOMES=/tmp\n" if where == "file" else "")
    environ = {} if where == "file" else {"ORB_HOMES": "/tmp"}
    with pytest.raises(BadInput, match=r"ORB_HOMES.* not known") as refused:
        read_settings(path, environ=environ)
    assert all(name in refused.value.fix for name in KNOWN)


def test_variables_of_others_are_left_alone():
    assert read_settings(environ={"HOME": "/root", "ORBIT": "1", "DB_DRIVER": "x", "PATH": ""}).redis.endpoint is None


@pytest.mark.parametrize("missing", ["DB_USERNAME", "DB_PASSWORD", "DB_NAME"])
def test_a_half_configured_database_is_refused_with_what_is_missing(missing):
    environ = {name: value for name, value in MYSQL.items() if name != missing}
    with pytest.raises(
        BadInput, match=f"DB_ENDPOINT: set, but {missing} not; set them, or unset DB_ENDPOINT"
    ) as refused:
        read_settings(environ=environ)
    assert SECRET not in str(refused.value)


def test_all_that_is_missing_of_a_database_is_named_at_once():
    with pytest.raises(BadInput, match="DB_USERNAME, DB_PASSWORD, DB_NAME not"):
        read_settings(environ={"DB_ENDPOINT": "db.example.com"})


@pytest.mark.parametrize("name", ["REDIS_PORT", "DB_PORT"])
@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "6379.0", " 6379"])
def test_a_port_that_is_none_is_refused_by_name_and_value(name, port):
    with pytest.raises(BadInput, match=f"environment variable {name}: {port!r} is no port; give a number from 1"):
        read_settings(environ={**MYSQL, **REDIS, name: port})


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False), ("", False)]
)
def test_yes_and_no_are_said_in_many_ways(text, expected):
    assert read_settings(environ={**REDIS, "REDIS_TLS": text}).redis.tls is expected


def test_what_is_neither_yes_nor_no_is_refused():
    with pytest.raises(BadInput, match="environment variable DB_TLS: 'maybe' is neither yes nor no"):
        read_settings(environ={**MYSQL, "DB_TLS": "maybe"})


def test_no_repr_shows_a_password():
    found = read_settings(environ={**MYSQL, **REDIS})
    shown = f"{found!r} {found.store!r} {found.redis!r} {found.store.where} {found!s}"
    assert SECRET not in shown
    assert "db.example.com" in shown
    assert found.store.where == "mysql://quant@db.example.com:3306/warehouse"


def test_a_certificates_name_may_differ_from_the_endpoint():
    name = "master.orbresearch.abc123.use1.cache.amazonaws.com"
    assert read_settings(environ=REDIS).redis.tls_name is None
    assert read_settings(environ={**REDIS, "REDIS_TLS_NAME": name}).redis.tls_name == name


@pytest.mark.parametrize("tls", [{}, {"REDIS_TLS": "0"}])
def test_a_certificates_name_without_tls_is_refused(tls):
    with pytest.raises(BadInput, match="REDIS_TLS_NAME: set, but REDIS_TLS is not; set REDIS_TLS=1"):
        read_settings(environ={"REDIS_ENDPOINT": "localhost", "REDIS_TLS_NAME": "redis.example.com", **tls})
    with pytest.raises(BadInput, match="REDIS_ENDPOINT: not set, but REDIS_TLS_NAME"):
        read_settings(environ={"REDIS_TLS_NAME": "redis.example.com"})


@pytest.mark.parametrize("tls", [{}, {"DB_TLS": "0", "SQL_TLS": "no"}])
def test_authorities_without_tls_are_refused(tls, tmp_path):
    bundle = str(Authority(tmp_path).bundle)
    with pytest.raises(BadInput, match="DB_TLS_CA: set, but DB_TLS is not; set DB_TLS=1"):
        read_settings(environ={**MYSQL, "DB_TLS_CA": bundle, **tls})
    warehouse = {"SQL_HOSTNAME": "prices", "SQL_USERNAME": "quant", "SQL_PASSWORD": SECRET}
    with pytest.raises(BadInput, match="SQL_TLS_CA: set, but SQL_TLS is not; set SQL_TLS=1"):
        read_warehouse(environ={**warehouse, "SQL_TLS_CA": bundle, **tls})
    with pytest.raises(BadInput, match="DB_ENDPOINT: not set, but DB_TLS_CA"):
        read_settings(environ={"DB_TLS_CA": bundle})


def test_of_authorities_workers_are_handed_the_certificates_and_nothing_else(tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("db.example.com")
    both = tmp_path / "both.pem"
    both.write_bytes(b"# \xfcber\r\n" + key.read_bytes() + authority.bundle.read_bytes().replace(b"\n", b"\r\n"))
    found = read_settings(environ={**MYSQL, "DB_TLS": "1", "DB_TLS_CA": str(both)})
    assert found.to_environ()["DB_TLS_CA"] == found.store.tls_ca == authority.bundle.read_text().strip()
    assert read_settings(environ=found.to_environ()).store.tls_ca == found.store.tls_ca
    assert "BEGIN" not in repr(found) + repr(found.store.place)
    two = certificate.read_text() + authority.bundle.read_text()
    assert read_settings(environ={**MYSQL, "DB_TLS": "1", "DB_TLS_CA": two}).store.tls_ca == two.strip()


def test_no_authorities_are_none():
    for given in ("", " "):
        assert read_settings(environ={**MYSQL, "DB_TLS_CA": given}).store.tls_ca is None
    assert read_settings(environ=MYSQL).to_environ()["DB_TLS_CA"] == ""


def test_more_authorities_than_a_worker_can_be_handed_are_refused(tmp_path):
    many = Authority(tmp_path).bundle.read_text() * 200
    with pytest.raises(BadInput, match=r"DB_TLS_CA: .* workers are handed 100,000 at the most.*REGION-bundle"):
        read_settings(environ={**MYSQL, "DB_TLS": "1", "DB_TLS_CA": many})


def test_a_worker_reads_the_same_settings_back(tmp_path):
    trusting = {**MYSQL, "DB_TLS": "1", "DB_TLS_CA": str(Authority(tmp_path).bundle)}
    for environ in ({}, MYSQL, REDIS, {**trusting, **REDIS}, {**REDIS, "REDIS_TLS_NAME": "redis"}):
        found = read_settings(environ={"ORB_HOME": str(tmp_path), **environ})
        assert read_settings(environ=found.to_environ()) == found


def test_the_home_is_where_one_says(tmp_path, monkeypatch):
    assert read_settings(environ={"ORB_HOME": str(tmp_path / "new")}).home == tmp_path / "new"
    monkeypatch.chdir(tmp_path)
    assert read_settings(environ={"ORB_HOME": "here"}).home == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings(environ={"ORB_HOME": "~/orb"}).home == Path(os.environ["HOME"]) / "orb"
    assert not (tmp_path / "new").exists()  # reading makes nothing


def test_the_home_is_else_the_nearest_parent_with_cached_data(tmp_path, monkeypatch):
    inner = tmp_path / "project" / "notebooks" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "cached_data").mkdir()
    monkeypatch.chdir(inner)
    assert read_settings(environ={}).home == tmp_path / "project"
    (inner / "cached_data").mkdir()
    assert read_settings(environ={}).home == inner
    monkeypatch.chdir(tmp_path / "project")
    assert read_settings(environ={}).home == tmp_path / "project"


def test_the_home_is_else_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cached_data").write_text("a file, no folder")
    assert read_settings(environ={}).home == tmp_path
    assert read_settings(environ={"ORB_HOME": ""}).home == tmp_path
