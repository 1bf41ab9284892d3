"""The jobs and the schedule of a pipeline.

In: settings. Out: definitions. Every job runs its one step in its own process: a process per step
costs seconds and brings nothing here.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)
from pydantic import Field

from cdc_assets import naming, verdicts
from cdc_assets.decide import build_decide_job
from cdc_assets.failures import failures, stopped_failure
from cdc_assets.plan_job import build_plan_job
from cdc_assets.refold import build_refold_job
from cdc_assets.settings import PipelineSettings
from cdc_assets.specs import PIPELINE_TAG, SNAPSHOT_TAG, has_snapshot, run_tags
from resources.model.table_id import TableId


class ReplayConfig(dg.Config):
    """Run config of a replay."""

    table: str = Field(default="", description="Only this table, `database.table`; empty for all.")


@dataclass(frozen=True)
class PipelineJobs:
    """The jobs of one pipeline.

    Args:
        sync: Reads the log and merges.
        snapshot: Loads tables; None if history comes through the log.
        replay: Puts dirty rows back.
        compact: Compacts the change log and applies retention.
        decide: Decides about schema changes that are held.
        plan: Says what the pipeline file as it is now would do.
        refold: Fills targets again from the change log.
        schedule: Runs `compact` daily, once somebody starts it.
    """

    sync: UnresolvedAssetJobDefinition
    snapshot: UnresolvedAssetJobDefinition | None
    replay: dg.JobDefinition
    compact: dg.JobDefinition
    decide: dg.JobDefinition
    plan: dg.JobDefinition
    refold: dg.JobDefinition
    schedule: dg.ScheduleDefinition

    def all(self) -> list[dg.JobDefinition | UnresolvedAssetJobDefinition]:
        """Return every job."""
        snapshot = [self.snapshot] if self.snapshot is not None else []
        others = [self.replay, self.compact, self.decide, self.plan, self.refold]
        return [self.sync, *snapshot, *others]


def build_jobs(settings: PipelineSettings) -> PipelineJobs:
    """Return the jobs of a pipeline."""
    snapshot = None
    if has_snapshot(settings):
        tags = {PIPELINE_TAG: settings.name, SNAPSHOT_TAG: settings.name}
        snapshot = _asset_job(settings, "snapshot", naming.snapshot_key(settings.name), tags)
    compact = _compact_job(settings)
    return PipelineJobs(
        sync=_asset_job(settings, "sync", naming.changes_key(settings.name), run_tags(settings)),
        snapshot=snapshot,
        replay=_replay_job(settings),
        compact=compact,
        decide=build_decide_job(settings),
        plan=build_plan_job(settings),
        refold=build_refold_job(settings),
        schedule=dg.ScheduleDefinition(
            name=f"{compact.name}_daily",
            job=compact,
            cron_schedule="17 2 * * *",
            execution_timezone="UTC",
        ),
    )


def _asset_job(
    settings: PipelineSettings, job: naming.Job, key: list[str], tags: dict[str, str]
) -> UnresolvedAssetJobDefinition:
    what = {
        "sync": "Read the source's log up to now and merge every table it touches.",
        "snapshot": "Load every table that is new or needs a snapshot, or one chosen partition.",
    }
    return dg.define_asset_job(
        naming.job_name(settings.name, job),
        selection=dg.AssetSelection.assets(dg.AssetKey(key)).without_checks(),
        description=what[job],
        executor_def=dg.in_process_executor,
        tags=tags,
    )


def _replay_job(settings: PipelineSettings) -> dg.JobDefinition:
    @dg.op(
        name=naming.op_name(settings.name, "replay"),
        out=dg.Out(dg.Nothing),
    )
    def replay(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        from cdc_assets.engine.replay import replay_dirty
        from cdc_assets.events import RunEvents, told
        from cdc_assets.open import opened

        database, _, name = config.table.partition(".")
        table = TableId(database, name) if config.table else None
        with (
            failures(context.retry_number),
            opened(settings, context.run_id, context.log.info) as pipeline,
        ):
            events = RunEvents(context, settings, pipeline, settings.pipeline.report_interval)
            for report in replay_dirty(pipeline, table):
                context.log.info(
                    f"{told(report)}: {report.upserted} rows put back, {report.deleted} deleted, "
                    f"{report.dirty} refused again"
                )
                events.add(report)
            events.finish()
            if events.stopped:
                raise stopped_failure(events.stopped)

    @dg.job(
        name=naming.job_name(settings.name, "replay"),
        description="Try every open dirty row again, without overwriting newer rows.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: settings.name},
    )
    def job() -> None:
        replay()

    return job


def _compact_job(settings: PipelineSettings) -> dg.JobDefinition:
    @dg.op(
        name=naming.op_name(settings.name, "compact"),
        out=dg.Out(dg.Nothing),
    )
    def compact(context: dg.OpExecutionContext) -> None:
        from cdc_assets.open import opened
        from cdc_assets.retention import compact_log

        with (
            failures(context.retry_number),
            opened(settings, context.run_id, context.log.info) as pipeline,
        ):
            compact_log(settings, pipeline, time.time())
            verdicts.report_continuity(context.instance, settings, pipeline, full=True)

    @dg.job(
        name=naming.job_name(settings.name, "compact"),
        description="Write closed windows of the change log as Parquet, and delete what is older "
        "than its retention.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: settings.name},
    )
    def job() -> None:
        compact()

    return job
