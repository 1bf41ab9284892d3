"""dlt's load and merge of the same Arrow tables: `sinks_dlt DESTINATION ROWS ROUNDS FOLDER`.

In: a destination that is a file or folder, the size of the table, the number of merges, an empty
folder. Out: one JSON line with the seconds of `pipeline.run` alone, of wall and processor time, of
the load and the best merge. Into Iceberg dlt merges by pyiceberg's own `upsert`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from benchmarks.clock import Clock, Spent
from benchmarks.rows import parts, reduced

if TYPE_CHECKING:
    from dlt.common.destination import Destination

SHARE = 0.1


def main() -> None:
    """Load a table, then merge into it."""
    destination, rows, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    folder = Path(sys.argv[4]) / "dlt"
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

    def run(tables: list[pa.Table], disposition: Literal["replace", "merge"]) -> Spent:
        hints: Any = {"gone": {"hard_delete": True}} if disposition == "merge" else {}
        lake: Any = {"table_format": destination} if destination != "duckdb" else {}
        resource = dlt.resource(
            tables,
            name="t",
            primary_key="id",
            write_disposition=disposition,
            columns=hints,
            **lake,
        )
        with Clock() as clock:
            pipeline.run(resource)
        return clock.spent

    loaded = run([_marked(part, gone=False) for part in parts(rows)], "replace")
    merged = []
    for seed in range(rounds):
        upserts, deletes = reduced(rows, int(rows * SHARE), seed)
        given = [_marked(upserts, gone=False), _marked(deletes, gone=True)]
        merged.append(run([pa.concat_tables(given, promote_options="default")], "merge"))
    best = Spent.least(merged)
    answer = {"load": [loaded.seconds, loaded.cpu], "merge": [best.seconds, best.cpu]}
    print(json.dumps(answer))


def _marked(rows: pa.Table, *, gone: bool) -> pa.Table:
    return rows.append_column("gone", pa.array([gone] * rows.num_rows))


def _destination(name: str, folder: Path) -> Destination[Any, Any]:
    import dlt

    if name == "duckdb":
        return dlt.destinations.duckdb(str(folder / "dlt.duckdb"))
    return dlt.destinations.filesystem(str(folder / "lake"))


if __name__ == "__main__":
    main()
