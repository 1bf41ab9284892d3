"""The named points at which runs of the tests of this folder are killed, by what a run is doing.

In: nothing. Out: names, all of which runs with a DuckDB or PostgreSQL target come to.
"""

from __future__ import annotations

CAPTURE = ("capture.before_commit", "segment.after_write", "segment.after_rename")
"""Before a segment is committed."""
CAPTURED = ("segment.after_commit", "capture.after_commit")
"""After it: nothing is left to capture."""
ALTER = (
    "apply.before_alter",
    "sink.alter.after_change",
    "sink.alter.after_commit",
    "apply.after_alter",
    "apply.before_truncate",
)
"""A target follows its source's DDL."""
LOAD = (
    "sink.load.after_create",
    "sink.load.after_begin",
    "copy.before_chunk",
    "sink.load.after_rows",
    "sink.load.after_mark",
    "sink.load.after_commit",
    "copy.after_chunk",
    "copy.before_copied",
    "copy.before_finish",
    "sink.finish.after_drop",
    "sink.finish.after_swap",
    "sink.finish.after_watermark",
    "sink.finish.after_commit",
    "copy.after_finish",
)
"""A table is read in full into its target."""
MERGE = (
    "apply.before_merge",
    "sink.after_fence",
    "sink.after_delete",
    "sink.after_insert",
    "sink.before_commit",
    "sink.after_commit",
    "apply.after_commit",
)
"""Changes are written into a target."""
