"""Run as `python -m tests.sinks.kill_iceberg <step> <folder>`: die before the n-th write.

As `kill_delta`; the writes are those of the lake's own files, of the table's metadata, and the
commits of the catalog's SQLite file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile
from sqlalchemy.orm import Session

from resources.sinks.iceberg import IcebergSink
from resources.sinks.lake_store import LakeStore
from tests.sinks.kill_delta import Calls, main

CALLS: Calls = (
    *((LakeStore, name) for name in ("write", "create", "delete", "delete_folder")),
    *((SqlCatalog, name) for name in ("commit_table", "drop_table", "create_namespace")),
    *((PyArrowFile, "create"), (Session, "commit")),
)

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), IcebergSink, CALLS)
