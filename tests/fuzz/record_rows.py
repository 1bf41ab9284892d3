"""Records the packets of a result set, as both protocols have them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from resources.model.table import TableId
from resources.mysql.catalog import read_schemas
from resources.mysql.connection import connect
from resources.mysql.identifiers import quote_table
from resources.mysql.result_set import printed_list, select_list
from resources.mysql.statement import _COM_QUERY, Statement, _fields, run_statement
from tests.fuzz.corpus import RecordedRows
from tests.mysql.room import settings_for

_EOF, _ERROR, _LONGEST_EOF = 0xFE, 0xFF, 9


def record_rows(server: Any, database: str, table: str) -> list[RecordedRows]:
    """Return a table's rows in the binary and in the text protocol."""
    name = TableId(database, table)
    with closing(connect(settings_for(server))) as connection:
        schema = read_schemas(connection, [name]).schemas[name]
        tail = f"FROM {quote_table(name)} ORDER BY 1"
        binary = run_statement(connection, f"SELECT {select_list(schema)} {tail}", "")
        assert binary.binary
        found = [RecordedRows(schema, binary, *_packets(connection))]
        printed = f"SELECT {printed_list(schema)} {tail}"
        text = Statement(_fields(connection, _COM_QUERY, printed.encode()), None)
        return [*found, RecordedRows(schema, text, *_packets(connection))]


def _packets(connection: Any) -> tuple[int, bytes]:
    """The number of the next packet, and all bytes up to the packet that ends the result."""
    sequence, out = connection._next_seq_id, b""
    while True:
        head = connection._rfile.read(4)
        body = connection._rfile.read(int.from_bytes(head[:3], "little"))
        out += head + body
        if body[0] == _ERROR or (body[0] == _EOF and len(body) < _LONGEST_EOF):
            return sequence, out
