"""Which tables a run merges, and what becomes of each: one table's trouble is kept from the others.

In: freshly committed segments, or what earlier runs left. Out: outcomes in the report and in the
table states.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from cdc_assets.engine.apply import apply_pending
from cdc_assets.engine.existence import gone_by
from cdc_assets.engine.left_out import mark_passed_over
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import Outcome, SyncReport, TableReport, rank
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
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
from resources.stores.table_states import TableState, TableStatus

SINK_RETRIES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts at a sink that does not answer, before the run fails."""
APART = ("stopped", "needs_snapshot", "held")
"""States of tables that do not follow the log until somebody does something."""
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
        self._told = threading.Lock()

    def backlog(self) -> None:
        """Merge what earlier runs captured and could not apply."""
        last = self.pipeline.log.segments.last()
        if last is None:
            return
        self._look_back(last.number)
        applied = self.pipeline.applied()
        tables = set(self.pipeline.log.touched(last_seq(applied)))
        tables |= {t for t, s in self.states.items() if s.status in ("behind", "held")}
        tables |= {t for t, s in self.states.items() if s.reason.startswith(DIRTY_LIMIT)}
        self._each(sorted(tables), last.number)
        self.pipeline.set_applied(last.number)

    def segments(self, batch: list[Segment]) -> None:
        """Merge the tables that freshly committed segments touch."""
        self._look_back(batch[-1].number)
        touched: dict[TableId, set[str]] = {}
        for segment in batch:
            for stats in segment.tables.values():
                touched.setdefault(stats.table, set()).add(segment.window)
        done = self._each(sorted(touched), batch[-1].number)
        for table, outcomes in zip(sorted(touched), done, strict=True):
            for outcome in outcomes:
                outcome.windows |= touched[table]
        self.pipeline.set_applied(batch[-1].number)

    def _look_back(self, upto: int) -> None:
        if self.pipeline.is_shared:
            mark_passed_over(self.pipeline, upto)

    def _each(self, tables: Sequence[TableId], through: int) -> list[list[TableReport]]:
        """Merge tables, as many at a time as the sink takes; all are done when this returns.

        Those that wait for their turn wait in the change log, not in memory.
        """
        writers = min(self.pipeline.options.writers, len(tables))
        if writers <= 1:
            return [self._sync_table(table, through) for table in tables]
        with ThreadPoolExecutor(writers, thread_name_prefix="merge") as pool:
            return list(pool.map(lambda table: self._sync_table(table, through), tables))

    def _sync_table(self, table: TableId, through: int) -> list[TableReport]:
        state = self.states.get(table)
        if state is not None and state.status in APART:
            # A snapshot run or a decision may have mended it since this run began.
            state = self.states[table] = self.pipeline.tables.get(table) or state
        routes = self.pipeline.routes(table)
        if state is not None and self._rests(state, routes):
            outcome = TableReport(table, target_id(routes[0]), _outcome(state.status))
            outcome.reason = state.reason
            with self._told:
                self.report.add(outcome)
            return [outcome]
        return self.table(table, through)

    def _rests(self, state: TableState, routes: Sequence[Route]) -> bool:
        """Return whether a table is left alone until somebody does something.

        Of a table with several targets one alone may be stopped, so all are looked at.
        """
        if state.status == "needs_snapshot":
            # Of a table that went nothing is left to be loaded.
            last = self.pipeline.log.segments.last()
            return not (last and gone_by(self.pipeline, state.table, last_seq(last.number)))
        if state.status == "held":
            return any(self.pipeline.changes.held(state.table))
        stopped = state.status == "stopped" and len(routes) == 1
        return stopped and not state.reason.startswith(DIRTY_LIMIT)

    def table(self, table: TableId, through: int) -> list[TableReport]:
        """Merge one table's pending changes into its targets and record what became of it."""
        self.pipeline.offer(through)
        reports = [self._feed(route, through) for route in self.pipeline.routes(table)]
        worst = max(reports, key=lambda r: rank(r.outcome))
        if worst.outcome in ("needs_snapshot", "held", "dropped", "behind", "stopped"):
            self._remember(table, worst.outcome, worst.reason)
        elif worst.outcome in ("applied", "current"):
            self._remember(table, "live", "")
        with self._told:
            for report in reports:
                self.report.add(report)
                self.on_table(report)
        return reports

    def _feed(self, route: Route, through: int) -> TableReport:
        try:
            return self._unless_fenced(route, through)
        except FencedOut as error:
            return self._failed(route, "behind", error)
        except DirtyLimitExceeded as error:
            return self._failed(route, "stopped", error, DIRTY_LIMIT)
        except TransientError:
            raise
        except CdcError as error:
            return self._failed(route, "stopped", error)

    def _unless_fenced(self, route: Route, through: int) -> TableReport:
        """Merge; after another run was faster, once more from where that one left the table.

        Without a new token a run that follows for hours could never merge a table again that was
        loaded meanwhile.
        """
        try:
            return self._with_patience(route, through)
        except FencedOut:
            self.token = max(self.token, self.pipeline.leases.next_token())
            return self._with_patience(route, through)

    def _with_patience(self, route: Route, through: int) -> TableReport:
        for pause in SINK_RETRIES:
            try:
                return apply_pending(self.pipeline, route, self.token, last_seq(through))
            except SinkUnavailable as error:
                self.pipeline.say(f"{route.table}: {error.message}; trying again in {pause:g} s")
                self.pipeline.release_sink()
                time.sleep(pause)
        return apply_pending(self.pipeline, route, self.token, last_seq(through))

    def _failed(
        self,
        route: Route,
        outcome: Literal["behind", "stopped"],
        error: CdcError,
        code: str = "",
    ) -> TableReport:
        report = TableReport(route.table, target_id(route), outcome)
        report.reason = f"{code}{error}"
        self.pipeline.say(f"{route.table}: {report.outcome}: {error}")
        return report

    def _remember(self, table: TableId, status: TableStatus, reason: str) -> None:
        known = self.states.get(table)
        if known is None or (known.status, known.reason) != (status, reason):
            self.states[table] = self.pipeline.tables.set(table, status, reason)


def _outcome(status: TableStatus) -> Outcome:
    return "held" if status == "held" else "stopped" if status == "stopped" else "needs_snapshot"
