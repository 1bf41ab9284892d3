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
    constant,
    joined,
    key,
    objects,
    or_null,
    text_json,
)
from resources.sinks.kafka_messages import (
    Origin,
    SchemaMessage,
    column,
    compact,
    images,
    plain_keys,
    to_bytes,
)
from resources.sinks.kafka_types import jdbc_type, source_type

_TYPES = pa.array(["INSERT", "UPDATE", "DELETE", "INSERT"], TEXT)


class CanalJson:
    """Canal's flat messages."""

    name = "canal-json"
    tombstones = False

    def keys(self, key: TableSchema, rows: pa.Table) -> list[bytes]:
        """Return keys as objects of the key's columns."""
        return to_bytes(plain_keys(key, rows))

    def values(self, rows: pa.Table, events: Events, origin: Origin) -> list[bytes]:
        """Return one flat message per event; `old` has the columns that changed."""
        schema, target = origin.target.schema, origin.target.id
        texts = [text_json(column(rows, name)) for name in schema.names]
        data = images(objects(schema.names, texts), events.keys)
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
        pieces: list[Piece] = [
            *(constant('{"data":['), data, constant('],"old":')),
            *(_old(schema, texts, events), constant(',"type":"')),
            *(_TYPES.take(pa.array(events.kinds)), constant('","id":')),
            *(pa.array(events.seqs).cast(TEXT), constant(',"es":')),
            *(pa.array(events.ts_us // 1000).cast(TEXT), constant("," + compact(tail)[1:])),
        ]
        return to_bytes(joined(pieces))

    def truncate(self, origin: Origin, seq: int) -> bytes:
        """Return a TRUNCATE statement's message."""
        target = origin.target.id
        sql = f"TRUNCATE TABLE `{target.namespace}`.`{target.table}`"
        return _ddl(origin.target.id.namespace, target.table, sql, "TRUNCATE", origin.now_ms, seq)

    def schema_change(self, change: SchemaMessage) -> bytes:
        """Return the message of a statement."""
        target = change.target.id
        return _ddl(target.namespace, target.table, change.statement, "ALTER", change.now_ms, 0)


def _old(schema: TableSchema, texts: list[pa.Array], events: Events) -> pa.Array:
    """Return `[{…}]` with the values before of the columns that changed, else `null`."""
    updates = (events.before >= 0) & (events.after >= 0)
    if not updates.any():
        return pa.repeat(NULL, len(events))
    members: list[pa.Array] = []
    for name, text in zip(schema.names, texts, strict=True):
        then = or_null(images(text, events.before))
        changed = pc.not_equal(then, or_null(images(text, events.after)))
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
