"""Each finding appears when the server is set wrong and goes when its remedy is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from resources.model.source import Finding
from resources.model.table import TableId
from resources.mysql.grants import parse_grants
from resources.mysql.server import derive_server_id
from resources.mysql.source import MySQLSource
from tests.mysql.room import Room, settings_for
from tests.servers import CDC_USER, Server
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def private(request: pytest.FixtureRequest) -> Iterator[Room]:
    """A server of this module's own: its global settings are changed."""
    build: Callable[..., Server] = {"mysql": MySQLServer, "mariadb": MariaDBServer}[request.param]
    with build(durable=False) as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
        yield Room(server, "shop")


def _findings(room: Room, **options: Any) -> dict[str, Finding]:
    with closing(room.source(**options)) as source:
        return {finding.code: finding for finding in source.check()}


def test_a_server_set_right_has_no_findings(private: Room) -> None:
    assert _findings(private) == {}


@pytest.mark.parametrize(
    ("code", "level", "variable", "wrong", "servers"),
    [
        ("binlog_format", "error", "binlog_format", "'STATEMENT'", "mysql mariadb"),
        ("binlog_format", "error", "binlog_format", "'MIXED'", "mysql mariadb"),
        ("binlog_row_image", "error", "binlog_row_image", "'MINIMAL'", "mysql mariadb"),
        ("binlog_row_image", "error", "binlog_row_image", "'NOBLOB'", "mysql mariadb"),
        ("binlog_row_metadata", "warning", "binlog_row_metadata", "'MINIMAL'", "mysql mariadb"),
        ("binlog_row_metadata", "warning", "binlog_row_metadata", "'NO_LOG'", "mariadb"),
        (
            "binlog_row_value_options",
            "error",
            "binlog_row_value_options",
            "'PARTIAL_JSON'",
            "mysql",
        ),
        ("binlog_checksum", "warning", "binlog_checksum", "'NONE'", "mysql mariadb"),
        ("retention", "warning", "binlog_expire_logs_seconds", "3600", "mysql mariadb"),
    ],
)
def test_settings_of_the_log(
    private: Room, code: str, level: str, variable: str, wrong: str, servers: str
) -> None:
    if private.kind not in servers:
        with pytest.raises(pymysql.err.MySQLError):  # the other family has no such setting
            private.server.execute(f"SET GLOBAL {variable} = {wrong}")
        return
    private.server.execute(f"SET GLOBAL {variable} = {wrong}")
    finding = _findings(private)[code]
    assert finding.level == level
    assert finding.table is None
    private.server.execute(finding.remedy.split("; and ")[0])
    assert code not in _findings(private)


def test_missing_grants_name_their_statement(private: Room) -> None:
    server = private.server
    user = f"'{CDC_USER}'@'%'"
    client = "BINLOG MONITOR" if private.kind == "mariadb" else "REPLICATION CLIENT"
    for privilege in ("REPLICATION SLAVE", client, "SELECT"):
        server.execute(f"REVOKE {privilege} ON *.* FROM {user}")
    # Without any privilege on it the table would not even be listed.
    server.execute(f"GRANT INSERT ON shop.t TO {user}")
    try:
        findings = _findings(private)
        codes = {
            "grant_replication_slave",
            "grant_select",
            f"grant_{client.lower().replace(' ', '_')}",
        }
        assert set(findings) == codes
        assert findings["grant_select"].table == TableId("shop", "t")
        for finding in findings.values():
            assert finding.level == "error"
            server.execute(finding.remedy)
        assert _findings(private) == {}
    finally:
        server.execute(
            f"GRANT REPLICATION SLAVE, {client}, SELECT ON *.* TO {user}",
            f"REVOKE INSERT, SELECT ON shop.t FROM {user}",
        )


def test_privileges_of_a_role_count(private: Room) -> None:
    server = private.server
    client = "BINLOG MONITOR" if private.kind == "mariadb" else "REPLICATION CLIENT"
    default = (
        "SET DEFAULT ROLE reader TO r"
        if private.kind == "mysql"
        else "SET DEFAULT ROLE reader FOR r"
    )
    server.execute(
        "CREATE ROLE reader",
        f"GRANT REPLICATION SLAVE, {client} ON *.* TO reader",
        "CREATE USER r IDENTIFIED BY 'pw'",
        "GRANT reader TO r",
        "GRANT SELECT ON `sh%`.* TO r",
        default,
    )
    settings = settings_for(server, user="r", password="pw")
    with closing(MySQLSource(settings, pipeline="p", include=["shop.*"])) as source:
        assert source.check() == []
    server.execute("DROP USER r", "DROP ROLE reader")


@pytest.mark.parametrize(
    ("lines", "table", "selected"),
    [
        (["GRANT USAGE ON *.* TO `u`@`%`"], TableId("d", "t"), False),
        (["GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION"], TableId("d", "t"), True),
        (["GRANT SELECT, INSERT ON `d`.* TO `u`@`%`"], TableId("d", "t"), True),
        (["GRANT SELECT ON `shop\\_a`.* TO `u`@`%`"], TableId("shop_a", "t"), True),
        (["GRANT SELECT ON `shop\\_a`.* TO `u`@`%`"], TableId("shopxa", "t"), False),
        (["GRANT SELECT ON `shop%`.* TO `u`@`%`"], TableId("shop_9", "t"), True),
        (["GRANT SELECT (`id`) ON `d`.`t` TO `u`@`%`"], TableId("d", "t"), False),
        (["GRANT SELECT ON `d`.`a``b` TO `u`@`%`"], TableId("d", "a`b"), True),
        (["GRANT EXECUTE ON PROCEDURE `d`.`t` TO `u`@`%`"], TableId("d", "t"), False),
        (["GRANT PROXY ON ``@`%` TO `u`@`%`", "GRANT `r` TO `u`@`%`"], TableId("d", "t"), False),
    ],
)
def test_grants_are_read(lines: list[str], table: TableId, selected: bool) -> None:
    assert parse_grants(lines, "'u'@'%'").may_select(table) is selected


def test_keys_and_cascades(private: Room) -> None:
    private.execute(
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT c1 FOREIGN KEY (p) "
        "REFERENCES parent (id) ON DELETE CASCADE)",
        "CREATE TABLE calm (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
        "CREATE TABLE bare (a INT)",
        "CREATE TABLE floating (f DOUBLE PRIMARY KEY)",
    )
    try:
        with closing(private.source()) as source:
            found = {(f.code, f.table and f.table.table): f for f in source.check()}
        expected = {("no_key", "bare"), ("float_key", "floating")}
        if private.kind == "mariadb":
            expected.add(("foreign_key_cascade", "child"))
        assert set(found) == expected
        assert found["no_key", "bare"].level == "error"
        private.server.execute(found["no_key", "bare"].remedy.replace("…", "a"))
        assert "no_key" not in _findings(private)
    finally:
        private.execute("DROP TABLE child, calm, parent, bare, floating")


def test_a_server_id_in_use(private: Room) -> None:
    own = private.server.execute("SELECT @@server_id")[0][0]
    settings = settings_for(private.server, server_id=own)
    with closing(MySQLSource(settings, pipeline="p", include=["shop.*"])) as source:
        (finding,) = source.check()
    assert (finding.code, finding.level) == ("server_id", "error")


def test_derived_server_ids_are_stable_and_in_range(private: Room) -> None:
    with closing(private.source()) as source:
        identity = source.identity()
        assert source.server_id() == derive_server_id("test", identity) == source.server_id()
    ids = {derive_server_id(f"p{n}", identity) for n in range(1000)}
    assert len(ids) == 1000
    assert all(1_000_000_000 <= i <= 2_000_000_000 for i in ids)


def test_a_wrong_flavor_and_lowered_tls_are_said(private: Room) -> None:
    other = "mariadb" if private.kind == "mysql" else "mysql"
    settings = settings_for(
        private.server, flavor=other, tls="off", socket=None, port=private.server.port
    )
    with closing(MySQLSource(settings, pipeline="p", include=["shop.*"])) as source:
        assert {(f.level, f.code) for f in source.check()} == {
            ("warning", "flavor"),
            ("warning", "tls"),
        }


@pytest.mark.parametrize("build", [MySQLServer, MariaDBServer])
def test_settings_that_take_a_restart(build: Callable[..., Server]) -> None:
    options = {"binlog_ignore_db": "shop", "log_slave_updates": "OFF"}
    gtid = {"gtid": False} if build is MySQLServer else {}
    if build is MySQLServer:
        options = {"binlog_ignore_db": "shop", "log_replica_updates": "OFF"}
    with build(durable=False, options=options, **gtid) as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
        room = Room(server, "shop")
        expected = {"binlog_filter", "gtid_mode"} if build is MySQLServer else {"binlog_filter"}
        assert set(_findings(room)) == expected
        server.execute(_become_replica(server))
        if server.kind == "mariadb":
            # The question is one more privilege there; capture itself does not need it.
            assert "log_replica_updates" not in _findings(room)
            server.execute(f"GRANT REPLICA MONITOR ON *.* TO '{CDC_USER}'@'%'")
        assert "log_replica_updates" in _findings(room)


def _become_replica(server: Server) -> str:
    if server.kind == "mysql":
        return "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1"
    return "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1"


def test_no_binary_log(oceanbase: Any, oceanbase_db: str) -> None:
    room = Room(oceanbase, oceanbase_db)
    room.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    assert {(f.level, f.code) for f in _findings(room).values()} == {("error", "log_bin")}


def test_a_mysql_server_without_log() -> None:
    options = {"skip_log_bin": "ON"}
    with MySQLServer(durable=False, gtid=False, options=options) as server:
        del server.options["log_bin"]
        server.restart()
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
        (finding,) = _findings(Room(server, "shop")).values()
        assert (finding.level, finding.code) == ("error", "log_bin")
