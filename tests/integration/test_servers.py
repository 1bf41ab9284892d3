"""The private servers keep their promises: real, restartable, private, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pymysql
import pytest

from tests import conftest
from tests.servers import KINDS, ServerStartError, ServerUnavailableError, start_server
from tests.servers.apt_sources import machine_sources
from tests.servers.process import alive
from tests.servers.proxy import FaultProxy

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[kind for kind in KINDS if kind != "kafka"])
def any_server(request):
    return request.getfixturevalue(request.param)


def test_committed_rows_survive_kill_and_restart(any_server):
    with conftest.fresh_database(any_server) as database:
        table = "kept" if any_server.kind == "postgres" else f"{database}.kept"
        any_server.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY)")
        try:
            any_server.execute(f"INSERT INTO {table} VALUES (1), (2)")
            port, first = any_server.port, any_server.pid
            any_server.kill()
            assert not any_server.running
            assert not alive(first)
            any_server.start()
            assert any_server.port == port
            assert any_server.pid != first
            assert any_server.execute(f"SELECT id FROM {table} ORDER BY id") == [(1,), (2,)]
        finally:
            any_server.start().execute(f"DROP TABLE {table}")


def test_orderly_stop_and_start(any_server):
    any_server.restart()
    assert any_server.execute("SELECT 1") == [(1,)]


def test_committed_messages_survive_kill_and_restart(kafka):
    from confluent_kafka import Consumer, Producer

    quiet = {"bootstrap.servers": kafka.url, "log_level": 0}
    producer = Producer({**quiet, "transactional.id": "kept"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("kept", key=b"key", value=b"value")
    producer.commit_transaction(30)
    kafka.kill()
    kafka.start()
    reader = Consumer({**quiet, "group.id": "kept", "auto.offset.reset": "earliest"})
    with contextlib.closing(reader):
        reader.subscribe(["kept"])
        message = reader.poll(60)
        assert message is not None
        assert (message.key(), message.value()) == (b"key", b"value")


def _status(server, connection):
    statement = "SHOW BINARY LOG STATUS" if server.kind == "mysql" else "SHOW MASTER STATUS"
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def test_cdc_user_follows_the_binary_log_and_writes_nothing(mysql_family, family_db):
    server = mysql_family
    with contextlib.closing(server.connect_cdc()) as connection:
        before = _status(server, connection)
        server.execute(
            f"CREATE TABLE {family_db}.t (a INT)", f"INSERT INTO {family_db}.t VALUES (1)"
        )
        after = _status(server, connection)
        assert (after[0], after[1] > before[1]) == (before[0], True)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT a FROM {family_db}.t")
            assert cursor.fetchall() == ((1,),)
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute(f"INSERT INTO {family_db}.t VALUES (2)")


def test_cdc_user_has_exactly_the_documented_privileges(mysql_family):
    with contextlib.closing(mysql_family.connect_cdc()) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW GRANTS")
        grants = cursor.fetchall()
    assert len(grants) == 1
    names = grants[0][0].removeprefix("GRANT ").partition(" ON ")[0].split(", ")
    client = "REPLICATION CLIENT" if mysql_family.kind == "mysql" else "BINLOG MONITOR"
    assert sorted(names) == sorted([client, "PROCESS", "REPLICATION SLAVE", "SELECT"])


def test_binary_log_settings(mysql_family):
    names = "log_bin, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata"
    row = mysql_family.execute(f"SELECT @@{names}, @@server_id")[0]
    assert row == (1, "ROW", "FULL", "FULL", mysql_family.port)


def test_mysql_gtids_and_mysqlbinlog(mysql, mysql_db):
    mysql.execute(f"CREATE TABLE {mysql_db}.t (a INT)", f"INSERT INTO {mysql_db}.t VALUES (1)")
    assert mysql.execute("SELECT @@gtid_executed")[0][0] != ""
    log = mysql.execute("SHOW BINARY LOGS")[-1][0]
    text = mysql.mysqlbinlog(str(mysql.datadir / log))
    assert f"Table_map: `{mysql_db}`.`t`" in text


def test_two_servers_are_distinct_and_options_reach_them(mysql):
    settings = {"gtid": False, "row_metadata": "MINIMAL", "row_image": "MINIMAL"}
    with start_server(
        "mysql", cdc_process=False, options={"sql_mode": "ANSI"}, **settings
    ) as other:
        variables = "SELECT @@server_uuid, @@server_id, @@gtid_mode"
        (uuid, server_id, gtid), (other_uuid, other_id, other_gtid) = (
            server.execute(variables)[0] for server in (mysql, other)
        )
        assert uuid != other_uuid
        assert server_id != other_id
        assert (gtid, other_gtid) == ("ON", "OFF")
        shown = other.execute("SELECT @@binlog_row_metadata, @@binlog_row_image, @@sql_mode")[0]
        assert shown[:2] == ("MINIMAL", "MINIMAL")
        assert "ANSI" in shown[2]
        with contextlib.closing(other.connect_cdc()) as connection:
            cursor = connection.cursor()
            cursor.execute("SHOW GRANTS")
            assert "PROCESS" not in cursor.fetchall()[0][0]
        home = other.home
    assert not home.exists()


def test_mariadb_gtid_domain():
    with start_server("mariadb", gtid_domain_id=7, server_id=70, gtid_strict=False) as server:
        server.execute("CREATE DATABASE d")
        assert server.execute("SELECT @@gtid_binlog_pos, @@gtid_strict_mode") == [("7-70-1", 0)]


def test_given_directory_is_kept(tmp_path):
    with start_server("mariadb", directory=tmp_path / "kept") as server:
        server.execute("CREATE DATABASE d")
    with start_server("mariadb", directory=tmp_path / "kept") as server:
        assert ("d",) in server.execute("SHOW DATABASES")


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_failed_start_shows_the_log(kind):
    with pytest.raises(ServerStartError, match="no_such_variable"):
        start_server(kind, options={"no_such_variable": "1"})


def test_server_outlives_the_thread_that_started_it():
    started = []
    thread = threading.Thread(target=lambda: started.append(start_server("mariadb")))
    thread.start()
    thread.join()
    with contextlib.closing(started[0]) as server:
        time.sleep(0.3)
        assert server.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_survives_a_killed_parent(kind):
    code = (
        f"from tests.servers import start_server; s = start_server({kind!r});"
        "print(s.pid, s.home, s.socket, flush=True); import time; time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE)
    with parent:
        pid, home, socket = parent.stdout.readline().decode().split()
        assert alive(int(pid))
        parent.kill()
    deadline = time.monotonic() + 20
    while alive(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(pid))
    if kind == "oceanbase":  # this one had to clean up outside its home
        while Path(socket).parents[1].exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(socket).parents[1].exists()
    # The next server sweeps up the home, once it is older than a starting server's can be.
    os.utime(home, (0, 0))
    with start_server("mariadb"):
        assert not Path(home).exists()


def test_command_line_runs_until_told(tmp_path):
    argv = [sys.executable, "-m", "tests.servers", "start", "mariadb", "--dir", str(tmp_path)]
    runner = subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE)
    with runner:
        assert b"mysql+pymysql://root:" in runner.stdout.readline()
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(30) == 0
    assert (tmp_path / "data").is_dir()


def test_missing_server_fails_unless_allowed(monkeypatch):
    def absent(kind):
        raise ServerUnavailableError("not here")

    monkeypatch.setattr(conftest, "start_server", absent)
    monkeypatch.delenv(conftest.ALLOW_MISSING, raising=False)
    with pytest.raises(pytest.fail.Exception, match="not here"), conftest.shared_server("mysql"):
        pass
    monkeypatch.setenv(conftest.ALLOW_MISSING, "1")
    with pytest.raises(pytest.skip.Exception, match="not here"), conftest.shared_server("mysql"):
        pass


def test_apt_entries_of_both_formats(tmp_path):
    (tmp_path / "sources.list").write_text(
        "# deb http://no.example/debian old main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib # x\n"
        "deb-src http://a.example/debian bookworm main\n"
    )
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "d.sources").write_text(
        "Types: deb deb-src\n# a note\nURIs: http://b.example/debian\nSuites: trixie\n"
        " trixie-updates\nComponents: main\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: x\nComponents: main\n"
    )
    first, second = machine_sources(tmp_path)
    assert (first.uri, first.signed_by) == ("http://a.example/debian", "/k.gpg")
    assert first.components == ("main", "contrib")
    assert (second.uri, second.suites) == ("http://b.example/debian", ("trixie", "trixie-updates"))


@pytest.fixture
def proxy(mysql):
    with FaultProxy(mysql.host, mysql.port) as proxy:
        yield proxy


def _via(proxy, server, **kwargs):
    options = {"host": proxy.host, "port": proxy.port, "ssl_disabled": False, **kwargs}
    return contextlib.closing(server.connect(**options))


def _plain(proxy, server, **kwargs):
    return _via(proxy, server, ssl_disabled=True, **kwargs)


def _letters(connection, count=200_000):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT REPEAT('a', {count})")
        return cursor.fetchone()[0]


def test_proxy_forwards_and_flips_one_byte(proxy, mysql):
    with _plain(proxy, mysql, charset="latin1") as connection:
        assert _letters(connection) == "a" * 200_000
        proxy.flip_byte(150_000)
        damaged = _letters(connection)
        assert sum(letter != "a" for letter in damaged) == 1
        assert _letters(connection) == "a" * 200_000


def test_proxy_cuts_after_exactly_n_bytes(proxy, mysql):
    with _plain(proxy, mysql) as connection:
        proxy.cut_after(100_000)
        with pytest.raises(pymysql.err.OperationalError, match="Lost connection"):
            _letters(connection)
    with _plain(proxy, mysql) as connection:
        assert len(_letters(connection)) == 200_000


def test_proxy_pause_refuse_drop(proxy, mysql):
    with _plain(proxy, mysql, read_timeout=0.5) as connection:
        proxy.pause()
        with pytest.raises(pymysql.err.OperationalError, match="timed out"):
            _letters(connection)
        proxy.resume()
    proxy.refuse()
    with pytest.raises(pymysql.err.OperationalError):
        _via(proxy, mysql)
    proxy.refuse(False)
    with _plain(proxy, mysql) as connection:
        proxy.drop()
        with pytest.raises(pymysql.err.OperationalError):
            _letters(connection)


def test_proxy_can_spare_all_but_the_dump(mysql, mysql_db):
    mysql.execute("FLUSH BINARY LOGS", f"CREATE TABLE {mysql_db}.t (a INT)")
    log = mysql.execute("SHOW BINARY LOGS")[-1][0].encode()
    with FaultProxy(mysql.host, mysql.port, dump_only=True) as proxy:
        proxy.cut_after(50)
        with _plain(proxy, mysql) as connection:
            assert len(_letters(connection)) == 200_000
            connection._execute_command(0x12, struct.pack("<IHI", 4, 1, 99) + log)
            with pytest.raises(pymysql.err.OperationalError):
                while True:
                    connection._read_packet()
        assert proxy.delivered >= 50
