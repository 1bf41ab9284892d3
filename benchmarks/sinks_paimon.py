"""Bare loads and merges by pypaimon: a table with a primary key and one bucket.

In: Arrow tables. Out: what its own writer took, see `benchmarks.sinks_bare`. It sorts what it
writes by the key; whoever reads merges the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from benchmarks.clock import Clock, Spent
from benchmarks.sinks_bare import Closing

if TYPE_CHECKING:
    from resources.sinks.contract import Sink

_KIND = "kind"
"""A column of ours that says what a row is, by which pypaimon deletes."""


class BarePaimon(Closing):
    """pypaimon: `write_arrow` and a commit, for rows and for changes alike."""

    most = 1_000_000
    _NAME = "bench.bare"

    def __enter__(self) -> Self:
        """Create the warehouse."""
        from pypaimon import CatalogFactory

        self.catalog: Any = CatalogFactory.create({"warehouse": str(self.folder / "bare")})
        self.catalog.create_database("bench", ignore_if_exists=True)
        return self

    def open_sink(self) -> Sink:
        """Return our sink in a warehouse of its own."""
        from resources.sinks.paimon import PaimonSink

        return PaimonSink(str(self.folder / "ours"))

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Write a new table in one commit."""
        from pypaimon import Schema

        given, options = _marked(pa.concat_tables(rows), "+I"), {"bucket": "1"}
        schema = Schema.from_pyarrow_schema(given.schema, primary_keys=["id"], options=options)
        self.catalog.drop_table(self._NAME, ignore_if_not_exists=True)
        self.catalog.create_table(self._NAME, schema, False)
        return self._write(given, {})

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Write rows and deleted keys in one commit."""
        gone = pa.concat_tables([upserts.schema.empty_table(), deletes], promote_options="default")
        changes = pa.concat_tables([_marked(upserts, "+I"), _marked(gone, "-D")])
        return self._write(changes, {"rowkind.field": _KIND})

    def count(self) -> int:
        """Return the rows."""
        builder = self.catalog.get_table(self._NAME).new_read_builder().with_projection(["id"])
        splits = builder.new_scan().plan().splits()
        return int(builder.new_read().to_arrow(splits).num_rows)

    def _write(self, rows: pa.Table, options: dict[str, str]) -> Spent:
        builder = self.catalog.get_table(self._NAME).copy(options).new_batch_write_builder()
        writer, commit = builder.new_write(), builder.new_commit()
        with Clock() as clock:
            writer.write_arrow(rows)
            commit.commit(writer.prepare_commit())
        writer.close()
        commit.close()
        return clock.spent


def _marked(rows: pa.Table, kind: str) -> pa.Table:
    """Return rows as the table has them: the key not NULL, and what they are."""
    kinds = pa.repeat(pa.scalar(kind, pa.string()), rows.num_rows)
    fields = [f.with_nullable(f.name != "id") for f in rows.schema]
    return rows.cast(pa.schema(fields)).append_column(_KIND, kinds)
