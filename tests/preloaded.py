"""What the processes of `tests.processes` begin with: modules imported, kernels in memory.

`python -m tests.preloaded` compiles the kernels, so that no test waits for that.
"""

from __future__ import annotations

import importlib

import pyarrow as pa

from resources.sinks.postgres_copy import encode
from tests.fuzz import target_log, target_rows
from tests.fuzz.corpus import logs, result_sets

for module in (
    "cdc_assets.engine.run",
    "pymysql",
    "pytest",
    "resources.mysql.source",
    "resources.sinks.duckdb",
    "resources.stores.change_log",
):
    importlib.import_module(module)
list(encode(pa.table({"id": [1], "n": pa.array([1], pa.uint64())}), "nowhere"))
for log in logs():
    if "types" in log.name:
        case = target_log.LogCase(log.flavor, log.events, packets=True, named=True, seed=1)
        target_log.run(case)
for rows in result_sets():
    target_rows.run(target_rows.RowsCase(rows, 1))
