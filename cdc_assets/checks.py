"""Asset checks: the change log has no hole; targets follow it with few enough dirty rows.

In: the state store and the change log. Out: one check definition per pipeline, of which any part
can be run alone, and the verdicts that `verdicts` records after a run.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from cdc_assets.failures import failures, named
from cdc_assets.settings import PipelineSettings
from cdc_assets.sink_lag import SINKS, judge_sinks, sinks_spec
from cdc_assets.targets import Targets, find_targets
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.members import SourceState
    from resources.stores.dirty_rows import DirtyStats
    from resources.stores.table_states import TableState

CONTINUITY: naming.Check = "continuity"
DIRTY_ROWS: naming.Check = "dirty_rows"
APART = ("held", "needs_snapshot", "stopped")
"""States of tables that no longer follow the log until somebody does something; worst last."""
RESTING = ("dropped", *APART)
"""States of tables that have no changes to show: what they wait for is shown instead."""
SINCE = "state since"
PROBLEMS = 50


def build_checks(
    settings: PipelineSettings, targets: Targets, *, with_log: bool = True
) -> dg.AssetChecksDefinition:
    """Return the checks of a pipeline: `continuity` of the log, `dirty_rows` of every target.

    A target that several sources feed has a check for each, so that none answers for another.

    Args:
        settings: The pipeline's.
        targets: Its targets.
        with_log: Whether the log's check is among them; one of several sinks has it.
    """
    dirty_rows = naming.check_name(settings.log_name, DIRTY_ROWS)
    changes = dg.AssetKey(naming.changes_key(settings.log_name))
    by_key = {dg.AssetKey(settings.table_key(t)): t for t in targets.feeds}
    limit = settings.dirty_data.max_rows
    source = settings.source_name
    of_source = f" on {source}" if source else ""
    specs = [
        *([_continuity_spec(changes)] if with_log else []),
        *([sinks_spec(changes)] if with_log and settings.sink_name else []),
        *(
            dg.AssetCheckSpec(
                dirty_rows,
                asset=key,
                description=f"Every source table of it{of_source} follows the log"
                + (
                    f", with no more than {limit} rows in the dirty-data store."
                    if limit is not None
                    else "; rows in the dirty-data store have no limit."
                ),
            )
            for key in by_key
        ),
    ]

    @dg.multi_asset_check(name=f"{settings.name}__checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from cdc_assets.open import opened

        chosen = context.selected_asset_check_keys
        run = opened(settings, context.run.run_id, context.log.info, joins=False)
        with failures(), run as pipeline:
            if any(key.name == CONTINUITY for key in chosen):
                passed, found = judge_continuity(pipeline.log.check())
                yield _result(changes, CONTINUITY, passed, found)
            if any(key.name == SINKS for key in chosen):
                passed, found = judge_sinks(settings, pipeline)
                yield _result(changes, SINKS, passed, found)
            wanted = {by_key[k.asset_key]: k.asset_key for k in chosen if k.name == dirty_rows}
            states = pipeline.tables.all()
            known = find_targets(pipeline.options.router, {*targets.tables(wanted), *states})
            verdicts = judge_dirty_rows(settings, pipeline, known, wanted, states)
            for target, (passed, found) in verdicts.items():
                yield _result(wanted[target], dirty_rows, passed, found)

    return checks


def _continuity_spec(changes: dg.AssetKey) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        CONTINUITY,
        asset=changes,
        description="The segments of the change log follow each other without a hole or an "
        "overlap, and every file is there.",
    )


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
    pipeline: "Pipeline | SourceState",
    targets: Targets,
    wanted: Iterable[TableId],
    states: "Mapping[TableId, TableState]",
) -> dict[TableId, tuple[bool, dict[str, Any]]]:
    """Return per target whether all its feeds follow the log with few enough dirty rows.

    A feed that no longer follows the log fails its target whatever its rows: it has no
    materialization to say so, and the target's page and the graph would look healthy.

    Args:
        settings: The pipeline's.
        pipeline: The opened pipeline, or what the state store knows of it.
        targets: With all their feeds.
        wanted: Those to judge.
        states: Of all source tables; one that rests says so in what is shown.
    """
    limit = settings.dirty_data.max_rows
    by_table: dict[TableId, list[DirtyStats]] = {}
    for stats in pipeline.dirty.stats():
        by_table.setdefault(stats.table, []).append(stats)
    verdicts: dict[TableId, tuple[bool, dict[str, Any]]] = {}
    for target in wanted:
        feeds = targets.feeds.get(target, ())
        mine = [stats for table in feeds for stats in by_table.get(table, [])]
        resting = [s for t in feeds if (s := states.get(t)) and s.status in RESTING]
        counts = [sum(s.open for s in by_table.get(table, [])) for table in feeds]
        found: dict[str, Any] = {
            "open": sum(counts),
            "limit": "none" if limit is None else f"{limit:,}",
        }
        if resting:
            found |= resting_shown(pipeline, target, resting, shared=targets.shared(target))
        if any(counts):
            found |= _dirty_shown(mine)
            found["remedy"] = (
                f"mend the cause and run {naming.job_name(settings.name, 'replay')}, or raise "
                "dirty_data.max_rows"
            )
        follows = all(s.status not in APART for s in resting)
        few = limit is None or all(count <= limit for count in counts)
        verdicts[target] = (follows and few, found)
    return verdicts


def resting_shown(
    pipeline: "Pipeline | SourceState",
    target: TableId,
    states: "Sequence[TableState]",
    *,
    shared: bool,
) -> dict[str, Any]:
    """Return what is shown of a target's feeds that rest.

    Args:
        pipeline: The opened pipeline.
        target: The target.
        states: Of those feeds, at least one.
        shared: Whether the target has other feeds, so that these must be named.
    """
    from cdc_assets.held import held_metadata, held_of
    from cdc_assets.metadata import REASON_CHARACTERS, TABLE_LINES, cut

    worst = max(states, key=lambda s: RESTING.index(s.status))
    found: dict[str, Any] = {
        "outcome": worst.status,
        "reason": cut(
            named(worst.table, worst.reason) if shared else worst.reason, REASON_CHARACTERS
        ),
        SINCE: dg.MetadataValue.timestamp(last_rest(states)),
    }
    if shared:
        lines = ["| source table | state | reason |", "|---|---|---|"]
        lines += [
            f"| {cut(str(s.table))} | {s.status} | {cut(s.reason.removeprefix(f'{s.table}: '))} |"
            for s in states[:TABLE_LINES]
        ]
        if len(states) > TABLE_LINES:
            lines.append(f"| … {len(states) - TABLE_LINES} more | | |")
        found["source tables at rest"] = dg.MetadataValue.md("\n".join(lines))
    held = [state.table for state in states if state.status == "held"]
    return found | held_metadata(pipeline.name, held_of(pipeline, target, held))


def last_rest(states: "Iterable[TableState]") -> float:
    """Return when the last of some feeds came to rest, seconds since the epoch; 0 if none did.

    It differs whenever there is news of a target: a state that begins is later than all before.
    """
    return max((s.since_us for s in states if s.status in RESTING), default=0) / 1e6


def dirty_metadata(
    pipeline: "Pipeline", tables: Collection[TableId]
) -> dict[str, dg.MetadataValue[Any]]:
    """Return open dirty rows of source tables as a table and a plot."""
    return _dirty_shown([s for s in pipeline.dirty.stats() if s.table in tables])


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
