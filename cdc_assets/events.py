"""What a run tells Dagster, and how often: materializations, observations, check results.

In: reports as the engine makes them. Out: events per table and window, each table's at most once
per `report_interval` and once at the end, so that a long run does not drown the event log.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import checks, naming, verdicts
from cdc_assets.metadata import state_metadata, table_metadata, window_metadata
from resources.errors import SinkUnavailable
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.report import TableReport
    from cdc_assets.settings import PipelineSettings
    from resources.stores.table_states import TableState

COUNTED_TABLES = 200
"""Tables whose rows are counted after a run; beyond it the counts are left out."""


@dataclass
class _Window:
    """What was captured of one window and not yet reported."""

    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    segments: list[int] = field(default_factory=list)


class RunEvents:
    """The events of one run.

    Args:
        context: Of the running op.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        interval: Seconds between two events of one asset within the run.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        settings: PipelineSettings,
        pipeline: Pipeline,
        interval: float,
    ) -> None:
        self.context = context
        self.settings = settings
        self.pipeline = pipeline
        self.interval = interval
        self.touched_windows: set[str] = set()
        self.stopped: list[TableState] = []
        self.states: Mapping[TableId, TableState] = pipeline.tables.all()
        self._before = self.states
        self._apart = self._now_apart()
        self._began = time.monotonic()
        self._reported: dict[str, float] = {}
        self._tables: dict[TableId, TableReport] = {}
        self._table_windows: dict[str, set[str]] = {}
        self._windows: dict[str, _Window] = {}
        last = pipeline.log.segments.last()
        self._segment = self._checked = last.number if last else 0
        self._owed_checks: list[TableId] = []
        self._target = _Target(context)

    def add(self, report: TableReport) -> None:
        """Take in what became of a table."""
        known = self._tables.get(report.table)
        if known is None:
            report = replace(report, kinds=dict(report.kinds), windows=set(report.windows))
            self._tables[report.table] = report
        else:
            known.add(report)

    def beat(self, everything: bool = False) -> None:
        """Report what is due.

        Args:
            everything: Report all there is: the run is failing.
        """
        now = time.monotonic()
        due = [t for t in self._tables if everything or self._is_due(str(t), now)]
        changes_due = everything or self._is_due("", now)
        if due or changes_due:
            self._read_segments()
            self._note(due)
            if changes_due and self._windows:
                self._report_changes({}, now)
            if due or everything:
                self._report_tables(due, now, {})

    def finish(self, changes: Mapping[str, Any] | None = None) -> None:
        """Report all that is left.

        Args:
            changes: Metadata of the run's capture; None if it did not capture.
        """
        now = time.monotonic()
        self._read_segments()
        tables = list(self._tables)
        counts = self._row_counts(tables)
        self._note(tables)
        self._report_tables(tables, now, counts)
        if changes is not None:
            self._report_changes({**changes, **state_metadata(self.states)}, now)

    def results(self) -> Iterator[dg.MaterializeResult[None]]:
        """Yield what a run of chosen partitions owes for the assets chosen.

        Their checks follow: a verdict counts only for a materialization that was there before.
        """
        yield from self._target.results()
        self._check_tables(self._owed_checks)
        if self._target.owes(naming.changes_key(self.settings.name)):
            self._check_log()

    def _is_due(self, name: str, now: float) -> bool:
        return now - self._reported.get(name, self._began) >= self.interval

    def _read_segments(self) -> None:
        for segment in self.pipeline.log.segments.list_segments(after=self._segment):
            self._segment = segment.number
            if segment.run_id != self.pipeline.run_id or not segment.window:
                continue
            window = self._windows.setdefault(segment.window, _Window())
            window.segments.append(segment.number)
            self.touched_windows.add(segment.window)
            for name, stats in segment.tables.items():
                counts = window.tables.setdefault(name, {})
                for kind, count in stats.rows.items():
                    counts[kind] = counts.get(kind, 0) + count
                self._table_windows.setdefault(name, set()).add(segment.window)

    def _report_changes(self, extra: Mapping[str, Any], now: float) -> None:
        key = naming.changes_key(self.settings.name)
        for name, window in sorted(self._windows.items()):
            found = window_metadata(window.tables, window.segments)
            self._target.materialize(key, name, found | dict(extra))
        if extra and not self._windows:
            self._target.observe(key, {"rows": 0, **extra})
        if self._windows and not self._target.owes(key):
            self._check_log()
        self._windows.clear()
        self._reported[""] = now

    def _report_tables(
        self, tables: Iterable[TableId], now: float, counts: Mapping[TableId, int]
    ) -> None:
        self.states = self.pipeline.tables.all()
        news = verdicts.untold(self.context.instance, self.settings, self.states)
        touched: list[TableId] = [state.table for state in news]
        apart = self._now_apart()
        touched += sorted(self._apart - apart)
        self._apart = apart
        for table in tables:
            report = self._tables.pop(table)
            self._reported[str(table)] = now
            if report.changes or report.upserted or report.deleted or report.dirty:
                touched.append(table)
                self._report_table(report, counts.get(table))
        self._tell(news)
        key = functools.partial(naming.table_key, self.settings.name)
        self._owed_checks += [t for t in touched if self._target.owes(key(t))]
        self._check_tables([t for t in touched if not self._target.owes(key(t))])

    def _tell(self, news: Iterable[TableState]) -> None:
        """Show on its own page that a table no longer follows the log: it has no changes to show.

        Once per change of state, whoever made it; the run fails in the end for its own.
        """
        for state in news:
            key = naming.table_key(self.settings.name, state.table)
            self._target.observe(key, checks.state_shown(state))
        self.stopped = [
            s for t, s in self.states.items() if s.status == "stopped" and self._was(t) != s.status
        ]

    def _now_apart(self) -> set[TableId]:
        return {t for t, s in self.states.items() if s.status in checks.APART}

    def _was(self, table: TableId) -> str:
        before = self._before.get(table)
        return before.status if before else ""

    def _check_tables(self, tables: Sequence[TableId]) -> None:
        verdicts.report_dirty_rows(
            self.context.instance, self.settings, self.pipeline, set(tables), self.states
        )

    def _check_log(self) -> None:
        verdicts.report_continuity(
            self.context.instance, self.settings, self.pipeline, after=self._checked
        )
        self._checked = self._segment

    def _report_table(self, report: TableReport, rows: int | None) -> None:
        found = table_metadata(report)
        if rows is not None:
            found["dagster/row_count"] = rows
        if report.dirty:
            found |= checks.dirty_metadata(self.pipeline, report.table)
        windows = self._table_windows.pop(str(report.table), set()) | report.windows
        if not windows:
            us = report.commit_ts_us or int(datetime.now(UTC).timestamp() * 1e6)
            windows = {naming.window_partition(us, self.settings.pipeline.window)}
        self.touched_windows |= windows
        for window in sorted(windows):
            self._target.materialize(
                naming.table_key(self.settings.name, report.table), window, found
            )

    def _note(self, tables: Iterable[TableId]) -> None:
        """Log what a person should read."""
        for table in tables:
            report = self._tables[table]
            if report.outcome in ("stopped", "needs_snapshot", "behind"):
                self.context.log.warning(f"{table}: {report.outcome}: {report.reason}")

    def _row_counts(self, tables: Iterable[TableId]) -> dict[TableId, int]:
        touched = [t for t in tables if self._tables[t].outcome == "applied"]
        if not touched or len(touched) > COUNTED_TABLES:
            return {}
        try:
            with self.pipeline.sink() as sink:
                return {t: sink.count_rows(self._tables[t].target) for t in touched}
        except SinkUnavailable as error:  # counts are a courtesy: everything is merged already
            self.context.log.warning(f"rows were not counted: {error.message}")
            return {}
        finally:
            self.pipeline.release_sink()


class _Target:
    """Where events go: the log, or the run's own results for assets and partitions chosen."""

    def __init__(self, context: dg.AssetExecutionContext | dg.OpExecutionContext) -> None:
        self._context = context
        self._partitions: frozenset[str] = frozenset()
        self._owed: dict[dg.AssetKey, dict[str, Any]] = {}
        if isinstance(context, dg.AssetExecutionContext) and context.has_partition_key:
            self._partitions = frozenset(context.partition_keys)
            self._owed = {key: {} for key in context.selected_asset_keys}

    def materialize(self, key: list[str], partition: str, metadata: Mapping[str, Any]) -> None:
        """Log a materialization, unless the run owes one for that partition anyway."""
        asset = dg.AssetKey(key)
        if partition in self._partitions and asset in self._owed:
            self._owed[asset] = dict(metadata)
            return
        self._context.log_event(
            dg.AssetMaterialization(asset, partition=partition, metadata=metadata)
        )

    def owes(self, key: list[str]) -> bool:
        """Return whether the run ends with a result for an asset."""
        return dg.AssetKey(key) in self._owed

    def observe(self, key: list[str], metadata: Mapping[str, Any]) -> None:
        """Log an observation."""
        self._context.log_event(dg.AssetObservation(dg.AssetKey(key), metadata=metadata))

    def results(self) -> Iterator[dg.MaterializeResult[None]]:
        """Yield one result per chosen asset, so that a backfill of partitions ends complete."""
        for key, metadata in sorted(self._owed.items()):
            yield dg.MaterializeResult(asset_key=key, metadata=metadata or {"changes": 0})
