"""dlt's load of the same table, in a process of its own: `pipeline_dlt URL FOLDER`.

In: the server's URL and an empty folder. Out: one JSON line with the seconds of `pipeline.run`
alone (imports and reflection of the source's definition are outside) and the rows loaded.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import dlt
import duckdb
from dlt.sources.sql_database import sql_table

from benchmarks.pipeline_tables import NAMESPACE


def main() -> None:
    """Load the table `rows` by the pyarrow backend."""
    url, folder = sys.argv[1:]
    lake = Path(folder) / "dlt.duckdb"
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=folder,
        destination=dlt.destinations.duckdb(str(lake)),
        dataset_name="bench",
    )
    source = sql_table(
        credentials=url,
        schema=NAMESPACE,
        table="rows",
        backend="pyarrow",
        engine_kwargs={"connect_args": {"ssl_disabled": True}},  # as our own connections here
    )
    began = time.perf_counter()
    pipeline.run(source, write_disposition="replace")
    seconds = time.perf_counter() - began
    with duckdb.connect(str(lake), read_only=True) as connection:
        ((rows,),) = connection.sql('SELECT count(*) FROM bench."rows"').fetchall()
    print(json.dumps({"seconds": seconds, "rows": rows}))


if __name__ == "__main__":
    main()
