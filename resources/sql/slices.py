"""Pages of rows -> slices of a log, as captured from any other source.

In: a page and the position after it. Out: a `LogSlice` of INSERT rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from resources.model.change import (
    OP,
    SEQ,
    TS,
    ChangeBatch,
    LogSlice,
    RejectedRow,
    RowKind,
    TableNotice,
    change_schema,
)
from resources.model.keys import key_text
from resources.model.position import PollPosition
from resources.sql.flavor import Page, PollTable


def slice_of(table: PollTable, page: Page, end: PollPosition, seq: int, now_us: int) -> LogSlice:
    """Return a page as a slice.

    Args:
        table: The table.
        page: Its rows; not empty.
        end: The position after them.
        seq: Counter value of the first row.
        now_us: The source's clock when they were read, microseconds since the epoch.
    """
    count = len(page.good)
    changes = {
        OP: pa.array(np.full(count, RowKind.INSERT, np.uint8)),
        SEQ: pa.array((page.good + seq).astype(np.uint64)),
        TS: pa.array(np.full(count, now_us, np.int64)).cast(pa.timestamp("us", tz="UTC")),
    }
    arrays = [*page.rows.columns, *changes.values()]
    rows = pa.RecordBatch.from_arrays(arrays, schema=change_schema(table.schema))
    return LogSlice(
        batches=[ChangeBatch(table.schema, rows)] if count else [],
        end=end,
        rows=len(page.ids),
        first_ts_us=now_us,
        last_ts_us=now_us,
        rejected=rejected_rows(table, page, seq, now_us),
        bytes_read=page.rows.nbytes + sum(len(bad.raw) for bad in page.bad),
    )


def empty_slice(end: PollPosition, notices: list[TableNotice] | None = None) -> LogSlice:
    """Return a slice without rows."""
    return LogSlice([], end, 0, 0, 0, notices=notices or [])


def rejected_rows(table: PollTable, page: Page, seq: int, now_us: int) -> list[RejectedRow]:
    """Return the bad rows of a page, the page's first row having the counter value `seq`."""
    rejected = []
    for bad in page.bad:
        key = int(page.ids[bad.index])
        rejected.append(
            RejectedRow(
                schema=table.schema,
                seq=seq + bad.index,
                op=RowKind.INSERT,
                ts_us=now_us,
                position=f"{table.id} {table.key}={key}",
                key=key_text({table.key: key}),
                field=bad.field,
                error="DirtyRowError",
                message=bad.message,
                raw=bad.raw,
                image=bad.image,
            )
        )
    return rejected
