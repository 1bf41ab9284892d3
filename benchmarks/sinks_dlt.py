"""dlt's load and merge of the same Arrow tables: `sinks_dlt DESTINATION ROWS FOLDER`.

In: a destination that is a file or folder, the size of the table, an empty folder. Out: one JSON
line with the seconds of `pipeline.run` alone, the best of two merges.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.rows import parts, reduced

if TYPE_CHECKING:
    from dlt.common.destination import Destination

SHARE = 0.1
ROUNDS = 2


def main() -> None:
    """Load a table, then merge into it."""
    destination, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]) / "dlt"
    folder.mkdir()
    os.environ |= {
        "HOME": str(folder),
        "DLT_DATA_DIR": str(folder),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    import dlt

    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(folder),
        destination=_destination(destination, folder),
        dataset_name="bench",
    )

    def run(tables: list[pa.Table], disposition: str) -> float:
        hints: Any = {"gone": {"hard_delete": True}} if disposition == "merge" else {}
        resource = dlt.resource(
            tables,
            name="t",
            primary_key="id",
            write_disposition=disposition,
            columns=hints,
            **({"table_format": destination} if destination in ("delta", "iceberg") else {}),
        )
        began = time.perf_counter()
        pipeline.run(resource)
        return time.perf_counter() - began

    loaded = run([_marked(part, gone=False) for part in parts(rows)], "replace")
    merged = []
    for seed in range(ROUNDS):
        upserts, deletes = reduced(rows, SHARE, seed)
        given = [_marked(upserts, gone=False), _marked(deletes, gone=True)]
        merged.append(run([pa.concat_tables(given, promote_options="default")], "merge"))
    print(json.dumps({"load": loaded, "merge": min(merged)}))


def _marked(rows: pa.Table, *, gone: bool) -> pa.Table:
    return rows.append_column("gone", pa.array([gone] * rows.num_rows))


def _destination(name: str, folder: Path) -> Destination[Any, Any]:
    import dlt

    if name == "duckdb":
        return dlt.destinations.duckdb(str(folder / "dlt.duckdb"))
    return dlt.destinations.filesystem(str(folder / "lake"))


if __name__ == "__main__":
    main()
