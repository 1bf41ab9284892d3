"""Run as `python -m tests.sinks.kill_parquet <step> <folder>`: die before the n-th write.

As `kill_delta`, with the Parquet sink: its every write goes through its store.
"""

from __future__ import annotations

import sys
from pathlib import Path

from resources.sinks.lake_store import LakeStore
from resources.sinks.parquet import ParquetSink
from resources.sinks.parquet_store import ParquetStore
from tests.sinks.kill_delta import Calls, main

CALLS: Calls = (
    *((LakeStore, name) for name in ("write", "create", "delete", "delete_folder")),
    *((ParquetStore, name) for name in ("put_new", "move")),
)

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), ParquetSink, CALLS)
