"""Which tables a run merges, and what becomes of each: one table's trouble is kept from the others.

In: freshly committed segments, or what earlier runs left. Out: outcomes in the report and in the
table states.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from cdc_assets.engine.apply import apply_pending
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import SyncReport, TableReport
from cdc_assets.engine.route import route_table
from resources.errors import (
    CdcError,
    DirtyLimitExceeded,
    FencedOut,
    SinkUnavailable,
    TransientError,
)
from resources.model.change import last_seq
from resources.model.table import TableId
from resources.stores.segments import Segment
from resources.stores.table_states import TableStatus

SINK_RETRIES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts at a sink that does not answer, before the run fails."""
DIRTY_LIMIT = "dirty limit: "
"""How the reason of a table begins that goes on by itself once its dirty rows are dealt with."""


class Merging:
    """Merges table by table.

    Args:
        pipeline: The opened pipeline.
        token: Fencing token of this run.
        report: Filled as it goes.
        on_table: Called with a table's outcome as soon as it is known.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        token: int,
        report: SyncReport,
        on_table: Callable[[TableReport], None] = lambda _report: None,
    ) -> None:
        self.pipeline = pipeline
        self.token = token
        self.report = report
        self.on_table = on_table
        self.states = pipeline.tables.all()

    def backlog(self) -> None:
        """Merge what earlier runs captured and could not apply."""
        last = self.pipeline.log.segments.last()
        if last is None:
            return
        applied = self.pipeline.log.segments.applied()
        tables = set(self.pipeline.log.touched(last_seq(applied)))
        tables |= {t for t, s in self.states.items() if s.status == "behind"}
        tables |= {t for t, s in self.states.items() if s.reason.startswith(DIRTY_LIMIT)}
        for table in sorted(tables):
            self._sync_table(table, last.number)
        self.pipeline.log.segments.set_applied(last.number)

    def segments(self, batch: list[Segment]) -> None:
        """Merge the tables that freshly committed segments touch."""
        touched: dict[TableId, set[str]] = {}
        for segment in batch:
            for stats in segment.tables.values():
                touched.setdefault(stats.table, set()).add(segment.window)
        for table, windows in sorted(touched.items()):
            outcome = self._sync_table(table, batch[-1].number)
            if outcome is not None:
                outcome.windows |= windows
        self.pipeline.log.segments.set_applied(batch[-1].number)

    def _sync_table(self, table: TableId, through: int) -> TableReport | None:
        state = self.states.get(table)
        if state is not None and state.status in ("stopped", "needs_snapshot"):
            # A snapshot run may have mended it since this run began.
            state = self.states[table] = self.pipeline.tables.get(table) or state
        if (
            state is not None
            and (state.status == "stopped" or state.status == "needs_snapshot")
            and not state.reason.startswith(DIRTY_LIMIT)
        ):
            outcome = TableReport(table, route_table(table), state.status)
            outcome.reason = state.reason
            self.report.add(outcome)
            return outcome
        return self.table(table, through)

    def table(self, table: TableId, through: int) -> TableReport:
        """Merge one table's pending changes and record what became of it."""
        try:
            outcome = self._unless_fenced(table, through)
        except FencedOut as error:
            outcome = self._failed(table, "behind", error)
        except DirtyLimitExceeded as error:
            outcome = self._failed(table, "stopped", error, DIRTY_LIMIT)
        except TransientError:
            raise
        except CdcError as error:
            outcome = self._failed(table, "stopped", error)
        if outcome.outcome == "needs_snapshot":
            self._remember(table, "needs_snapshot", outcome.reason)
        elif outcome.outcome in ("applied", "current"):
            self._remember(table, "live", "")
        self.report.add(outcome)
        self.on_table(outcome)
        return outcome

    def _unless_fenced(self, table: TableId, through: int) -> TableReport:
        """Merge; after another run was faster, once more from where that one left the table.

        Without a new token a run that follows for hours could never merge a table again that was
        loaded meanwhile.
        """
        try:
            return self._with_patience(table, through)
        except FencedOut:
            self.token = self.pipeline.leases.next_token()
            return self._with_patience(table, through)

    def _with_patience(self, table: TableId, through: int) -> TableReport:
        for pause in SINK_RETRIES:
            try:
                return apply_pending(self.pipeline, table, self.token, last_seq(through))
            except SinkUnavailable as error:
                self.pipeline.say(f"{table}: {error.message}; trying again in {pause:g} s")
                self.pipeline.release_sink()
                time.sleep(pause)
        return apply_pending(self.pipeline, table, self.token, last_seq(through))

    def _failed(
        self,
        table: TableId,
        outcome: Literal["behind", "stopped"],
        error: CdcError,
        code: str = "",
    ) -> TableReport:
        report = TableReport(table, route_table(table), outcome)
        report.reason = f"{code}{error}"
        self._remember(table, outcome, report.reason)
        self.pipeline.say(f"{table}: {report.outcome}: {error}")
        return report

    def _remember(self, table: TableId, status: TableStatus, reason: str) -> None:
        known = self.states.get(table)
        if known is None or (known.status, known.reason) != (status, reason):
            self.states[table] = self.pipeline.tables.set(table, status, reason)
