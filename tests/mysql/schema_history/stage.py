"""Random DDL with a row after each statement, and what that row was: expected of the log later.

In: a server, two databases. Out: the rows in the order they were written, each with the schema that
the catalog had for its table then.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pymysql

from resources.model.change import LogSlice, RowKind, TableNotice
from resources.model.position import BinlogPosition
from resources.model.table import TableId, TableSchema
from resources.mysql.connection import connect
from resources.mysql.identifiers import quote_identifier, quote_table
from resources.mysql.result_set import select_arrow, select_list
from resources.mysql.source import MySQLSource
from tests.mysql.random_ddl import RandomDdl
from tests.servers.family import FamilyServer

_VALUES = {
    "date": "'2021-0{}-03'",
    "time": "'0{}:02:03'",
    "datetime": "'2021-0{}-03 04:05:06'",
    "timestamp": "'2021-0{}-03 04:05:06'",
    "year": "200{}",
    "json": "'{{\"k\": {}}}'",
    "geometry": "ST_GeomFromText('POINT(1 {})')",
    "point": "ST_GeomFromText('POINT(1 {})')",
    "geometrycollection": "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 {}))')",
    "geomcollection": "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 {}))')",
    "vector": "TO_VECTOR('[{},2,3]')",
    "uuid": "'0000000{}-aaaa-bbbb-cccc-0123456789ab'",
    "inet4": "'10.0.0.{}'",
    "inet6": "'::{}'",
    "enum": "1",
    "set": "1",
}
_COLUMNS = """
SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COALESCE(GENERATION_EXPRESSION, '') = ''
ORDER BY ORDINAL_POSITION"""


@dataclass(frozen=True)
class Written:
    """A row that was written.

    Args:
        schema: What the catalog said of its table then.
        row: The row as a SELECT gave it then.
    """

    schema: TableSchema
    row: dict[str, Any]


@dataclass
class Stage:
    """Two databases, and sessions that change tables in both.

    Args:
        server: Their server.
        databases: Their names.
        rnd: Where chances come from.

    Attributes:
        written: Every row written, in order.
        statements: Every statement that changed a table, in order.
        ends: Ends of the log before the first and after each step.
    """

    server: FamilyServer
    databases: tuple[str, str]
    rnd: random.Random
    written: list[Written] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    ends: list[BinlogPosition] = field(default_factory=list)

    def play(self, source: MySQLSource, steps: int) -> None:
        """Run statements, with a row and an end of the log after each."""
        one, two = self.databases
        generators = [
            (one, RandomDdl(self.rnd, self.server.kind, self._look(one), ("t0", f"{two}.t1"))),
            (two, RandomDdl(self.rnd, self.server.kind, self._look(two), ("t0", "t1", "t2"))),
        ]
        self.ends.append(source.current_position())
        for _ in range(steps):
            database, generator = self.rnd.choice(generators)
            connection = self.server.connect(database=database)
            with closing(connection), connection.cursor() as cursor:
                cursor.execute("SET sql_mode = ''")
                self._statement(cursor, generator)
                for table in source.list_tables():
                    if self.rnd.random() < 0.5:
                        self._write(cursor, table, source)
            self.ends.append(source.current_position())

    def _look(self, database: str) -> Any:
        connection = self.server.connect()

        def look(name: str) -> Sequence[str]:
            at, _, table = name.rpartition(".")
            with connection.cursor() as cursor:
                cursor.execute(_COLUMNS, (at or database, table))
                return [column for column, _ in cursor.fetchall()]

        return look

    def _statement(self, cursor: Any, generator: RandomDdl) -> None:
        while True:
            statement = generator.statement()
            try:
                cursor.execute(statement)
            except pymysql.err.MySQLError:
                continue
            self.statements.append(statement)
            return

    def _write(self, cursor: Any, table: TableId, source: MySQLSource) -> None:
        """Replace a table's rows by one, if the server lets it."""
        schema = source.read_schemas([table]).get(table)
        if schema is None:
            return
        cursor.execute(_COLUMNS, (table.database, table.table))
        columns = cursor.fetchall()
        names = ", ".join(quote_identifier(name) for name, _ in columns)
        values = ", ".join(self._value(kind) for _, kind in columns)
        try:
            cursor.execute(f"DELETE FROM {quote_table(table)}")
            cursor.execute(f"INSERT IGNORE INTO {quote_table(table)} ({names}) VALUES ({values})")
        except pymysql.err.MySQLError:
            return
        self.written += [Written(schema, row) for row in _rows(source, schema)]

    def _value(self, kind: str) -> str:
        return _VALUES.get(kind.lower(), "'{}'").format(self.rnd.randint(1, 9))


def _rows(source: MySQLSource, schema: TableSchema) -> list[dict[str, Any]]:
    statement = f"SELECT {select_list(schema)} FROM {quote_table(schema.table)}"
    with closing(connect(source.settings)) as reader:
        parts = select_arrow(reader, statement, (), schema, zero_dates="null", where="the test")
        return [row for part in parts for row in part.rows.to_pylist()]


def kept_after(slices: Sequence[LogSlice], kept: Mapping[TableId, str]) -> dict[TableId, str]:
    """What a store that commits every slice holds at the end."""
    out = dict(kept)
    for record in (record for part in slices for record in part.shapes):
        if record.text:
            out[record.table] = record.text
        else:
            out.pop(record.table, None)
    return out


def told(slices: Sequence[LogSlice]) -> list[Written | TableNotice]:
    """Rows inserted, and notices of what asks for a table to be read again, in log order."""
    out: list[tuple[int, Written | TableNotice]] = []
    for part in slices:
        # DDL outside strict mode may leave values in old rows that MariaDB itself cannot read.
        assert {row.op for row in part.rejected} <= {RowKind.DELETE}, part.rejected
        out += [(notice.seq, notice) for notice in part.notices if notice.rewrites]
        for batch in part.batches:
            for row in batch.rows.to_pylist():
                op, seq = row.pop("_cdc_op"), row.pop("_cdc_seq")
                del row["_cdc_ts"]
                if op == RowKind.INSERT:
                    out.append((seq, Written(batch.schema, row)))
    return [item for _, item in sorted(out, key=_order)]


def _order(told: tuple[int, Written | TableNotice]) -> tuple[int, bool]:
    seq, item = told
    return seq, isinstance(item, Written)
