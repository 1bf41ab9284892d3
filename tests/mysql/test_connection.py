"""Logging in: TLS, session state, and errors that say what to do and keep secrets."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resources.errors import CdcError, ConfigError, SchemaMismatch, SourceUnavailable
from resources.mysql.connection import MySQLSettings, connect, flavor_of, map_error, version_tuple
from tests.mysql.room import Room, settings_for
from tests.servers.mysql import MySQLServer


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    folder: Path, name: str, issuer: tuple[str, Any] | None, address: str | None
) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    signer = issuer or (name, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(signer[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(signer[1], hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}-key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MySQLServer, Path]]:
    """A server whose certificate names 127.0.0.1, and the folder with its authority."""
    folder = tmp_path_factory.mktemp("tls")
    ca = _certificate(folder, "ca", None, None)
    _certificate(folder, "other", None, None)
    _certificate(folder, "server", ("ca", ca), "127.0.0.1")
    options = {
        "ssl_ca": folder / "ca.pem",
        "ssl_cert": folder / "server.pem",
        "ssl_key": folder / "server-key.pem",
    }
    with MySQLServer(durable=False, options={k: str(v) for k, v in options.items()}) as server:
        yield server, folder


def _over_tcp(server: Any, **changes: Any) -> MySQLSettings:
    address = {"socket": None, "host": "127.0.0.1", "port": server.port}
    return settings_for(server, **{**address, **changes})


def _cipher(settings: MySQLSettings) -> str:
    with closing(connect(settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return str(cursor.fetchone()[1])


def test_tls_verifies_chain_and_name_by_default(tls: tuple[MySQLServer, Path]) -> None:
    server, folder = tls
    assert _cipher(_over_tcp(server, ca=str(folder / "ca.pem")))
    for refused in (
        _over_tcp(server),
        _over_tcp(server, ca=str(folder / "other.pem")),
        _over_tcp(server, ca=str(folder / "ca.pem"), host="localhost"),
    ):
        with pytest.raises(ConfigError, match="mode: require") as caught:
            connect(refused)
        assert "certificate" in str(caught.value)


def test_tls_can_be_lowered_only_by_saying_so(tls: tuple[MySQLServer, Path]) -> None:
    server, _ = tls
    assert _cipher(_over_tcp(server, tls="require"))
    assert _cipher(_over_tcp(server, tls="off")) == ""
    assert _cipher(settings_for(server)) == ""


def test_a_server_without_tls_is_refused(mariadb: Any) -> None:
    for mode in ("verify", "require"):
        with pytest.raises(ConfigError, match="offers no TLS"):
            connect(_over_tcp(mariadb, tls=mode))


def test_a_missing_ca_file_is_named_as_such(mysql: Any) -> None:
    with pytest.raises(ConfigError, match="TLS file"):
        connect(_over_tcp(mysql, ca="/nowhere/ca.pem"))


def test_the_session_is_the_same_everywhere(room: Room) -> None:
    with closing(connect(room.settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@time_zone, @@sql_mode, @@character_set_results, @@autocommit")
        zone, mode, charset, autocommit = cursor.fetchone()
        assert (zone, charset, autocommit) == ("+00:00", "utf8mb4", 1)
        assert mode == "ALLOW_INVALID_DATES"
        assert not connection._local_infile  # type: ignore[attr-defined]
        cursor.execute("SELECT SLEEP(0)")


def test_a_source_session_cannot_write(room: Room) -> None:
    room.execute("CREATE TABLE w (id INT PRIMARY KEY)")
    administrator = settings_for(room.server, user="root", password=room.server.password)
    with (
        closing(connect(administrator)) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.err.MySQLError, match=r"(?i)read.only"),
    ):
        cursor.execute(f"INSERT INTO {room.database}.w VALUES (1)")


def test_limits_set_for_everybody_do_not_cut_results(mysql: Any, mysql_db: str) -> None:
    room = Room(mysql, mysql_db)
    room.execute("CREATE TABLE s (id INT PRIMARY KEY)", "INSERT INTO s VALUES (1), (2), (3)")
    mysql.execute("SET GLOBAL sql_select_limit = 1, GLOBAL max_join_size = 1")
    try:
        with closing(connect(room.settings)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {mysql_db}.s")
            assert len(cursor.fetchall()) == 3
    finally:
        mysql.execute("SET GLOBAL sql_select_limit = DEFAULT, GLOBAL max_join_size = DEFAULT")


def test_a_server_that_is_away_is_a_transient_error() -> None:
    with pytest.raises(SourceUnavailable):
        connect(MySQLSettings(host="127.0.0.1", port=1, tls="off", connect_timeout=2))
    with pytest.raises(SourceUnavailable):
        connect(MySQLSettings(socket="/nowhere/mysql.sock"))


def test_a_silent_server_is_a_transient_error(mysql: Any) -> None:
    with (
        closing(connect(settings_for(mysql, read_timeout=1))) as connection,
        pytest.raises(pymysql.err.OperationalError) as caught,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT SLEEP(3)")
    assert isinstance(map_error(caught.value, "x"), SourceUnavailable)


def test_wrong_passwords_are_refused_without_being_shown(room: Room) -> None:
    settings = settings_for(room.server, password="canary-secret-ü€")
    with pytest.raises(ConfigError) as caught:
        connect(settings)
    for text in (repr(settings), str(settings), str(caught.value), repr(caught.value.__cause__)):
        assert "canary" not in text


@pytest.mark.parametrize(
    ("code", "text", "kind", "remedy"),
    [
        (
            1142,
            "SELECT command denied to user 'u'@'h' for table `d`.`t`",
            ConfigError,
            "GRANT SELECT ON `d`.`t` TO 'u'@'h'",
        ),
        (
            1142,
            "SELECT command denied to user 'u'@'h' for table 't'",
            ConfigError,
            "GRANT SELECT ON <its database>.`t` TO 'u'@'h'",
        ),
        (
            1044,
            "Access denied for user 'u'@'h' to database 'd'",
            ConfigError,
            "GRANT SELECT ON `d`.* TO 'u'@'h'",
        ),
        (
            1227,
            "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT "
            "privilege(s) for this operation",
            ConfigError,
            "GRANT SUPER ON *.*",
        ),
        (1213, "Deadlock", SourceUnavailable, ""),
        (2013, "Lost connection", SourceUnavailable, ""),
        (1054, "Unknown column 'x'", SchemaMismatch, ""),
        (1292, "Incorrect DATE value: 'canary'", CdcError, ""),
    ],
)
def test_driver_errors_are_mapped(code: int, text: str, kind: type[CdcError], remedy: str) -> None:
    error = map_error(pymysql.err.OperationalError(code, text), "somewhere")
    assert type(error) is kind
    assert remedy in error.remedy
    assert "canary" not in str(error)
    assert error.where == "somewhere"


@pytest.mark.parametrize(
    ("version", "comment", "flavor", "numbers"),
    [
        ("9.7.4-2", "(Debian)", "mysql", (9, 7, 4)),
        ("8.0.36-28", "Percona Server (GPL)", "mysql", (8, 0, 36)),
        ("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", "mariadb", (10, 11, 19)),
        ("5.7.25-OceanBase seekdb", "OceanBase 4.3", "oceanbase", (5, 7, 25)),
        ("unknown", "", "mysql", (0, 0, 0)),
    ],
)
def test_families_by_version(
    version: str, comment: str, flavor: str, numbers: tuple[int, ...]
) -> None:
    assert flavor_of(version, comment) == flavor
    assert version_tuple(version) == numbers
