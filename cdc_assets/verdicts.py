"""Verdicts of the checks that a run records by itself, and what was told of a target before.

In: the state store, the change log and what a run touched. Out: check results as events without a
run: within one, Dagster keeps only results of checks it had planned.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Materialization,
)
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from cdc_assets import checks, naming
from cdc_assets.members import other_feeds, state_of
from cdc_assets.settings import PipelineSettings
from cdc_assets.sink_lag import SINKS, judge_sinks
from cdc_assets.targets import Targets
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.stores.segments import Segment
    from resources.stores.table_states import TableState

WHOLE_LOG_AT = "whole log checked at"
WHOLE_LOG_EVERY = 3600.0
"""Seconds between two checks of a long log as a whole by syncs; in between new links are enough."""
SHORT_LOG_SEGMENTS = 1000
"""A log of no more segments is short, and checked as a whole each time."""


def report_dirty_rows(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    pipeline: Pipeline,
    targets: Targets,
    touched: Collection[TableId],
    states: Mapping[TableId, TableState],
) -> None:
    """Record the verdict on targets that a run touched, after their materializations.

    Verdicts on the other sources of a target are recorded anew: Dagster takes one that is older
    than the newest materialization for none.

    Args:
        instance: Where to record it.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        targets: All of the pipeline.
        touched: Those to judge.
        states: Of all source tables.
    """
    if not touched:
        return
    keys = {t: dg.AssetKey(settings.table_key(t)) for t in touched}
    newest = _newest(instance, keys.values())
    verdicts = checks.judge_dirty_rows(settings, pipeline, targets, touched, states)
    name = naming.check_name(settings.log_name, checks.DIRTY_ROWS)
    for target, verdict in verdicts.items():
        _record(instance, keys[target], name, verdict, newest)
    for member, fed in _fed_by_others(settings, pipeline, touched):
        state = state_of(member.name, pipeline.db)
        name = naming.check_name(member.log_name, checks.DIRTY_ROWS)
        verdicts = checks.judge_dirty_rows(member, state, fed, fed.feeds, state.tables.all())
        for target, verdict in verdicts.items():
            _record(instance, keys[target], name, verdict, newest)


def _fed_by_others(
    settings: PipelineSettings, pipeline: Pipeline, touched: Collection[TableId]
) -> list[tuple[PipelineSettings, Targets]]:
    """Return the touched targets that other sources of the file feed too, by source."""
    others = other_feeds(settings, pipeline.db)
    found: dict[str, dict[TableId, tuple[TableId, ...]]] = {}
    for target in touched:
        for name, tables in others.get(str(target), {}).items():
            found.setdefault(name, {})[target] = tuple(tables)
    return [(m, Targets(found[m.name])) for m in settings.whole.members() if m.name in found]


def untold(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    targets: Targets,
    states: Mapping[TableId, TableState],
) -> list[TableId]:
    """Return the targets with feeds at rest whose check does not say so yet.

    What was told is read from the last verdicts, with one query, so that a change of state is
    told once even if the run that made it was killed.
    """
    resting = [t for t, s in states.items() if s.status in checks.RESTING]
    name = naming.check_name(settings.log_name, checks.DIRTY_ROWS)
    by_key = {
        dg.AssetCheckKey(dg.AssetKey(settings.table_key(t)), name): t for t in targets.of(resting)
    }
    storage = instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(list(by_key)) if by_key else {}
    untold: list[TableId] = []
    for key, target in by_key.items():
        told = _metadata(latest.get(key)).get(checks.SINCE)
        feeds = (states[t] for t in targets.feeds[target] if t in states)
        if told is None or told.value != checks.last_rest(feeds):
            untold.append(target)
    return untold


def report_continuity(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    pipeline: Pipeline,
    *,
    after: int = 0,
    full: bool = False,
) -> None:
    """Check the change log and record the verdict; with it that on sinks that share it.

    A long log is looked at as a whole once an hour and as long as it has problems; in between
    only the links of new segments, whose files the merge has just read.

    Args:
        instance: Where to record it.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        after: The last segment before this run.
        full: Read every byte and compare checksums.
    """
    asset = dg.AssetKey(naming.changes_key(settings.log_name))
    key = dg.AssetCheckKey(asset, checks.CONTINUITY)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    whole_at = _metadata(latest).get(WHOLE_LOG_AT)
    recent = whole_at is not None and time.time() - float(str(whole_at.value)) < WHOLE_LOG_EVERY
    passed = latest is not None and latest.status == AssetCheckExecutionRecordStatus.SUCCEEDED
    new = pipeline.log.segments.list_segments(after=max(0, after - 1))
    is_long = bool(new) and new[-1].number > SHORT_LOG_SEGMENTS
    if is_long and recent and passed and not full:
        verdict = checks.judge_continuity(broken_links(new), "links of the newest segments")
        at = whole_at
    else:
        scope = "every segment, file and checksum" if full else "every segment and file"
        verdict = checks.judge_continuity(pipeline.log.check(full=full), scope)
        at = dg.MetadataValue.timestamp(time.time())
    verdict[1][WHOLE_LOG_AT] = at
    newest = _newest(instance, [asset])
    _record(instance, asset, checks.CONTINUITY, verdict, newest)
    report_sinks(instance, settings, pipeline)


def report_sinks(
    instance: dg.DagsterInstance, settings: PipelineSettings, pipeline: Pipeline
) -> None:
    """Record how far the sinks of a change log are, where several share it.

    Args:
        instance: Where to record it.
        settings: The pipeline's.
        pipeline: The opened pipeline.
    """
    if pipeline.is_shared:
        asset = dg.AssetKey(naming.changes_key(settings.log_name))
        verdict = judge_sinks(settings, pipeline)
        _record(instance, asset, SINKS, verdict, _newest(instance, [asset]))


def broken_links(segments: Sequence[Segment]) -> list[str]:
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


def _newest(
    instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]
) -> dict[dg.AssetKey, Materialization]:
    """Return the newest materialization of every asset that has one, with one query.

    A verdict that does not name it counts only while no later event has been written, and the
    UI shows `Not evaluated` when the two come in the same moment.
    """
    found: dict[dg.AssetKey, Materialization] = {}
    for record in instance.get_asset_records(list(keys)):
        newest = record.asset_entry.last_materialization_record
        if newest is not None:
            found[record.asset_entry.asset_key] = Materialization(
                storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp
            )
    return found


def _record(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    name: str,
    verdict: tuple[bool, dict[str, Any]],
    newest: Mapping[dg.AssetKey, Materialization],
) -> None:
    passed, found = verdict
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=name,
            passed=passed,
            metadata=found,
            target_materialization_data=newest.get(key),
            severity=dg.AssetCheckSeverity.ERROR,
        )
    )
