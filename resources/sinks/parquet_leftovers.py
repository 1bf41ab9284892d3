"""Files of a Parquet table that no manifest names: of writers that died, or were too late.

In: a table's folder and the files its manifest names. Out: old ones deleted.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Set

import pyarrow.fs as fs

from resources.sinks.lake_store import OWN_FOLDER
from resources.sinks.parquet_manifest import STAGING
from resources.sinks.parquet_store import WRITING, ParquetStore

_OURS = re.compile(r"(^|/)(part-|load-[0-9a-f]{16}-\d{6,}-)[0-9a-f]{32}\.parquet$")


def delete_leftovers(store: ParquetStore, folder: str, named: Set[str], keep_seconds: float) -> int:
    """Delete files of ours that nothing names, and return how many.

    Those of a load that was begun stay, however old: its end may be under way. So do files of
    other people.

    Args:
        store: The place.
        folder: The table's folder.
        named: Files of the manifest read last.
        keep_seconds: Younger ones stay: their write may be under way.
    """
    oldest = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=keep_seconds)
    chosen = fs.FileSelector(store.path(folder), allow_not_found=True, recursive=True)
    with store.translated(folder):
        found = store.filesystem.get_file_info(chosen)
    start = len(store.path(folder)) + 1
    old = {
        i.path[start:]
        for i in found
        if i.type == fs.FileType.File and i.mtime is not None and i.mtime < oldest
    }
    begun = {
        i.path[start:].split("/")[1]
        for i in found
        if i.path[start:].startswith(f"{OWN_FOLDER}/load-")
    }
    gone = sorted(path for path in old if _is_left(path, named, begun))
    for path in gone:
        store.delete(f"{folder}/{path}")
    return len(gone)


def _is_left(path: str, named: Set[str], begun: Set[str]) -> bool:
    if path.startswith(STAGING):
        return path.removeprefix(STAGING).partition("/")[0] not in begun
    if path.startswith(f"{OWN_FOLDER}/"):
        return path.endswith(WRITING)
    return path not in named and _OURS.search(path) is not None
