"""Change log -> one sink table, watermark included.

In: a feed's pending changes. Out: the target moved to a new watermark, its columns as the
pipeline's policy wants them, rows it cannot hold in the dirty-data store. The target's own
watermark says what is pending, so a crash anywhere is mended by calling this again.
"""

from __future__ import annotations

import time

from cdc_assets.engine.aside import check_limit
from cdc_assets.engine.existence import all_notices, gone_by, named_by
from cdc_assets.engine.following import Following
from cdc_assets.engine.left_out import LEFT_OUT, was_left_out
from cdc_assets.engine.parts import Group, pending_parts
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.records import REMEDIES
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from resources.errors import ConfigError
from resources.model.change import TableNotice, last_seq
from resources.model.table import TableId


def apply_pending(pipeline: Pipeline, route: Route, token: int, upto: int) -> TableReport:
    """Bring one target table up to a point of the change log, for one of its feeds.

    Args:
        pipeline: The opened pipeline.
        route: The source table's way into the target.
        token: Fencing token of this run.
        upto: The `_cdc_seq` to end at, normally the last of a segment.

    Returns:
        What was done. `waiting` if the table has not been loaded, `needs_snapshot` if the log
        says that rows changed without row events, or the target was filled by other rules than
        the file's, `held` if a schema change waits for a decision.

    Raises:
        FencedOut: Another run moved the watermark; this one wrote nothing.
        SchemaMismatch: The changes do not fit the target.
        ConfigError: Another table has the target, or a transform does not fit the table.
        DirtyLimitExceeded: Too many rows had to be set aside.
        SinkUnavailable: The sink cannot be reached.
    """
    began = time.monotonic()
    report = TableReport(route.table, target_id(route))
    with pipeline.sink() as sink:
        mark = sink.read_watermark(report.target, pipeline.feed(route.table))
    if mark is None:
        pipeline.require_alone(route)
    after = mark.seq if mark else born(pipeline, route.table, upto)
    if mark is None and after == 0:
        after = _begin_with_log(pipeline, route)
    if after is None:
        report.outcome = "waiting"
        report.reason = "not loaded yet: materialize its snapshot partition"
        if renamed := named_by(pipeline, route.table, upto):
            Following(pipeline, route, report, None, token).follow(renamed)
        return report
    check_limit(pipeline, route.table, report.changes)
    if was_left_out(pipeline, route.table, after, upto):
        report.outcome, report.reason = "needs_snapshot", LEFT_OUT
        return report
    report.seq = after
    following = Following(pipeline, route, report, mark.seq if mark else None, token)
    if edited := following.columns.edited:
        report.outcome, report.reason = "needs_snapshot", edited
        return report
    if _followed(following, after, upto):
        report.seq = max(after, upto)
    elif report.outcome == "needs_snapshot" and (gone := gone_by(pipeline, route.table, upto)):
        # Nothing is left to be read again: what counts is how the table went.
        report.outcome, report.reason = "current", ""
        if _followed(following, max(report.seq, gone.seq - 1), upto):
            report.seq = max(after, upto)
    report.seconds = time.monotonic() - began
    return report


def _followed(following: Following, after: int, upto: int) -> bool:
    """Move a feed along a stretch of the log; False if it waits somewhere in it."""
    for part in pending_parts(following.pipeline, following.route, after, upto):
        done = following.write(part) if isinstance(part, Group) else following.follow(part)
        if not done:
            return False
    return True


def _begin_with_log(pipeline: Pipeline, route: Route) -> int:
    """Return from where a target that begins empty takes the log: from its very beginning.

    In a sink added later, a table that keeps every change begins with those that are still there.

    Raises:
        ConfigError: Retention has removed the first changes, and nothing is loaded in their place.
    """
    floor = pipeline.log.segments.table_floor(route.table)
    if not floor:
        return 0
    history = pipeline.options.history
    if history != "snapshot":
        raise ConfigError(
            f"the change log has {route.table} from segment {floor + 1} on alone, so a target "
            "that begins empty would lack the rows before",
            where=str(route.target),
            remedy=REMEDIES[history],
        )
    if not pipeline.is_shared:
        return 0
    pipeline.say(f"{route.table} -> {route.target}: begins with segment {floor + 1} of the log")
    return last_seq(floor)


def born(pipeline: Pipeline, table: TableId, upto: int) -> int | None:
    """Return the point of the log from which a table that was never loaded is whole, if any.

    A table made while its changes are captured began empty: all its rows are in the log.
    """
    if pipeline.options.history != "snapshot" or not pipeline.options.is_loaded(table):
        return 0
    made = [notice.seq for notice in all_notices(pipeline, table, upto) if is_birth(notice)]
    return made[-1] - 1 if made else None


def is_birth(notice: TableNotice) -> bool:
    """Return whether a statement made a table, without rows."""
    return notice.kind == "create" and not notice.rewrites
