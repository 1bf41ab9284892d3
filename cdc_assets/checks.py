"""Asset checks: the change log has no hole; tables follow it with few enough dirty rows.

In: the state store and the change log. Out: one check definition per pipeline, of which any part
can be run alone, and the verdicts that `verdicts` records after a run.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from cdc_assets.failures import failures
from cdc_assets.settings import PipelineSettings
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.stores.dirty_rows import DirtyStats
    from resources.stores.table_states import TableState

CONTINUITY: naming.Check = "continuity"
DIRTY_ROWS: naming.Check = "dirty_rows"
APART = ("stopped", "needs_snapshot")
"""States of tables that no longer follow the log until a person does something."""
SINCE = "state since"
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
                description="The table follows the log"
                + (
                    f", and no more than {limit} of its rows lie in the dirty-data store."
                    if limit is not None
                    else "; its rows in the dirty-data store have no limit."
                ),
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

    A table that no longer follows the log fails whatever its rows: it has no materialization to
    say so, and its page and the graph would look healthy.

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
        apart = state is not None and state.status in APART
        if state is not None and apart:
            found |= state_shown(state)
        if count:
            found |= _dirty_shown(mine)
            found["remedy"] = (
                f"mend the cause and run {naming.job_name(settings.name, 'replay')}, or raise "
                "dirty_data.max_rows"
            )
        verdicts[table] = (not apart and (limit is None or count <= limit), found)
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


def _dirty_shown(stats: "Sequence[DirtyStats]") -> dict[str, dg.MetadataValue[Any]]:
    from cdc_assets.plots import dirty_metadata as shown

    return shown(stats)
