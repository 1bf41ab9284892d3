"""The chunks of loads into Paimon tables: files where they will be, which only their marks name.

In: chunks of rows. Out: data files in the buckets of the table, as a merge writes them, and a mark
for each chunk that is in.
"""

from __future__ import annotations

from typing import cast

import pyarrow as pa

from resources.sinks.lake_loads import LakeLoad, LakeLoads
from resources.sinks.paimon_files import PaimonWriter
from resources.sinks.paimon_schema import Layout, new_schema
from resources.sinks.paimon_snapshot import PaimonSnapshot
from resources.sinks.parquet_store import ParquetStore


class PaimonLoads(LakeLoads):
    """The loads of one table; see `LakeLoads`."""

    def _writer(self, load: LakeLoad, number: int) -> tuple[PaimonWriter, pa.Schema]:
        table = new_schema(load.schema, Layout.read(load.layout), self._types)
        writer = PaimonWriter(cast(ParquetStore, self._store), self._folder, table)
        return writer, writer.schema

    def _delete(self, name: str, *, with_data: bool) -> None:
        """Delete a load: its files by their marks, then the marks."""
        load = self._read(name) if with_data else None
        if load is not None:
            for chunk in self.chunks(load).values():
                for file in chunk.files:
                    self._store.delete(f"{self._folder}/{file.path}")
        super()._delete(name, with_data=False)

    def begun_files(self, live: PaimonSnapshot) -> set[str]:
        """Return the files of loads that were begun and not finished, by their path.

        Args:
            live: The table as it is.
        """
        found: set[str] = set()
        for name in self._names():
            load = self._read(name)
            state = live.state(load.feed) if load is not None else None
            if load is not None and (state is None or state.load != load.number):
                found |= {f.path for chunk in self.chunks(load).values() for f in chunk.files}
        return found
