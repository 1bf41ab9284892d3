"""Connections to MySQL-family servers: TLS, session state, errors in the project's own tree.

In: a pipeline's source settings. Out: PyMySQL connections every reader of this room relies on:
UTC, utf8mb4, one `sql_mode`, read-only, no server-side limit on a long SELECT.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pymysql
from pymysql.connections import Connection

from resources.errors import CdcError, ConfigError, SchemaMismatch, SourceUnavailable

Flavor = Literal["mysql", "mariadb", "oceanbase"]
Tls = Literal["verify", "require", "off"]

_SESSION = (
    "SET time_zone = '+00:00', "
    # Empty but for one mode: stored dates such as 2021-02-31 must stay comparable as key bounds.
    "sql_mode = 'ALLOW_INVALID_DATES', "
    # A slow sink holds a streamed result up; the server must not give up on it meanwhile.
    "net_write_timeout = 3600, wait_timeout = 28800, "
    # A limit set for everybody (init_connect, global) would cut tables in silence.
    "sql_select_limit = 18446744073709551615, sql_big_selects = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
)
_OCEANBASE_TIMEOUT_US = 86_400_000_000
_TRANSIENT = frozenset(
    {1040, 1042, 1053, 1077, 1079, 1080, 1152, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160}
    | {1161, 1184, 1189, 1190, 1203, 1205, 1213, 1317, 1927, 1969, 2002, 2003, 2006, 2012, 2013}
    | {2014, 2055, 3024, 3032, 3169, 4031}
)
_DENIED = frozenset({1044, 1045, 1049, 1130, 1142, 1143, 1227, 1370, 1698, 3118, 3879, 4151})
_SCHEMA = frozenset({1054, 1146})
_TLS_REMEDY = (
    "give `ca`, the file with the certificate of the authority that signed the server's, and a "
    "`host` that the certificate names; or lower the demand: `tls: {mode: require}` (encrypted, "
    "server not verified) or `tls: {mode: off}`"
)


@dataclass(frozen=True)
class MySQLSettings:
    """How to reach one server.

    Args:
        host: Name or address; its TLS certificate has to carry it.
        port: TCP port.
        socket: Unix socket; takes the place of host and port, and needs no TLS.
        user: Account.
        password: Its password; never shown.
        database: Default database; no query of this room needs one.
        tls: `verify` checks certificate chain and host name, `require` encrypts only, `off`
            sends everything in the clear.
        ca: PEM file of the authorities trusted; the system's own when None.
        cert: PEM file with the client's certificate.
        key: PEM file with the client's key.
        connect_timeout: Seconds.
        read_timeout: Seconds without a byte after which a connection counts as lost.
        server_id: Replica id to register with; derived from the pipeline's name when None.
        flavor: Server family the pipeline file names.
    """

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str | None = None
    user: str = "root"
    password: str = field(default="", repr=False)
    database: str | None = None
    tls: Tls = "verify"
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 600.0
    server_id: int | None = None
    flavor: Flavor = "mysql"

    @property
    def where(self) -> str:
        """The server in words, for errors and logs."""
        return f"{self.flavor} {self.user}@{self.socket or f'{self.host}:{self.port}'}"


def connect(settings: MySQLSettings, **overrides: object) -> Connection[Any]:
    """Open a connection in autocommit mode with this room's session state.

    Args:
        settings: The server.
        overrides: Arguments of `pymysql.connect` that win over the settings.

    Raises:
        SourceUnavailable: The server cannot be reached now.
        ConfigError: Login or TLS refused, with what mends it.
    """
    arguments: dict[str, Any] = {
        "user": settings.user,
        # PyMySQL would encode a str as latin-1; servers take the bytes as UTF-8.
        "password": settings.password.encode(),
        "database": settings.database,
        "charset": "utf8mb4",
        "autocommit": True,
        "local_infile": False,
        "connect_timeout": settings.connect_timeout,
        "read_timeout": settings.read_timeout,
        "write_timeout": settings.read_timeout,
        **endpoint(settings),
    }
    with mapped_errors(settings.where):
        connection: Connection[Any] = pymysql.connect(**{**arguments, **overrides})
        try:
            _prepare_session(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def endpoint(settings: MySQLSettings) -> dict[str, Any]:
    """Return the arguments of `pymysql.connect` that say where the server is, and of encryption.

    Raises:
        ConfigError: A TLS file cannot be read.
    """
    if settings.socket is not None:
        return {"unix_socket": settings.socket, "ssl_disabled": True}
    address = {"host": settings.host, "port": settings.port}
    if settings.tls == "off":
        return {**address, "ssl_disabled": True}
    return {**address, "ssl": _tls_context(settings)}


def _tls_context(settings: MySQLSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.cert is not None:
            context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"a TLS file cannot be read ({type(error).__name__})",
            where=settings.where,
            remedy="name readable PEM files in `ca`, `cert` and `key`",
        ) from error
    # Certificates MySQL makes for itself lack what Python 3.13 asks for by this flag.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _prepare_session(connection: Connection[Any]) -> None:
    with connection.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)
        cursor.execute("SELECT @@version, @@version_comment")
        version, comment = cursor.fetchone()
        flavor = flavor_of(version, comment)
        if flavor == "mariadb":
            cursor.execute("SET max_statement_time = 0")
            return
        cursor.execute("SET max_execution_time = 0")
        if flavor == "oceanbase":
            limit = (_OCEANBASE_TIMEOUT_US, _OCEANBASE_TIMEOUT_US)
            cursor.execute("SET ob_query_timeout = %s, ob_trx_timeout = %s", limit)
            return
        if version_tuple(version) >= (8, 0, 3):
            # Row estimates of up to a day ago would mislead the cutting of chunks.
            cursor.execute("SET information_schema_stats_expiry = 0")
        if version_tuple(version) >= (8, 0, 30):
            # Tables with a generated invisible primary key must not seem to lack one.
            cursor.execute("SET show_gipk_in_create_table_and_information_schema = ON")


def flavor_of(version: str, comment: str) -> Flavor:
    """Return the family by `@@version` and `@@version_comment` (Percona Server is `mysql`)."""
    text = f"{version} {comment}".lower()
    if "mariadb" in text:
        return "mariadb"
    return "oceanbase" if "oceanbase" in text else "mysql"


def version_tuple(version: str) -> tuple[int, int, int]:
    """Return the leading `major.minor.patch` of a version text; (0, 0, 0) if there is none."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)


@contextlib.contextmanager
def mapped_errors(where: str) -> Iterator[None]:
    """Turn driver errors raised inside into the project's, without statements or values."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise map_error(error, where) from None
    except (ssl.SSLError, OSError) as error:
        raise _map_os_error(error, where) from None


def map_error(error: pymysql.err.MySQLError, where: str) -> CdcError:
    """Return the project's error for a driver error.

    The driver's own text is repeated only for codes whose text holds names alone.

    Args:
        error: What PyMySQL raised; its first argument is the server's or client's error code.
        where: Server, table or chunk.
    """
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else ""
    original = getattr(error, "original_exception", None)
    if isinstance(original, OSError):
        return _map_os_error(original, where)
    if code == 2026:
        return ConfigError("the server offers no TLS", where=where, remedy=_TLS_REMEDY)
    if code in _DENIED:
        return ConfigError(f"access denied: {text} ({code})", where=where, remedy=_grant(text))
    if code in _SCHEMA:
        message = f"the table is not as it was: {text} ({code})"
        return SchemaMismatch(message, where=where, remedy="read the schema again")
    if code in _TRANSIENT or isinstance(error, pymysql.err.InterfaceError):
        return SourceUnavailable(
            f"the server cannot be reached now or dropped the connection (error {code})",
            where=where,
            remedy="see the server's error log if it stays so",
        )
    return CdcError(
        f"the server refused a statement: {type(error).__name__} {code}",
        where=where,
        remedy="look the error code up in the server's manual; its text may hold values",
    )


def _map_os_error(error: OSError, where: str) -> CdcError:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"the server's TLS certificate is not trusted: {error.verify_message}"
        return ConfigError(message, where=where, remedy=_TLS_REMEDY)
    if isinstance(error, ssl.SSLError):
        message = f"no TLS connection ({error.reason or type(error).__name__})"
        return ConfigError(message, where=where, remedy=_TLS_REMEDY)
    return SourceUnavailable(
        f"the server cannot be reached ({type(error).__name__}, errno {error.errno})",
        where=where,
        remedy="check host, port, socket and firewall, and that the server runs",
    )


def _grant(text: str) -> str:
    """Return the GRANT that answers a refusal; the account stands in the refusal's text."""
    account = re.search(r"user '([^']*)'@'([^']*)'", text)
    who = f"'{account[1]}'@'{account[2]}'" if account else "the account"
    if "to database" in text:
        database = re.search(r"to database '([^']*)'", text)
        return f"GRANT SELECT ON `{database[1] if database else '…'}`.* TO {who}"
    if command := re.match(r"([A-Z ,]+?) command denied", text):
        named = re.search(r"for table (?:`(.+?)`\.`(.+?)`|'(.+?)')", text)
        scope = f"`{named[1]}`" if named and named[1] else "<its database>"
        table = f"`{named[2] or named[3]}`" if named else "*"
        return f"GRANT {command[1]} ON {scope}.{table} TO {who}"
    if privilege := re.search(r"\(at least one of\) the (.+?) privilege", text):
        return f"GRANT {privilege[1].split(',')[0].split(' OR ')[0]} ON *.* TO {who}"
    return f"check user and password; the account the server saw is {who}"
