"""Rows per second of reduce, DuckDB merge and DuckDB load.

Run as `python -m benchmarks.reduce_merge [--json] [--quick]`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.figures import Figure, arguments, rate, show
from cdc_assets.engine.reduce import Reduced, reduce_changes
from resources.model.change import CHANGE_FIELDS, RowKind
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable
from resources.sinks.duckdb import DuckDBSink

BATCH = 100_000
ROUNDS = 5


def schema(key: str) -> TableSchema:
    """Return a table of ten columns keyed by an integer, a string or both."""
    keys = {"int": ("id",), "string": ("code",), "composite": ("id", "code")}[key]
    columns = (
        Column("id", pa.int64(), nullable=False),
        Column("code", pa.string(), nullable=False),
        *(Column(f"n{i}", pa.int64()) for i in range(4)),
        *(Column(f"s{i}", pa.string()) for i in range(2)),
        Column("price", pa.decimal128(21, 2)),
        Column("at", pa.timestamp("us")),
    )
    return TableSchema(TableId("bench", "t"), columns, keys)


def table_rows(ids: np.ndarray) -> pa.Table:
    """Build rows whose values derive from their ids."""
    number = pa.array(ids)
    text = number.cast(pa.string())
    values = {
        "id": number,
        "code": text,
        **{f"n{i}": number for i in range(4)},
        **{f"s{i}": text for i in range(2)},
        "price": number.cast(pa.decimal128(19, 0)).cast(pa.decimal128(21, 2)),
        "at": number.cast(pa.timestamp("us")),
    }
    return pa.table(values)


def change_batches(changes: int, rows: int, stride: int) -> list[pa.RecordBatch]:
    """Build changes at random keys: a fifth deletes, a fifth inserts, the rest updates."""
    random = np.random.default_rng(7)
    table = table_rows(random.integers(0, rows, changes) * stride)
    ops = random.choice(
        np.array([RowKind.DELETE, RowKind.INSERT, RowKind.UPDATE_AFTER], dtype=np.uint8),
        changes,
        p=[0.2, 0.2, 0.6],
    )
    extra = (
        pa.array(ops),
        pa.array(np.arange(1, changes + 1, dtype=np.uint64)),
        pa.array(np.zeros(changes, dtype=np.int64)).cast(CHANGE_FIELDS[2].type),
    )
    for field, column in zip(CHANGE_FIELDS, extra, strict=True):
        table = table.append_column(field, column)
    batches: list[pa.RecordBatch] = table.to_batches(max_chunksize=BATCH)
    return batches


def best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the fastest of some runs, in seconds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def bench_reduce(changes: int, rows: int) -> Iterator[Figure]:
    """Reduce the same changes with keys of several kinds."""
    for label, key, stride in (
        ("int", "int", 1),
        ("sparse_int", "int", 1_000_003),
        ("string", "string", 1),
        ("composite", "composite", 1),
    ):
        batches = change_batches(changes, rows, stride)
        keys = schema(key).key

        def work(batches: list[pa.RecordBatch] = batches, keys: tuple[str, ...] = keys) -> Reduced:
            return reduce_changes(batches, keys)

        yield Figure(f"reduce.{label}", rate(changes, best(work)), "rows/s")


def bench_duckdb(key: str, changes: int, rows: int) -> Iterator[Figure]:
    """Load a table, then merge the same reduced changes into it several times."""
    target = TargetTable(TargetId("bench", "t"), schema(key))
    parts = [table_rows(np.arange(at, min(at + BATCH, rows))) for at in range(0, rows, BATCH)]
    reduced = reduce_changes(change_batches(changes, rows, 1), target.schema.key)
    fence = Fence(Feed("bench", TableId("bench", "t")), 0, 0, 1)

    def load() -> None:
        load_id = str(time.perf_counter())
        sink.begin_load(target, load_id, fence.feed)
        sink.load_chunk(target, load_id, 1, parts)
        sink.finish_load(target, load_id, fence, 0)

    def merge() -> None:
        sink.merge(target, reduced.upserts, reduced.deletes, fence)

    with (
        tempfile.TemporaryDirectory() as folder,
        DuckDBSink(str(Path(folder) / "bench.duckdb")) as sink,
    ):
        yield Figure(f"load.{key}", rate(rows, best(load, 3)), "rows/s")
        note = f"{changes:,} changes into {rows:,} rows"
        yield Figure(f"merge.{key}", round(best(merge), 3), "s", note)


def main() -> None:
    """Measure and print."""
    chosen = arguments(__doc__).parse_args()
    changes, rows = (50_000, 100_000) if chosen.quick else (500_000, 1_000_000)
    show(bench_reduce(changes, rows), chosen.json)
    for key in ("int", "string"):
        show(bench_duckdb(key, changes, rows), chosen.json)


if __name__ == "__main__":
    main()
