"""One connection to a SQL source, and what its errors mean.

In: a SQLAlchemy URL. Out: an autocommit connection, errors of the tree without values or secrets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from resources.errors import CdcError, ConfigError, SchemaMismatch, SourceUnavailable

T = TypeVar("T")

RETRY_SECONDS = (0.2, 1.0)
_MYSQL_CONFIG = {1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1698, 2054, 2061}
_MYSQL_SCHEMA = {1051, 1054, 1146}
_POSTGRES_TEXT = ("authentication failed", "pg_hba.conf", "does not exist", "no password supplied")


class Database:
    """A connection that is opened when first used, and again after it was lost.

    Args:
        url: SQLAlchemy URL.
        connect_args: Passed to the driver.
        prepare: Called with each new driver connection, to set the session up.
        creator: Opens the driver connection in place of the URL.

    Raises:
        ConfigError: The URL is wrong or its driver is not installed.
    """

    def __init__(
        self,
        url: str | sa.URL,
        connect_args: Mapping[str, Any] | None = None,
        prepare: Callable[[Any], None] | None = None,
        creator: Callable[[], object] | None = None,
    ) -> None:
        try:
            self.url = sa.make_url(url)
            self.engine = sa.create_engine(
                self.url,
                connect_args=dict(connect_args or {}),
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                **({"creator": creator} if creator else {}),
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            # The text of an ArgumentError holds the whole URL, password included.
            raise ConfigError(
                f"the source's URL cannot be used ({type(error).__name__})",
                remedy="give a SQLAlchemy URL and install its driver, "
                "e.g. postgresql+psycopg://user@host/db and pip install 'psycopg[binary]'",
            ) from None
        self._prepare = prepare
        self._connection: sa.Connection | None = None

    def __repr__(self) -> str:
        """Return the URL without its password."""
        return f"Database({self.where!r})"

    @property
    def where(self) -> str:
        """The URL without its password and query."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Return `work(connection)`; once the connection is lost, try again on a new one.

        Args:
            work: Reads only, so that it may be repeated.

        Raises:
            SourceUnavailable: The server cannot be reached, or the connection was lost again.
            ConfigError: The server refuses the account or the statement's privileges.
            SchemaMismatch: A table or column is gone.
        """
        for pause in (*RETRY_SECONDS, None):
            try:
                return work(self._open())
            except SourceUnavailable:
                lost = self._connection is not None
                self._drop()
                if not lost or pause is None:
                    raise
            except DBAPIError as error:
                lost = error.connection_invalidated and self._connection is not None
                self._drop()
                if not lost or pause is None:
                    raise mapped(error, self.where, self.url.password) from None
            time.sleep(pause)
        raise AssertionError("the loop returns or raises")

    def close(self) -> None:
        """Close the connection; the next `run` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _drop(self) -> None:
        """Give a connection up that may be broken, without another word on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _open(self) -> sa.Connection:
        if self._connection is None:
            connection = self.engine.connect()
            if self._prepare is not None:
                self._prepare(connection.connection.dbapi_connection)
            self._connection = connection
        return self._connection


def mapped(error: DBAPIError, where: str, password: object = None) -> CdcError:
    """Return the error of the tree that a driver's error stands for.

    Args:
        error: What SQLAlchemy raised.
        where: The server, without its password.
        password: Cut out of the driver's text.
    """
    cause = error.orig
    code = _code(cause)
    text = _connect_text(error, str(password) if password else "")
    if _is_config(cause, code):
        return ConfigError(
            f"the source refuses us ({code}){text}",
            where=where,
            remedy="check user, password and database, and grant SELECT on the polled tables",
        )
    if _is_schema(cause, code):
        return SchemaMismatch(
            f"a polled table or column is gone ({code})",
            where=where,
            remedy="run again: the schema is read anew; if the table was dropped, exclude it",
        )
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return SourceUnavailable(
            f"the source cannot be read now ({code}){text}",
            where=where,
            remedy="check that the server runs and can be reached from here",
        )
    return ConfigError(f"the source refuses a statement ({code})", where=where)


def _code(cause: BaseException | None) -> str:
    first = cause.args[0] if cause is not None and cause.args else None
    if isinstance(first, int):  # PyMySQL tells the state too, which says less
        return f"error {first}"
    state = getattr(cause, "sqlstate", None)
    if state:
        return f"SQLSTATE {state}"
    name = getattr(cause, "sqlite_errorname", None)
    if name:
        return str(name)
    return type(cause).__name__


def _connect_text(error: DBAPIError, password: str) -> str:
    """Return the driver's words where no statement, hence no value, can be in them."""
    if error.statement:
        return ""
    words = " ".join(str(a) for a in error.orig.args) if error.orig is not None else ""
    return ": " + (words.replace(password, "***") if password else words).strip()


def _is_config(cause: BaseException | None, code: str) -> bool:
    if code.startswith("SQLSTATE"):
        return code.split()[1][:2] in {"28", "3D"} or code.endswith("42501")
    if code.startswith("error "):
        return int(code.split()[1]) in _MYSQL_CONFIG
    words = str(cause)
    return code == "OperationalError" and any(text in words for text in _POSTGRES_TEXT)


def _is_schema(cause: BaseException | None, code: str) -> bool:
    if code.startswith("SQLSTATE"):
        return code.endswith(("42P01", "42703", "3F000"))
    if code.startswith("error "):
        return int(code.split()[1]) in _MYSQL_SCHEMA
    return code == "SQLITE_ERROR" and "no such" in str(cause)
