"""What a run tells Dagster, and how often: materializations, observations, check results.

In: reports of feeds as the engine makes them. Out: events per target and window, each target's at
most once per `report_interval` and once at the end, so that a long run does not drown the event
log. What several feeds of a target did is one event.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import checks, naming, verdicts
from cdc_assets.engine.route import target_name
from cdc_assets.failures import named
from cdc_assets.held import held_of, held_readers, held_report
from cdc_assets.lineage import lineage_metadata
from cdc_assets.members import other_feeds
from cdc_assets.metadata import state_metadata, target_metadata, window_metadata
from cdc_assets.targets import find_targets
from resources.errors import SinkUnavailable
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.report import TableReport
    from cdc_assets.settings import PipelineSettings
    from resources.stores.table_states import TableState

COUNTED_TARGETS = 200
"""Targets whose rows are counted after a run; beyond it the counts are left out."""
_TROUBLE = ("stopped", "held", "needs_snapshot", "behind")


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
        pages: Where events go, if sources of a file share a run.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        settings: PipelineSettings,
        pipeline: Pipeline,
        interval: float,
        pages: Pages | None = None,
    ) -> None:
        self.context = context
        self.settings = settings
        self.pipeline = pipeline
        self.interval = interval
        self.touched_windows: set[str] = set()
        self.stopped: list[TableState] = []
        self.states: Mapping[TableId, TableState] = pipeline.tables.all()
        self._before = self.states
        self._targets = find_targets(pipeline.options.router, self.states)
        self._resting = self._now_resting()
        self._began = time.monotonic()
        self._reported: dict[TableId | None, float] = {}
        self._feeds: dict[TableId, dict[TableId, TableReport]] = {}
        self._target_windows: dict[TableId, set[str]] = {}
        self._windows: dict[str, _Window] = {}
        last = pipeline.log.segments.last()
        self._segment = self._checked = last.number if last else 0
        self._owed_checks: list[TableId] = []
        self._pages = pages or Pages(context)
        self._source = settings.source_name
        self._others: Mapping[str, Mapping[str, list[TableId]]] | None = None

    def add(self, report: TableReport) -> None:
        """Take in what became of a feed."""
        feeds = self._feeds.setdefault(target_name(report.target), {})
        known = feeds.get(report.table)
        if known is None:
            report = replace(report, kinds=dict(report.kinds), windows=set(report.windows))
            feeds[report.table] = report
        else:
            known.add(report)

    def beat(self, everything: bool = False) -> None:
        """Report what is due.

        Args:
            everything: Report all there is: the run is failing.
        """
        now = time.monotonic()
        due = [t for t in self._feeds if everything or self._is_due(t, now)]
        changes_due = everything or self._is_due(None, now)
        if due or changes_due:
            self._read_segments()
            self._note(due)
            if changes_due and self._windows:
                self._report_changes({}, now)
            if due or everything:
                self._report_targets(due, now, {})

    def finish(self, changes: Mapping[str, Any] | None = None) -> None:
        """Report all that is left.

        Args:
            changes: Metadata of the run's capture; None if it did not capture.
        """
        now = time.monotonic()
        self._read_segments()
        targets = list(self._feeds)
        counts = self._row_counts(targets)
        self._note(targets)
        self._report_targets(targets, now, counts)
        if changes is not None:
            self._report_changes({**changes, **state_metadata(self.states)}, now)

    def results(self) -> Iterator[dg.MaterializeResult[None]]:
        """Yield what a run of chosen partitions owes for the assets chosen.

        Their checks follow: a verdict counts only for a materialization that was there before.
        """
        yield from self._pages.results()
        self.check_owed()

    def check_owed(self) -> None:
        """Record the verdicts on assets whose results were yielded."""
        self._check_targets(self._owed_checks)
        if self._pages.owes(naming.changes_key(self.settings.log_name)):
            self._check_log()

    def _is_due(self, target: TableId | None, now: float) -> bool:
        """Return whether a target, or None for the change log, may be reported again."""
        return now - self._reported.get(target, self._began) >= self.interval

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
                for route in self.pipeline.routes(stats.table):
                    self._target_windows.setdefault(route.target, set()).add(segment.window)

    def _report_changes(self, extra: Mapping[str, Any], now: float) -> None:
        key = naming.changes_key(self.settings.log_name)
        for name, window in sorted(self._windows.items()):
            found = window_metadata(window.tables, window.segments)
            self._pages.materialize(key, name, found | dict(extra))
        if extra and not self._windows:
            self._pages.observe(key, {"rows": 0, **extra})
        if self._windows and not self._pages.owes(key):
            self._check_log()
        self._windows.clear()
        self._reported[None] = now

    def _report_targets(
        self, targets: Iterable[TableId], now: float, counts: Mapping[TableId, int]
    ) -> None:
        self.states = self.pipeline.tables.all()
        self._targets = find_targets(self.pipeline.options.router, self.states)
        news = verdicts.untold(self.context.instance, self.settings, self._targets, self.states)
        touched = list(news)
        resting = self._now_resting()
        touched += self._targets.of(self._resting - resting)
        self._resting = resting
        for target in targets:
            reports = list(self._feeds.pop(target).values())
            self._reported[target] = now
            if any(r.changes or r.upserted or r.deleted or r.dirty for r in reports):
                touched.append(target)
                self._report_target(target, reports, counts.get(target))
        self._tell(news)
        self._owed_checks += [t for t in touched if self._pages.owes(self._key(t))]
        self._check_targets([t for t in touched if not self._pages.owes(self._key(t))])

    def _tell(self, news: Iterable[TableId]) -> None:
        """Show on a target's own page that a feed of it rests: it has no changes to show.

        Once per change of state, whoever made it; the run fails in the end for its own.
        """
        for target in news:
            feeds = self._targets.feeds[target]
            resting = [s for t in feeds if (s := self.states.get(t)) and t in self._resting]
            shared = self._targets.shared(target)
            shown = checks.resting_shown(self.pipeline, target, resting, shared=shared)
            waiting = held_of(self.pipeline, target, feeds)
            if waiting:
                shown["held changes in full"] = dg.MetadataValue.md(
                    held_report(
                        self.pipeline.name,
                        waiting,
                        held_readers(self.context, self.settings, [target]),
                    )
                )
            self._pages.observe(self._key(target), shown)
        self.stopped = [
            s for t, s in self.states.items() if s.status == "stopped" and self._was(t) != s.status
        ]

    def _now_resting(self) -> set[TableId]:
        return {t for t, s in self.states.items() if s.status in checks.RESTING}

    def _key(self, target: TableId) -> list[str]:
        return self.settings.table_key(target)

    def _was(self, table: TableId) -> str:
        before = self._before.get(table)
        return before.status if before else ""

    def _check_targets(self, touched: Sequence[TableId]) -> None:
        verdicts.report_dirty_rows(
            self.context.instance,
            self.settings,
            self.pipeline,
            self._targets,
            set(touched),
            self.states,
        )

    def _check_log(self) -> None:
        verdicts.report_continuity(
            self.context.instance, self.settings, self.pipeline, after=self._checked
        )
        self._checked = self._segment

    def _report_target(
        self, target: TableId, reports: Sequence[TableReport], rows: int | None
    ) -> None:
        feeds = self._targets.feeds.get(target, ())
        found = target_metadata(reports, {table: self.states.get(table) for table in feeds})
        found |= lineage_metadata(self.pipeline, reports, feeds, self._fed_elsewhere(target))
        found |= {"source": self._source} if self._source else {}
        if rows is not None:
            found["dagster/row_count"] = rows
        if any(report.dirty for report in reports):
            found |= checks.dirty_metadata(self.pipeline, feeds)
        windows = self._target_windows.pop(target, set()).union(*(r.windows for r in reports))
        if not windows:
            us = max(r.commit_ts_us for r in reports) or int(datetime.now(UTC).timestamp() * 1e6)
            windows = {naming.window_partition(us, self.settings.pipeline.window)}
        self.touched_windows |= windows
        for window in sorted(windows):
            self._pages.materialize(self._key(target), window, found)

    def _fed_elsewhere(self, target: TableId) -> Mapping[str, list[TableId]]:
        if self._others is None:
            self._others = other_feeds(self.settings, self.pipeline.db)
        return self._others.get(str(target), {})

    def _note(self, targets: Iterable[TableId]) -> None:
        """Log what a person should read."""
        for target in targets:
            for report in self._feeds[target].values():
                if report.outcome in _TROUBLE:
                    reason = named(report.table, report.reason)
                    self.context.log.warning(f"{report.outcome}: {reason}")

    def _row_counts(self, targets: Iterable[TableId]) -> dict[TableId, int]:
        touched = {
            t: report.target
            for t in targets
            for report in self._feeds[t].values()
            if report.outcome == "applied"
        }
        if not touched or len(touched) > COUNTED_TARGETS:
            return {}
        try:
            with self.pipeline.sink() as sink:
                return {t: sink.count_rows(target) for t, target in touched.items()}
        except SinkUnavailable as error:  # counts are a courtesy: everything is merged already
            self.context.log.warning(f"rows were not counted: {error.message}")
            return {}
        finally:
            self.pipeline.release_sink()


def told(report: TableReport) -> str:
    """Return the name of a feed: its source table, and its target if that has another name."""
    table, target = str(report.table), str(report.target)
    return table if table == target else f"{table} -> {target}"


class Pages:
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
            before, self._owed[asset] = self._owed[asset], dict(metadata)
            if not before or before.get("source") == metadata.get("source"):
                return
            metadata = before  # what another source did is an event of its own
        self._context.log_event(
            dg.AssetMaterialization(asset, partition=partition, metadata=metadata)
        )

    def owes(self, key: list[str]) -> bool:
        """Return whether the run ends with a result for an asset."""
        return dg.AssetKey(key) in self._owed

    def observe(self, key: list[str], metadata: Mapping[str, Any]) -> None:
        """Log an observation."""
        self._context.log_event(dg.AssetObservation(dg.AssetKey(key), metadata=metadata))

    def results(self, *, touched: bool = False) -> Iterator[dg.MaterializeResult[None]]:
        """Yield one result per chosen asset, so that a backfill of partitions ends complete.

        Args:
            touched: Only for those with something to show: the run is failing.
        """
        for key, metadata in sorted(self._owed.items()):
            if touched and not metadata:
                continue
            yield dg.MaterializeResult(asset_key=key, metadata=metadata or {"changes": 0})
