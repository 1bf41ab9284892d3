"""The corpus: files of real servers, cut into what a mutation works on.

In: `tests/fuzz/corpus/*.gz`. Out: logs as lists of events, result sets as lists of packets.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.model.table import Column, TableId, TableSchema
from resources.mysql.statement import Field, Statement
from resources.mysql.types import ColumnFacts, column_from_facts

CORPUS = Path(__file__).parent / "corpus"
MAGIC = b"\xfebin"
HEADER = 19
CHECKSUM = 4


@dataclass(frozen=True)
class RecordedLog:
    """A log file.

    Attributes:
        name: Its file in the corpus.
        flavor: Whose it is.
        events: Its events, headers and checksums included.
        checksums: Whether they have checksums.
    """

    name: str
    flavor: str
    events: tuple[bytes, ...]
    checksums: bool


@dataclass(frozen=True)
class RecordedRows:
    """The rows of a result set.

    Attributes:
        schema: The table.
        statement: Its columns and protocol.
        sequence: Number of the first packet.
        data: The packets, the last one ends the result.
    """

    schema: TableSchema
    statement: Statement
    sequence: int
    data: bytes


def save_log(name: str, data: bytes) -> None:
    """Keep a log file."""
    (CORPUS / f"{name}.log.gz").write_bytes(gzip.compress(data, mtime=0))


def save_rows(name: str, recorded: list[RecordedRows]) -> None:
    """Keep result sets."""
    text = json.dumps([_to_json(rows) for rows in recorded])
    (CORPUS / f"{name}.rows.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def _to_json(rows: RecordedRows) -> dict[str, Any]:
    table = rows.schema.table
    return {
        "table": [table.database, table.table],
        "columns": [_facts(column) for column in rows.schema.columns],
        "key": rows.schema.key,
        "fields": [[f.type, f.unsigned, f.binary] for f in rows.statement.fields],
        "prepared": rows.statement.prepared,
        "sequence": rows.sequence,
        "data": base64.b64encode(rows.data).decode(),
    }


def _facts(column: Column) -> list[Any]:
    digits = (None, None)
    if pa.types.is_decimal(column.type):
        digits = (column.type.precision, column.type.scale)
    return [column.name, column.source_type, *digits, column.charset, column.nullable, "", ""]


def _from_json(found: dict[str, Any]) -> RecordedRows:
    columns = [column_from_facts(ColumnFacts(*facts)) for facts in found["columns"]]
    known = tuple(column for column in columns if isinstance(column, Column))
    assert len(known) == len(columns)
    schema = TableSchema(TableId(*found["table"]), known, tuple(found["key"]))
    statement = Statement([Field(*field) for field in found["fields"]], found["prepared"])
    return RecordedRows(schema, statement, found["sequence"], base64.b64decode(found["data"]))


def split_events(data: bytes, at: int = len(MAGIC)) -> tuple[bytes, ...]:
    """Cut a log file into events; what is left at its end is one more."""
    out = []
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        end = at + size if HEADER <= size <= len(data) - at else len(data)
        out.append(data[at:end])
        at = end
    return tuple(out)


def with_checksums(description: bytes) -> bool:
    """Whether a FORMAT_DESCRIPTION says that events end in a CRC32."""
    return description[-CHECKSUM - 1] == 1


@functools.cache
def logs() -> tuple[RecordedLog, ...]:
    """The log files, by name."""
    return tuple(
        log_of(path.name, gzip.decompress(path.read_bytes()))
        for path in sorted(CORPUS.glob("*.log.gz"))
    )


def log_of(name: str, data: bytes) -> RecordedLog:
    """Return a log file's bytes as a recorded log."""
    events = split_events(data)
    flavor = "mariadb" if b"MariaDB" in events[0][: HEADER + 60] else "mysql"
    return RecordedLog(name, flavor, events, with_checksums(events[0]))


@functools.cache
def result_sets() -> tuple[RecordedRows, ...]:
    """The result sets, by name, binary and text in turn."""
    paths = sorted(CORPUS.glob("*.rows.gz"))
    texts = [gzip.decompress(path.read_bytes()) for path in paths]
    return tuple(_from_json(found) for text in texts for found in json.loads(text))
