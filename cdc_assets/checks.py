"""Asset checks: the change log has no hole, and no table has more dirty rows than allowed.

In: the state store and the change log. Out: one check definition per pipeline, of which any part
can be run alone, and the same verdicts as events of a sync.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from cdc_assets import naming
from cdc_assets.failures import failures
from cdc_assets.settings import PipelineSettings
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.stores.dirty_rows import DirtyStats
    from resources.stores.segments import Segment
    from resources.stores.table_states import TableState

CONTINUITY: naming.Check = "continuity"
DIRTY_ROWS: naming.Check = "dirty_rows"
WHOLE_LOG_EVERY = 3600.0
"""Seconds between two checks of a long log as a whole by syncs; in between new links are enough."""
SHORT_LOG_SEGMENTS = 1000
"""A log of no more segments is checked as a whole each time: that takes less than 0.1 s."""
APART = ("stopped", "needs_snapshot")
"""States of tables that no longer follow the log until a person does something."""
SINCE = "state since"
WHOLE_LOG_AT = "whole log checked at"
PROBLEMS = 50


def build_checks(settings: PipelineSettings, tables: Sequence[TableId]) -> dg.AssetChecksDefinition:
    """Return the checks of a pipeline: `continuity` of the log, `dirty_rows` of every table."""
    changes = dg.AssetKey(naming.changes_key(settings.name))
    by_key = {dg.AssetKey(naming.table_key(settings.name, t)): t for t in tables}
    limit = settings.dirty_data.max_rows
    specs = [
        dg.AssetCheckSpec(
            CONTINUITY,
            asset=changes,
            description="The segments of the change log follow each other without a hole or an "
            "overlap, and every file is there.",
        ),
        *(
            dg.AssetCheckSpec(
                DIRTY_ROWS,
                asset=key,
                description=f"No more than {limit} rows lie in the dirty-data store."
                if limit is not None
                else "Rows that lie in the dirty-data store; without a limit they never fail.",
            )
            for key in by_key
        ),
    ]

    @dg.multi_asset_check(name=f"{settings.name}__checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from cdc_assets.open import opened

        chosen = context.selected_asset_check_keys
        with failures(), opened(settings, context.run.run_id, context.log.info) as pipeline:
            if any(key.name == CONTINUITY for key in chosen):
                passed, found = judge_continuity(pipeline.log.check())
                yield _result(changes, CONTINUITY, passed, found)
            wanted = {by_key[k.asset_key]: k.asset_key for k in chosen if k.name == DIRTY_ROWS}
            states = pipeline.tables.all()
            verdicts = judge_dirty_rows(settings, pipeline, wanted, states)
            for table, (passed, found) in verdicts.items():
                yield _result(wanted[table], DIRTY_ROWS, passed, found)

    return checks


def judge_continuity(
    problems: Sequence[str], scope: str = "every segment and file"
) -> tuple[bool, dict[str, Any]]:
    """Return the verdict on the change log and what to show.

    Args:
        problems: Of `ChangeLog.check`.
        scope: What was looked at, in words.
    """
    found: dict[str, Any] = {"problems": len(problems), "checked": scope}
    if problems:
        lines = [f"- {problem}" for problem in problems[:PROBLEMS]]
        found["what"] = dg.MetadataValue.md("\n".join(lines))
        found["remedy"] = "put the missing files back, or load the affected tables again"
    return not problems, found


def judge_dirty_rows(
    settings: PipelineSettings,
    pipeline: "Pipeline",
    tables: Iterable[TableId],
    states: "Mapping[TableId, TableState]",
) -> dict[TableId, tuple[bool, dict[str, Any]]]:
    """Return per table whether its open dirty rows are within the limit, with one query.

    Args:
        settings: The pipeline's.
        pipeline: The opened pipeline.
        tables: Those to judge.
        states: Of all tables; one that does not follow the log says so in what is shown.
    """
    limit = settings.dirty_data.max_rows
    by_table: dict[TableId, list[DirtyStats]] = {}
    for stats in pipeline.dirty.stats():
        by_table.setdefault(stats.table, []).append(stats)
    verdicts: dict[TableId, tuple[bool, dict[str, Any]]] = {}
    for table in tables:
        mine = by_table.get(table, [])
        count = sum(s.open for s in mine)
        found: dict[str, Any] = {"open": count, "limit": "none" if limit is None else f"{limit:,}"}
        state = states.get(table)
        if state is not None and state.status in APART:
            found |= state_shown(state)
        if count:
            found |= _dirty_shown(mine)
            found["remedy"] = (
                f"mend the cause and run {naming.job_name(settings.name, 'replay')}, or raise "
                "dirty_data.max_rows"
            )
        verdicts[table] = (limit is None or count <= limit, found)
    return verdicts


def state_shown(state: "TableState") -> dict[str, Any]:
    """Return what is shown of a table that no longer follows the log."""
    from cdc_assets.metadata import REASON_CHARACTERS, cut

    return {
        "outcome": state.status,
        "reason": cut(state.reason, REASON_CHARACTERS),
        SINCE: dg.MetadataValue.timestamp(state.since_us / 1e6),
    }


def dirty_metadata(pipeline: "Pipeline", table: TableId) -> dict[str, dg.MetadataValue[Any]]:
    """Return one table's open dirty rows as a table and a plot."""
    return _dirty_shown([s for s in pipeline.dirty.stats() if s.table == table])


def report_dirty_rows(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    tables: Collection[TableId],
    states: "Mapping[TableId, TableState]",
) -> None:
    """Record the verdict on tables that a run touched, after their materializations.

    As events without a run: within one, Dagster keeps only results of checks it had planned.
    """
    if not tables:
        return
    keys = {t: dg.AssetKey(naming.table_key(settings.name, t)) for t in tables}
    targets = _targets(instance, keys.values())
    for table, verdict in judge_dirty_rows(settings, pipeline, tables, states).items():
        _record(instance, keys[table], DIRTY_ROWS, verdict, targets)


def untold(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    states: "Mapping[TableId, TableState]",
) -> "list[TableState]":
    """Return the tables that no longer follow the log and whose check does not say so yet.

    What was told is read from the last verdicts, with one query, so that a change of state is
    told once even if the run that made it was killed.
    """
    apart = {
        dg.AssetCheckKey(dg.AssetKey(naming.table_key(settings.name, s.table)), DIRTY_ROWS): s
        for s in states.values()
        if s.status in APART
    }
    storage = instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(list(apart)) if apart else {}
    untold: list[TableState] = []
    for key, state in apart.items():
        told = _metadata(latest.get(key)).get(SINCE)
        if told is None or told.value != state.since_us / 1e6:
            untold.append(state)
    return untold


def report_continuity(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    *,
    after: int = 0,
    full: bool = False,
) -> None:
    """Check the change log and record the verdict.

    A long log is looked at as a whole once an hour and as long as it has problems; in between
    only the links of new segments, whose files the merge has just read.

    Args:
        instance: Where to record it.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        after: The last segment before this run.
        full: Read every byte and compare checksums.
    """
    asset = dg.AssetKey(naming.changes_key(settings.name))
    key = dg.AssetCheckKey(asset, CONTINUITY)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    whole_at = _metadata(latest).get(WHOLE_LOG_AT)
    recent = whole_at is not None and time.time() - float(str(whole_at.value)) < WHOLE_LOG_EVERY
    passed = latest is not None and latest.status == AssetCheckExecutionRecordStatus.SUCCEEDED
    new = pipeline.log.segments.list_segments(after=max(0, after - 1))
    is_long = bool(new) and new[-1].number > SHORT_LOG_SEGMENTS
    if is_long and recent and passed and not full:
        verdict = judge_continuity(broken_links(new), "links of the newest segments")
        at = whole_at
    else:
        scope = "every segment, file and checksum" if full else "every segment and file"
        verdict = judge_continuity(pipeline.log.check(full=full), scope)
        at = dg.MetadataValue.timestamp(time.time())
    verdict[1][WHOLE_LOG_AT] = at
    _record(instance, asset, CONTINUITY, verdict, _targets(instance, [asset]))


def broken_links(segments: "Sequence[Segment]") -> list[str]:
    """Return where consecutive segments do not begin where the one before them ends."""
    return [
        f"segment {new.number} starts at {new.start}, segment {old.number} ends at {old.end}: "
        "a hole or an overlap between them"
        for old, new in pairwise(segments)
        if (new.number, new.start) != (old.number + 1, old.end)
    ]


def _metadata(record: AssetCheckExecutionRecord | None) -> Mapping[str, dg.MetadataValue[Any]]:
    """Return what an evaluation showed, nothing while there is only a plan of one."""
    evaluation = record.evaluation if record else None
    return evaluation.metadata if isinstance(evaluation, dg.AssetCheckEvaluation) else {}


def _dirty_shown(stats: "Sequence[DirtyStats]") -> dict[str, dg.MetadataValue[Any]]:
    from cdc_assets.plots import dirty_metadata as shown

    return shown(stats)


def _targets(
    instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]
) -> dict[dg.AssetKey, Target]:
    """Return the newest materialization of every asset that has one, with one query.

    A verdict that does not name it counts only while no later event has been written, and the
    UI shows `Not evaluated` when the two come in the same moment.
    """
    targets: dict[dg.AssetKey, Target] = {}
    for record in instance.get_asset_records(list(keys)):
        newest = record.asset_entry.last_materialization_record
        if newest is not None:
            targets[record.asset_entry.asset_key] = Target(
                storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp
            )
    return targets


def _record(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    name: str,
    verdict: tuple[bool, dict[str, Any]],
    targets: Mapping[dg.AssetKey, Target],
) -> None:
    passed, found = verdict
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=name,
            passed=passed,
            metadata=found,
            target_materialization_data=targets.get(key),
            severity=dg.AssetCheckSeverity.ERROR,
        )
    )


def _result(
    key: dg.AssetKey, name: str, passed: bool, found: dict[str, Any]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=passed,
        metadata=found,
        severity=dg.AssetCheckSeverity.ERROR,
    )
