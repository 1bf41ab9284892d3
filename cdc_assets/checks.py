"""Asset checks: the change log has no hole, and no table has more dirty rows than allowed.

In: the state store and the change log. Out: one check definition per pipeline, of which any part
can be run alone, and the same verdicts as events of a sync.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from cdc_assets.failures import failures
from cdc_assets.settings import PipelineSettings
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.stores.dirty_rows import DirtyStats

CONTINUITY: naming.Check = "continuity"
DIRTY_ROWS: naming.Check = "dirty_rows"
CONTINUITY_EVERY = 3600.0
"""Seconds between two checks of the whole log by syncs; a commit checks its own link anyway."""
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
            for table, (passed, found) in judge_dirty_rows(settings, pipeline, wanted).items():
                yield _result(wanted[table], DIRTY_ROWS, passed, found)

    return checks


def judge_continuity(problems: Sequence[str]) -> tuple[bool, dict[str, Any]]:
    """Return the verdict on the change log and what to show.

    Args:
        problems: Of `ChangeLog.check`.
    """
    found: dict[str, Any] = {"problems": len(problems)}
    if problems:
        lines = [f"- {problem}" for problem in problems[:PROBLEMS]]
        found["what"] = dg.MetadataValue.md("\n".join(lines))
        found["remedy"] = "put the missing files back, or load the affected tables again"
    return not problems, found


def judge_dirty_rows(
    settings: PipelineSettings, pipeline: "Pipeline", tables: Iterable[TableId]
) -> dict[TableId, tuple[bool, dict[str, Any]]]:
    """Return per table whether its open dirty rows are within the limit, with one query."""
    limit = settings.dirty_data.max_rows
    by_table: dict[TableId, list[DirtyStats]] = {}
    for stats in pipeline.dirty.stats():
        by_table.setdefault(stats.table, []).append(stats)
    verdicts: dict[TableId, tuple[bool, dict[str, Any]]] = {}
    for table in tables:
        mine = by_table.get(table, [])
        count = sum(s.open for s in mine)
        found: dict[str, Any] = {"open": count, "limit": "none" if limit is None else limit}
        if count:
            found["rows"] = _dirty_value(mine)
            found["remedy"] = (
                f"mend the cause and run {naming.job_name(settings.name, 'replay')}, or raise "
                "dirty_data.max_rows"
            )
        verdicts[table] = (limit is None or count <= limit, found)
    return verdicts


def dirty_metadata(pipeline: "Pipeline", table: TableId) -> dg.MetadataValue[Any]:
    """Return one table's open dirty rows as a table and a plot."""
    return _dirty_value([s for s in pipeline.dirty.stats() if s.table == table])


def report_dirty_rows(
    instance: dg.DagsterInstance,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    tables: Iterable[TableId],
) -> None:
    """Record the verdict on tables that a run touched.

    As events without a run: within one, Dagster keeps only results of checks it had planned.
    """
    for table, (passed, found) in judge_dirty_rows(settings, pipeline, tables).items():
        _record(instance, naming.table_key(settings.name, table), DIRTY_ROWS, passed, found)


def report_continuity(
    instance: dg.DagsterInstance, settings: PipelineSettings, pipeline: "Pipeline"
) -> None:
    """Check the change log and record the verdict, unless that was done within the hour."""
    key = dg.AssetCheckKey(dg.AssetKey(naming.changes_key(settings.name)), CONTINUITY)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    if latest is not None and time.time() - latest.create_timestamp < CONTINUITY_EVERY:
        return
    passed, found = judge_continuity(pipeline.log.check())
    _record(instance, naming.changes_key(settings.name), CONTINUITY, passed, found)


def _record(
    instance: dg.DagsterInstance, key: list[str], name: str, passed: bool, found: dict[str, Any]
) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(key),
            check_name=name,
            passed=passed,
            metadata=found,
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


def _dirty_value(stats: "Sequence[DirtyStats]") -> dg.MetadataValue[Any]:
    from cdc_assets.plots import dirty_markdown

    return dg.MetadataValue.md(dirty_markdown(stats))
