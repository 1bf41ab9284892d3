"""MySQL, MariaDB and OceanBase as polled sources.

In: a connection. Out: see `resources.sql.flavor.Flavor`. Types, values and schemas are those of
`resources.mysql`, so that a table read by polling equals the same table read from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from pymysql.connections import Connection
from sqlalchemy.dialects import mysql

from resources.errors import ConfigError
from resources.model.change import RejectedRow
from resources.model.position import ServerIdentity
from resources.model.source import Finding
from resources.model.table import TableId
from resources.mysql.catalog import TablePatterns, list_tables
from resources.mysql.connection import MySQLSettings, connect
from resources.mysql.result_set import ZeroDates, select_arrow, select_list
from resources.mysql.server import server_facts
from resources.sql import family_catalog, innodb
from resources.sql.connection import Database
from resources.sql.flavor import BadRow, Page, PollTable, Where, select
from resources.sql.ledger import Survey

# Named parameters, since with `%s` the compiler would double every percent sign in a name.
_DIALECT = mysql.dialect(paramstyle="named")
_URL_ARGUMENTS = {"unix_socket": "socket", "ssl_ca": "ca", "ssl_cert": "cert", "ssl_key": "key"}


class FamilyFlavor:
    """The MySQL family, by PyMySQL connections of `resources.mysql`."""

    def __init__(self, url: sa.URL, connect_args: Mapping[str, Any], zero_dates: ZeroDates) -> None:
        settings = _settings(url, connect_args)
        self.zero_dates = zero_dates
        # The URL is for names and errors only: `creator` opens the connections.
        shown = url.set(drivername="mysql+pymysql")
        self.database = Database(shown, creator=lambda: connect(settings))

    def identity(self, connection: sa.Connection) -> ServerIdentity:
        """Return the server's identity, equal to that of a source that reads its log."""
        return server_facts(_driver(connection)).identity

    def list_tables(self, connection: sa.Connection) -> list[TableId]:
        """Return the base tables of users' databases."""
        return list_tables(_driver(connection), TablePatterns(("*.*",)))

    def describe(
        self, connection: sa.Connection, tables: Sequence[TableId], keys: Mapping[TableId, str]
    ) -> tuple[list[PollTable], list[Finding]]:
        """Return what can be polled of `tables`, and why the others cannot."""
        return family_catalog.describe(_driver(connection), tables, keys)

    def survey(self, connection: sa.Connection, tables: Sequence[PollTable]) -> Survey:
        """List what is open now."""
        driver = _driver(connection)
        if any(table.proof == "transactions" for table in tables):
            return innodb.survey(driver, tables)
        return Survey(innodb.clock_us(driver), {table.id: None for table in tables})

    def read(
        self, connection: sa.Connection, table: PollTable, where: Where, limit: int | None
    ) -> Page:
        """Return rows in the order of the key."""
        listed: sa.ColumnClause[Any] = sa.literal_column(select_list(table.schema))
        statement = str(
            select(table, [listed], where, limit).compile(
                dialect=_DIALECT, compile_kwargs={"literal_binds": True}
            )
        )
        parts = list(
            select_arrow(
                _driver(connection), statement, (), table.schema, zero_dates=self.zero_dates
            )
        )
        fields = pa.schema([field.with_nullable(True) for field in table.schema.arrow()])
        rows = pa.Table.from_batches([p.rows for p in parts], fields).combine_chunks()
        whole = rows.to_batches()[0] if rows.num_rows else pa.RecordBatch.from_pylist([], fields)
        return _page(table, whole, [r for p in parts for r in p.rejected])


def _page(table: PollTable, rows: pa.RecordBatch, rejected: list[RejectedRow]) -> Page:
    ids = rows.column(table.schema.names.index(table.key)).to_numpy(zero_copy_only=False)
    ids = ids.astype(np.uint64 if ids.dtype.kind == "u" else np.int64)
    if not rejected:
        return Page(ids, rows, np.arange(len(ids)))
    others = np.array([_id_of(row, table.key) for row in rejected], ids.dtype)
    everything = np.concatenate([ids, others])
    order = np.argsort(everything, kind="stable")
    places = np.argsort(order, kind="stable")
    bad = sorted(
        (
            BadRow(int(places[len(ids) + n]), row.field, row.message, row.image, row.raw)
            for n, row in enumerate(rejected)
        ),
        key=lambda row: row.index,
    )
    return Page(everything[order], rows, places[: len(ids)], tuple(bad))


def _id_of(row: RejectedRow, key: str) -> int:
    with pa.ipc.open_stream(row.image) as reader:
        return int(reader.read_all().column(key)[0].as_py())


def _driver(connection: sa.Connection) -> Connection[Any]:
    driver: Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver


def _settings(url: sa.URL, connect_args: Mapping[str, Any]) -> MySQLSettings:
    options: dict[str, Any] = {
        _URL_ARGUMENTS[name]: value for name, value in url.query.items() if name in _URL_ARGUMENTS
    }
    server = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    options |= {name: value for name, value in server.items() if value is not None}
    try:
        return MySQLSettings(**{**options, **connect_args})
    except TypeError:
        raise ConfigError(
            "a connect argument is not one of this source",
            remedy="use tls, ca, cert, key, socket, connect_timeout, read_timeout",
        ) from None
