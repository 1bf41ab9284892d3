"""Messages as Canal writes them with `flatMessage` (canal-json).

In: events and rows. Out: one message per row, `data` and `old` arrays of one object whose values
are strings. What the fields mean: https://github.com/alibaba/canal (FlatMessage). Binary values
are base64, where Canal reads the bytes as Latin-1.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.model.table import TableSchema
from resources.sinks.kafka_events import Events
from resources.sinks.kafka_json import (
    NULL,
    TEXT,
    Piece,
    Text,
    constant,
    joined,
    key,
    numbers_text,
    object_text,
    text_cells,
)
from resources.sinks.kafka_messages import (
    Origin,
    SchemaMessage,
    column,
    compact,
    images,
    plain_keys,
)
from resources.sinks.kafka_types import jdbc_type, source_type

_TYPES = pa.array(["INSERT", "UPDATE", "DELETE", "INSERT"], TEXT)


class CanalJson:
    """Canal's flat messages."""

    name = "canal-json"
    tombstones = False

    def keys(self, key: TableSchema, rows: pa.Table) -> pa.Array:
        """Return keys as objects of the key's columns."""
        return plain_keys(key, rows)

    def values(self, rows: pa.Table, events: Events, origin: Origin) -> pa.Array:
        """Return one flat message per event; `old` has the columns that changed."""
        schema, target = origin.target.schema, origin.target.id
        cells = [text_cells(column(rows, name)) for name in schema.names]
        (data,) = images(rows, object_text(schema.names, cells), events.keys)
        tail = {
            "database": target.namespace,
            "table": target.table,
            "pkNames": list(schema.key),
            "isDdl": False,
            "sql": "",
            "mysqlType": {c.name: source_type(c) for c in schema.columns},
            "sqlType": {c.name: jdbc_type(c.type) for c in schema.columns},
            "ts": origin.now_ms,
        }
        pieces: Text = [
            *(constant('{"data":['), *data, constant('],"old":')),
            *(_old(schema, rows, cells, events), constant(',"type":"')),
            *(_TYPES.take(pa.array(events.kinds)), constant('","id":')),
            *(numbers_text(events.seqs), constant(',"es":')),
            *(numbers_text(events.ts_us // 1000), constant("," + compact(tail)[1:])),
        ]
        return joined(pieces)

    def truncate(self, origin: Origin, seq: int) -> bytes:
        """Return a TRUNCATE statement's message."""
        target = origin.target.id
        sql = f"TRUNCATE TABLE `{target.namespace}`.`{target.table}`"
        return _ddl(origin.target.id.namespace, target.table, sql, "TRUNCATE", origin.now_ms, seq)

    def schema_change(self, change: SchemaMessage) -> bytes:
        """Return the message of a statement."""
        target = change.target.id
        return _ddl(target.namespace, target.table, change.statement, "ALTER", change.now_ms, 0)


def _old(schema: TableSchema, rows: pa.Table, cells: list[Text], events: Events) -> Piece:
    """Return `[{…}]` with the values before of the columns that changed, else `null`."""
    updates = (events.before >= 0) & (events.after >= 0)
    if not updates.any():
        return NULL
    members: list[pa.Array] = []
    for name, cell in zip(schema.names, cells, strict=True):
        then, now = map(joined, images(rows, cell, events.before, events.after))
        changed = pc.not_equal(then, now)
        member = joined([constant(key(name)), then, constant(",")])
        members.append(pc.if_else(changed, member, constant("")))
    # A member ends with a quote, a digit or null, so that this takes the last comma alone. Arrow's
    # own way to leave out what is null drops rows where all is.
    inner = pc.utf8_rtrim(joined(members), characters=",")
    found = joined([constant("[{"), inner, constant("}]")])
    return pc.if_else(pa.array(np.asarray(updates)), found, NULL)


def _ddl(database: str, table: str, sql: str, kind: str, now_ms: int, seq: int) -> bytes:
    value = {
        "data": None,
        "old": None,
        "type": kind,
        "id": seq,
        "es": now_ms,
        "database": database,
        "table": table,
        "pkNames": None,
        "isDdl": True,
        "sql": sql,
        "mysqlType": None,
        "sqlType": None,
        "ts": now_ms,
    }
    return compact(value).encode()
