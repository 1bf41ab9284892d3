"""Any history of any tables comes back, before and after compaction."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from resources.model.change import (
    ChangeBatch,
    first_seq,
    last_seq,
)
from resources.model.table import TableId, TableSchema
from tests.stores.place import Place
from tests.stores.samples import (
    LATER,
    ORDERS,
    WINDOW,
    position,
)
from tests.strategies import (
    COLUMN_TYPES,
    WIDE_DECIMALS,
    Changes,
    change_sequences,
    table_schemas,
)

EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.explicit, Phase.generate],  # each step writes files: shrinking takes minutes
)


def _renamed(changes: Changes, table: TableId) -> Changes:
    schema = TableSchema(table, changes.schema.columns, changes.schema.key)
    return Changes(schema, changes.rows)


@st.composite
def _histories(draw: st.DrawFn) -> list[list[Changes]]:
    """Segments, each a list of change sequences; a table may change its schema at any point."""
    types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    shapes = {
        table: draw(st.lists(table_schemas(types), min_size=1, max_size=2))
        for table in (ORDERS, TableId("a.b", "c"), TableId("a", "b.c"), TableId("x", "../ü" * 20))
    }
    history = []
    for _ in range(draw(st.integers(1, 4))):
        parts = []
        for _ in range(draw(st.integers(0, 4))):
            table = draw(st.sampled_from(sorted(shapes)))
            shape = st.sampled_from(shapes[table])
            parts.append(_renamed(draw(change_sequences(shape, max_size=6)), table))
        history.append(parts)
    return history


def _write(place: Place, history: list[list[Changes]], **sizes: int) -> dict[TableId, list[Any]]:
    """Write segments; returns each table's rows as the reader must give them."""
    expected: dict[TableId, list[Any]] = {}
    lease = place.leases.acquire("capture", "a run", 0.01)
    for number, parts in enumerate(history):
        writer = place.log.begin_segment(lease, "run", "*", **sizes)
        seq = first_seq(writer.number)
        for part in parts:
            rows = Changes(part.schema, part.rows, seq).batch()
            writer.write(ChangeBatch(part.schema, rows))
            expected.setdefault(part.schema.table, []).extend(_told_apart(part.schema, rows))
            seq += rows.num_rows
        window = WINDOW if number < 2 else LATER
        writer.commit(position(100 * (number + 1)), window, 1, 0, 0)
    return expected


def _told_apart(schema: TableSchema, rows: pa.RecordBatch) -> list[Any]:
    """Rows as their `_cdc_seq`, and text that tells NaN, -0.0 and NULL apart."""
    columns = [c.cast(pa.int64()) if pa.types.is_duration(c.type) else c for c in rows.columns]
    values = zip(*(column.to_pylist() for column in columns), strict=True)
    seqs = rows.column("_cdc_seq").to_pylist()
    return [(seq, schema.fingerprint(), repr(row)) for seq, row in zip(seqs, values, strict=True)]


def _read(place: Place, table: TableId, after: int = 0, upto: int | None = None) -> list[Any]:
    found = []
    for part in place.log.read(table, after, upto):
        assert part.schema.table == table
        assert part.rows.schema.names == [*part.schema.names, "_cdc_op", "_cdc_seq", "_cdc_ts"]
        assert part.rows.num_rows
        found += _told_apart(part.schema, part.rows)
    return found


@EXAMPLES
@given(history=_histories(), data=st.data(), block_rows=st.integers(1, 5))
def test_reading_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[Changes]],
    data: st.DataObject,
    block_rows: int,
) -> None:
    place = Place(tmp_path_factory.mktemp("log"))
    memory = data.draw(st.sampled_from([1, 300, 1 << 20]))
    expected = _write(place, history, block_rows=block_rows, memory_bytes=memory)
    seqs = sorted(row[0] for rows in expected.values() for row in rows)
    bounds = st.sampled_from([0, *seqs, *(s - 1 for s in seqs), *map(last_seq, range(6))])
    ranges = [(0, None)] + [(data.draw(bounds), data.draw(bounds | st.none())) for _ in range(2)]

    def check() -> None:
        for table, rows in expected.items():
            for after, upto in ranges:
                wanted = [r for r in rows if r[0] > after and (upto is None or r[0] <= upto)]
                assert _read(place, table, after, upto) == wanted
        assert place.log.touched(0) == {t: len(rows) for t, rows in expected.items() if rows}
        assert place.log.check(full=True) == []

    check()
    first = place.log.compact(WINDOW)
    check()
    place.log.purge(LATER)
    check()
    place.log.compact(LATER)
    place.log.purge("9")
    check()
    assert place.log.compact(WINDOW) == first
    assert [f for f in place.log.sweep_orphans(-60) if not f.startswith("segments/.")] == []
    check()
    place.db.close()
