"""What transforms cost: changes captured, transformed and merged into DuckDB, beside none of it.

Run as `python -m benchmarks.transform [--json] [--quick]`; docs/benchmarks.md says what each figure
means. `none` is a rule without anything, `projection` renames and leaves out columns and filters,
`computed` has ten computed columns of every kind and three masks. A run goes the whole way of a
change but for the server: masks, the change log, the transform, the reduction, the merge.
"""

from __future__ import annotations

import datetime as dt
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.figures import Figure, alternate, arguments, rate, ratio, say, show
from cdc_assets.engine.pipeline import EngineOptions, Pipeline
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import run_sync
from cdc_assets.engine.transforms.rule import Mask, TransformRule
from resources.model.change import NO_SHAPES, ChangeBatch, LogSlice, RowKind, change_schema
from resources.model.position import BinlogPosition, Position, ServerIdentity
from resources.model.source import Finding
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.duckdb import DuckDBSink
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase

BATCH_ROWS = 65_536
BATCHES = 24
QUICK = 4
NOW_US = 1_795_000_000_000_000
SHOP = TableId("shop", "orders")
SCHEMA = TableSchema(
    SHOP,
    (
        Column("id", pa.int64(), nullable=False),
        Column("customer", pa.int32()),
        Column("status", pa.string()),
        Column("price", pa.decimal128(12, 2)),
        Column("quantity", pa.int32()),
        Column("email", pa.string()),
        Column("phone", pa.string()),
        Column("note", pa.string()),
        Column("created", pa.timestamp("us")),
        Column("document", pa.large_string(), kind="json"),
    ),
    ("id",),
)
RULES = {
    "none": TransformRule(("shop.*",)),
    "projection": TransformRule(
        ("shop.*",),
        ("id", "customer AS customer_id", "price", "quantity", "created AS created_at", "status"),
        "status <> 'draft' AND quantity > 1",
    ),
    "computed": TransformRule(
        ("shop.*",),
        (
            "*",
            "price * quantity AS total",
            "price / quantity AS per_piece",
            "ROUND(price * 1.19, 2) AS gross",
            "CONCAT(status, '-', customer) AS label",
            "UPPER(SUBSTRING(note, 1, 8)) AS head",
            "DATE_FORMAT(created, '%Y-%m') AS month",
            "TIMESTAMPDIFF(DAY, created, '2026-01-01') AS age",
            "CASE WHEN quantity > 5 THEN 'bulk' ELSE 'one' END AS size",
            "COALESCE(note, status, '') AS remark",
            "__op__ = '-D' OR status = 'void' AS dead",
        ),
        "status <> 'draft'",
        masks=(
            Mask("email", "hash", salt="pepper"),
            Mask("phone", "phone", keep_last=4),
            Mask("note", "partial", keep_first=8),
        ),
    ),
}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--batches", type=int, help=f"batches of {BATCH_ROWS:,} rows")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, the best counts")
    chosen = parser.parse_args()
    count = chosen.batches or (QUICK if chosen.quick else BATCHES)
    show(_figures(_batches(count), chosen.rounds), chosen.json)


def _figures(batches: list[pa.RecordBatch], rounds: int) -> Iterator[Figure]:
    rows = sum(b.num_rows for b in batches)
    say(f"# {rows:,} changes in {len(batches)} batches")
    with tempfile.TemporaryDirectory() as folder:
        works = {name: _work(rule, batches, Path(folder)) for name, rule in RULES.items()}
        for work in works.values():
            work()  # compiles, and loads the parser
        found = alternate(rounds, works)
    none = rate(rows, found["none"].seconds)
    for name, timing in found.items():
        speed = rate(rows, timing.seconds)
        yield Figure(f"transform.{name}", speed, "rows/s", ratio(speed, none, "none"))
        yield Figure(f"transform.{name}_cpu", round(timing.cpu / rows * 1e6, 2), "s/M rows")
    for name in ("projection", "computed"):
        share = round(found["none"].seconds / found[name].seconds, 3)
        yield Figure(f"transform.{name}_ratio", share, "of none")


def _work(rule: TransformRule, batches: list[pa.RecordBatch], folder: Path) -> Callable[[], object]:
    numbers = itertools.count()

    def work() -> None:
        home = folder / f"{rule.filter}{len(rule.masks)}-{next(numbers)}"
        home.mkdir()
        options = EngineOptions("bench", history="none", transforms=Transforms((rule,)))
        db = StateDatabase(f"sqlite:///{home}/state.db")
        log = ChangeLog(db, "bench", str(home / "log"))
        lake = str(home / "lake.duckdb")
        pipeline = Pipeline(
            "bench", options, BatchSource(batches), lambda: DuckDBSink(lake), db, log, "run"
        )
        try:
            report = run_sync(pipeline)
        finally:
            pipeline.close()
        for table in report.tables.values():
            if table.outcome != "applied" or table.dirty:
                raise SystemExit(f"{table.outcome}: {table.reason}, {table.dirty} rows failed")

    return work


class BatchSource:
    """A source that has batches in place of a server.

    Args:
        batches: Record batches of `change_schema(SCHEMA)`.
    """

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches
        self._identity = ServerIdentity("mysql", "bench")

    def _at(self, number: int) -> BinlogPosition:
        return BinlogPosition("bench.000001", number, "", self._identity)

    def identity(self) -> ServerIdentity:
        """Return the same server always."""
        return self._identity

    def current_position(self) -> BinlogPosition:
        """Return the place behind the last batch."""
        return self._at(len(self._batches))

    def start_position(self) -> BinlogPosition:
        """Return the place before the first batch."""
        return self._at(0)

    def list_tables(self) -> list[TableId]:
        """Return the one table."""
        return [SHOP]

    def read_schemas(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        """Return its schema."""
        return dict.fromkeys(tables, SCHEMA)

    def check(self) -> list[Finding]:
        """Find nothing."""
        return []

    def stream_changes(
        self,
        start: Position,
        until: Position | None,
        stop: Callable[[], bool],
        shapes: Mapping[TableId, str] = NO_SHAPES,
    ) -> Iterator[LogSlice]:
        """Yield a slice per batch."""
        for number, batch in enumerate(self._batches, 1):
            changes = [ChangeBatch(SCHEMA, batch)]
            moment = NOW_US + number
            yield LogSlice(changes, self._at(number), batch.num_rows, moment, moment)

    def lag_bytes(self, position: Position) -> int | None:
        """Return none."""
        return None

    def close(self) -> None:
        """Do nothing."""


def _batches(count: int) -> list[pa.RecordBatch]:
    """Return updates of rows with values of the usual kinds and lengths."""
    random = np.random.default_rng(7)
    return [_batch(random, n) for n in range(count)]


def _batch(random: np.random.Generator, number: int) -> pa.RecordBatch:
    size = BATCH_ROWS
    first = number * size
    ids = first + np.arange(size)
    people = random.integers(0, 50_000, size)
    prices = pa.array(random.integers(1, 10**7, size)).cast(pa.decimal128(19, 0))
    cents = pa.Array.from_buffers(pa.decimal128(12, 2), size, prices.buffers())
    began = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6)
    created = began + random.integers(0, 365 * 86_400 * 10**6, size)
    words = np.array(["draft", "open", "paid", "void", "sent"])
    arrays = [
        pa.array(random.permutation(ids)),
        pa.array(people.astype(np.int32)),
        pa.array(words[random.integers(0, len(words), size)]),
        cents,
        pa.array(random.integers(1, 9, size).astype(np.int32)),
        pa.array([f"customer{p}@example.com" for p in people]),
        pa.array([f"+49 171 {p:07d}" for p in people]),
        pa.array([f"note number {i} about nothing" for i in ids]),
        pa.array(created).cast(pa.timestamp("us")),
        pa.array([f'{{"source": "web", "step": {i % 7}}}' for i in ids], pa.large_string()),
        pa.array(np.full(size, RowKind.UPDATE_AFTER, np.uint8)),
        pa.array(first + np.arange(size, dtype=np.uint64)),
        pa.array(created).cast(pa.timestamp("us", tz="UTC")),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=change_schema(SCHEMA))


if __name__ == "__main__":
    main()
