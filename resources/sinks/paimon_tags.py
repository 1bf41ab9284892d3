"""Daily tags of Paimon tables: what a table was at the end of each day.

In: the last snapshot of past days. Out: tags `YYYY-MM-DD`, named as Paimon names its own daily
ones, by which any engine reads the table as it was, however old its snapshots are. Days are those
of UTC, and a snapshot belongs to the day it was committed on.
"""

from __future__ import annotations

import datetime as dt
import re

from pypaimon.common.json_util import JSON
from pypaimon.snapshot.snapshot import Snapshot as TableSnapshot
from pypaimon.tag.tag import Tag

from resources.sinks.parquet_store import ParquetStore

_DAILY = re.compile(r"/tag-(\d{4}-\d\d-\d\d)$")


def cut_tags(store: ParquetStore, folder: str, last: TableSnapshot, keep: int) -> None:
    """Tag the days since a snapshot that are over, and delete the oldest daily tags.

    Nothing was committed after the snapshot: each day since then ended with it. A tag that is there
    stays as it is.

    Args:
        store: The place.
        folder: The table's folder.
        last: The table's last snapshot.
        keep: How many daily tags stay.
    """
    today = _today()
    day = dt.datetime.fromtimestamp(last.time_millis / 1000, dt.UTC).date()
    day = max(day, today - dt.timedelta(days=keep))
    if day >= today:
        return
    while day < today:
        tag = Tag.from_snapshot_and_tag_ttl(last, None, dt.datetime.now())
        store.put_new(f"{folder}/tag/tag-{day}", JSON.to_json(tag, indent=2).encode())
        day += dt.timedelta(days=1)
    daily = sorted(n for n in store.list(f"{folder}/tag") if _DAILY.search(n))
    for name in daily[:-keep]:
        store.delete(name)


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
