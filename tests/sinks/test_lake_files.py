"""How data files of lakes are written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.sinks.lake_files import FileWriter
from resources.sinks.lake_store import LakeStore


def test_dictionaries_are_for_text_that_comes_again(tmp_path: Path) -> None:
    numbers = pa.array(range(1000))
    columns = {
        "id": numbers,
        "name": numbers.cast(pa.string()),
        "city": pa.array(["Bonn", "Rome", None, "Oslo"] * 250),
        "none": pa.nulls(1000, pa.string()),
    }
    rows = pa.table(columns)
    writer = FileWriter(LakeStore(str(tmp_path)), "t", rows.schema)
    writer.write(rows)
    (file,) = writer.finish()
    written = pq.ParquetFile(tmp_path / "t" / file.path)
    group = written.metadata.row_group(0)
    encoded = {group.column(i).path_in_schema: group.column(i) for i in range(len(columns))}
    assert {name: c.has_dictionary_page for name, c in encoded.items()} == {
        "id": False,
        "name": False,
        "city": True,
        "none": True,
    }
    assert written.read().equals(rows)
