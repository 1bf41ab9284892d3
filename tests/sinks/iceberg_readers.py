"""Iceberg tables as another engine reads them: ClickHouse's, in a process of its own.

It reads metadata, manifests and data files by itself, and only files below its working folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_QUERY = """
import sys, chdb
print(chdb.query(sys.argv[1], "JSONCompactEachRow"), end="")
"""


def clickhouse_rows(lake: Path, folder: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """Return the rows of a table as JSON has them, sorted."""
    query = f"SELECT {columns} FROM icebergLocal('{lake}/{folder}')"
    done = subprocess.run(
        [sys.executable, "-c", _QUERY, query],
        cwd=lake,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return sorted((tuple(json.loads(line)) for line in done.stdout.splitlines()), key=repr)
