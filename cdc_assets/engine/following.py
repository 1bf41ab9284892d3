"""One feed of one target, followed through a stretch of the change log.

In: groups of rows and the statements between them, in log order. Out: the target, moved on step
by step: every row of an old shape is in before its ALTER, and none of a new one.
"""

from __future__ import annotations

from cdc_assets.engine.columns import Answer, TargetColumns
from cdc_assets.engine.existing import stands
from cdc_assets.engine.kept import why_lacking
from cdc_assets.engine.parts import Group
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.records import read_again, told
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.routing import Route
from cdc_assets.engine.schema_policy import TableEventWord
from cdc_assets.engine.shaping import Shaping
from cdc_assets.engine.write import Writing
from resources.failpoints import failpoint
from resources.model.change import SEQ, TableNotice
from resources.model.table import TableSchema
from resources.sinks.contract import Fence

_TABLE_EVENTS: dict[str, TableEventWord] = {
    "truncate": "truncate_table",
    "drop": "drop_table",
    "rename_away": "rename_table",
    "rename": "rename_table",
    "create": "create_table",
}
_STATEMENTS = frozenset({"alter", "partition", "statement"})
"""Kinds of what the policy is asked about; others are gaps of the log, which no policy closes."""


class Following:
    """Moves one feed's target along the log.

    Args:
        pipeline: The opened pipeline.
        route: The feed's way.
        report: Filled as it goes.
        expected: The target's watermark, None if it has none.
        token: Fencing token of this run.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        route: Route,
        report: TableReport,
        expected: int | None,
        token: int,
    ) -> None:
        self.pipeline = pipeline
        self.route = route
        self.report = report
        self.expected = expected
        self.token = token
        self.columns = TargetColumns(pipeline, route, report)
        state = pipeline.tables.get(route.table)
        self.dropped = state is not None and state.status == "dropped"

    def write(self, group: Group) -> bool:
        """Write a group of rows; False if the table waits for something first."""
        if lacking := why_lacking(self.pipeline.options, group.schema):
            self.report.outcome = "needs_snapshot"
            self.report.reason = read_again(self.pipeline, lacking)
            return False
        shaping = self.pipeline.shaping(self.route, group.schema)
        first = int(group.batches[0].column(SEQ)[0].as_py())
        if self.expected is None:
            self._take_on(shaping, first)
        if self.dropped:  # and made again, by a statement that does not say so for sure
            self._begin_anew(first, shaping)
        elif not self.columns.take(shaping, "rows without a statement", first):
            return False
        fence = self._fence(group.upto)
        Writing(self.pipeline, self.report, shaping, self.columns, fence).write(group)
        self._moved(group.upto)
        return True

    def follow(self, notice: TableNotice) -> bool:
        """Follow a statement; False if the table waits for something first."""
        event = _TABLE_EVENTS.get(notice.kind)
        if event is not None and not (notice.kind == "create" and notice.rewrites):
            if self.columns.appends and not self._tells(event):
                return True  # a log of changes keeps the rows of a table that is gone
            return self._follow_table_event(event, notice)
        if notice.kind == "alter" and notice.shape is not None:
            return self.columns.take(self._shaping(notice.shape), told(notice), notice.seq, notice)
        if not notice.rewrites or self.columns.appends:
            return True
        if notice.kind in _STATEMENTS:
            return self.columns.take_rewrite(told(notice), notice)
        self.report.outcome = "needs_snapshot"
        self.report.reason = read_again(self.pipeline, told(notice))
        return False

    def _follow_table_event(self, event: TableEventWord, notice: TableNotice) -> bool:
        answer = self.columns.decide_table(event, notice)
        if answer == "wait":
            return False
        if notice.kind == "rename":
            return self._read_renamed(notice, answer)
        if notice.kind in ("drop", "rename_away"):
            if answer == "apply":
                self._drop()
            self.dropped = True
            self.report.outcome = "dropped"
            became = f"renamed to {notice.now}" if notice.now else "dropped or renamed"
            what = "dropped" if notice.kind == "drop" else became
            self.report.reason = f"{what} on the source at {notice.position}"
        elif notice.kind == "create" and answer == "ignore" and self.columns.live is None:
            self.report.outcome = "waiting"
            self.report.reason = f"{told(notice)} is left out: materialize its snapshot partition"
            return False
        elif answer == "apply" or self.dropped:
            shape = notice.shape
            self._begin_anew(notice.seq, self._shaping(shape) if shape is not None else None)
        return True

    def _take_on(self, shaping: Shaping, first: int) -> None:
        """Do with a table that stands there what the pipeline file says, before the first rows.

        Args:
            shaping: What the rows are.
            first: Their first `_cdc_seq`.
        """
        existing = self.pipeline.options.existing
        target = shaping.target("append" if self.columns.appends else "merge")
        with self.pipeline.sink() as sink:
            if not stands(self.pipeline, self.route, target, sink, loads=False):
                return
            if existing.table == "recreate":
                sink.drop_table(target.id)
                failpoint("apply.after_recreate")
                self.columns.forget()
            elif existing.rows == "truncate":
                there = self.columns.target(shaping)
                self.report.deleted += sink.truncate(there, self._fence(first - 1))
                self._moved(first - 1)

    def _tells(self, event: TableEventWord) -> bool:
        """Return whether a log of changes, which has all rows since its load, says this too."""
        return event == "truncate_table" and self.pipeline.options.append_loads

    def _read_renamed(self, notice: TableNotice, answer: Answer) -> bool:
        """Have a table read that has this name from here on; its rows are not in the log."""
        self.report.outcome, why = "needs_snapshot", told(notice)
        if answer == "apply":
            self.report.reason = read_again(self.pipeline, why)
        else:
            self.report.reason = f"{why} is left out: materialize its snapshot partition"
        return False

    def _shaping(self, schema: TableSchema) -> Shaping:
        stored = self.pipeline.options.transforms.stored(schema)
        return self.pipeline.shaping(self.route, stored)

    def _begin_anew(self, seq: int, shaping: Shaping | None) -> None:
        """Delete the feed's rows: the source table has none at this point of the log.

        Args:
            seq: The first `_cdc_seq` after it.
            shaping: What its rows are from here on, if known.
        """
        self.dropped = False
        if self.report.outcome == "dropped":
            self.report.outcome, self.report.reason = "current", ""
        if self.expected is None and shaping is not None:
            self._take_on(shaping, seq)
        target = self.columns.current()
        if target is None and shaping is None:
            return
        new = max(seq - 1, self.expected or 0)
        with self.pipeline.sink() as sink:
            if target is None and shaping is not None:
                target = self.columns.target(shaping)
                sink.create_table(target)
                self.columns.forget()
            assert target is not None, "made above"
            failpoint("apply.before_truncate")
            self.report.deleted += sink.truncate(target, self._fence(new))
        self._moved(new)
        if shaping is not None:
            self.columns.take_anew(shaping, seq)

    def _drop(self) -> None:
        """Drop the target, or the feed's rows of one that others share."""
        target = self.columns.current()
        # Its load goes with the target: a copy that went on would finish without its rows.
        self.pipeline.snapshots.abandon_open(self.route.table, "the target was dropped")
        with self.pipeline.sink() as sink:
            if target is None or not self.route.shared:
                sink.drop_table(self.report.target)
                self.expected = None
            else:
                sink.truncate(target, self._fence(self.expected or 0))
        self.columns.forget()

    def _fence(self, new: int) -> Fence:
        return Fence(self.pipeline.feed(self.route.table), self.expected, new, self.token)

    def _moved(self, seq: int) -> None:
        failpoint("apply.after_commit")
        self.expected = self.report.seq = seq
        if self.report.outcome == "current":
            self.report.outcome = "applied"
