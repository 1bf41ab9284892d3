"""Values of columns as text of a JSON document: exact in every Arrow type.

In: names and Arrow scalars. Out: an Arrow IPC stream of one row in hexadecimal digits.
"""

from __future__ import annotations

import pyarrow as pa

from resources.model.change import Fills


def fills_to_text(fills: Fills) -> str:
    """Return values as text that `fills_from_text` reads back; empty for none."""
    if not fills:
        return ""
    names = [name for name, _ in fills]
    arrays = [pa.array([value], value.type) for _, value in fills]
    rows = pa.RecordBatch.from_arrays(arrays, names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue()).hex()


def fills_from_text(text: str) -> Fills:
    """Read what `fills_to_text` wrote."""
    if not text:
        return ()
    with pa.ipc.open_stream(bytes.fromhex(text)) as reader:
        rows = reader.read_all()
    return tuple((name, rows.column(name)[0]) for name in rows.column_names)
