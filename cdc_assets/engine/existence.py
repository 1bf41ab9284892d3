"""Which table has a name at a place of the change log, if any.

In: the statements of the log. Out: the last one that made, dropped or renamed the table.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_assets.engine.pipeline import Pipeline
from resources.errors import ContinuityBroken
from resources.model.change import TableNotice, last_seq
from resources.model.table import TableId

_NAMING = ("create", "drop", "rename", "rename_away")
_GONE = ("drop", "rename_away")


def all_notices(pipeline: Pipeline, table: TableId, upto: int) -> Sequence[TableNotice]:
    """Return the statements on a table that the change log still has, up to a `_cdc_seq`."""
    floor = last_seq(pipeline.log.segments.table_floor(table))
    try:
        return pipeline.log.notices(table, floor, max(floor, upto))
    except ContinuityBroken:  # retention removes more right now
        return ()


def named_by(pipeline: Pipeline, table: TableId, upto: int) -> TableNotice | None:
    """Return the rename that gave a table this name, None if nothing or something else did."""
    named = [n for n in all_notices(pipeline, table, upto) if n.kind in _NAMING]
    return named[-1] if named and named[-1].kind == "rename" else None


def gone_by(pipeline: Pipeline, table: TableId, upto: int) -> TableNotice | None:
    """Return the last statement after which no table had this name, though one may have by now.

    What came before it needs no reading again: its rows are gone.
    """
    gone = [n for n in all_notices(pipeline, table, upto) if n.kind in _GONE]
    return gone[-1] if gone else None
