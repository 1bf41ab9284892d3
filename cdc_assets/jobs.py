"""The jobs and the schedule of a pipeline file.

In: settings. Out: definitions. Every job runs its one step in its own process: a process per step
costs seconds and brings nothing here.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)
from pydantic import Field

from cdc_assets import naming, verdicts
from cdc_assets.decide import build_decide_job
from cdc_assets.failures import stopped_failure
from cdc_assets.maintain import build_maintain_job
from cdc_assets.members import ONLY_SINK, ONLY_SOURCE, for_each_log, for_each_member
from cdc_assets.plan_job import build_plan_job
from cdc_assets.refold import build_refold_job
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.snapshot import build_snapshots_job
from cdc_assets.specs import PIPELINE_TAG, SNAPSHOT_TAG, has_snapshot, run_tags
from cdc_assets.sync import build_sync_op
from resources.model.table_id import TableId

_WHAT = {
    "sync": "Read the source's log up to now and merge every table it touches.",
    "snapshot": "Load every table that is new or needs a snapshot, or one chosen partition.",
}


class ReplayConfig(dg.Config):
    """Run config of a replay."""

    table: str = Field(default="", description="Only this table, `database.table`; empty for all.")
    source: str = Field(default="", description=ONLY_SOURCE)
    sink: str = Field(default="", description=ONLY_SINK)


@dataclass(frozen=True)
class MemberJobs:
    """The jobs of one source and sink.

    Args:
        sync: Reads the log and merges.
        snapshot: Loads tables; None if history comes through the log.
    """

    sync: dg.JobDefinition | UnresolvedAssetJobDefinition
    snapshot: UnresolvedAssetJobDefinition | None


@dataclass(frozen=True)
class PipelineJobs:
    """The jobs of one pipeline file.

    Args:
        members: Those of every source and sink, by the name of its pipeline.
        together: Where there are several, those for all of them.
        replay: Puts dirty rows back.
        compact: Compacts the change log and applies retention.
        decide: Decides about schema changes that are held.
        plan: Says what the pipeline file as it is now would do.
        refold: Fills targets again from the change log.
        maintain: Looks after the target tables' files; None where the sink does.
        schedule: Runs `compact` daily, once somebody starts it.
    """

    members: Mapping[str, MemberJobs]
    together: tuple[dg.JobDefinition | UnresolvedAssetJobDefinition, ...]
    replay: dg.JobDefinition
    compact: dg.JobDefinition
    decide: dg.JobDefinition
    plan: dg.JobDefinition
    refold: dg.JobDefinition
    maintain: dg.JobDefinition | None
    schedule: dg.ScheduleDefinition

    def all(self) -> list[dg.JobDefinition | UnresolvedAssetJobDefinition]:
        """Return every job."""
        found: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = list(self.together)
        for jobs in self.members.values():
            found += [jobs.sync] if jobs.snapshot is None else [jobs.sync, jobs.snapshot]
        found += [self.replay, self.compact, self.decide, self.plan, self.refold]
        return [*found, self.maintain] if self.maintain is not None else found

    def schedules(self) -> list[dg.ScheduleDefinition]:
        """Return every schedule; each is stopped until somebody starts it."""
        return [self.schedule, *([] if self.maintain is None else [daily(self.maintain, 47)])]


def build_jobs(file: PipelineFile) -> PipelineJobs:
    """Return the jobs of a pipeline file."""
    members = file.members()
    compact = _compact_job(file)
    syncs = {m.name: build_sync_op(m) for m in members} if file.sinks else {}
    return PipelineJobs(
        members={m.name: _member_jobs(m, syncs.get(m.name)) for m in members},
        together=_together(file, members, list(syncs.values())) if file.several else (),
        replay=_replay_job(file),
        compact=compact,
        decide=build_decide_job(file),
        plan=build_plan_job(file),
        refold=build_refold_job(file),
        maintain=build_maintain_job(file),
        schedule=daily(compact, 17),
    )


def daily(job: dg.JobDefinition, minute: int) -> dg.ScheduleDefinition:
    """Return a schedule that runs a job every night, that many minutes after two."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_daily",
        job=job,
        cron_schedule=f"{minute} 2 * * *",
        execution_timezone="UTC",
    )


def _member_jobs(settings: PipelineSettings, sync: dg.OpDefinition | None) -> MemberJobs:
    name, snapshot = settings.name, None
    if has_snapshot(settings):
        tags = {PIPELINE_TAG: naming.file_of(name), SNAPSHOT_TAG: name}
        key = naming.snapshot_key(settings.log_name, settings.sink_name)
        snapshot = _asset_job(name, "snapshot", [key], tags)
    if sync is not None:
        job = _sync_job(name, [sync], run_tags(settings), dg.in_process_executor)
        return MemberJobs(job, snapshot)
    keys = [naming.changes_key(settings.log_name)]
    return MemberJobs(_asset_job(name, "sync", keys, run_tags(settings)), snapshot)


def _sync_job(
    name: str,
    syncs: Sequence[dg.OpDefinition],
    tags: dict[str, str],
    executor: dg.ExecutorDefinition,
) -> dg.JobDefinition:
    """Return a job that syncs sinks, each by an op that waits for no other."""
    every = f"Of every sink of {name}, one failing none of the others: " if len(syncs) > 1 else ""

    @dg.job(
        name=naming.job_name(name, "sync"),
        description=every + _WHAT["sync"],
        executor_def=executor,
        tags=tags,
    )
    def job() -> None:
        for sync in syncs:
            sync()

    return job


def _together(
    file: PipelineFile, members: Sequence[PipelineSettings], syncs: Sequence[dg.OpDefinition]
) -> tuple[dg.JobDefinition | UnresolvedAssetJobDefinition, ...]:
    """Return the jobs for all members of a file, sources one after the other.

    Runs that follow would keep the next source waiting: there each source has a process. Sinks
    always have one each, for a slow one keeps no other waiting.
    """
    tags = {PIPELINE_TAG: file.name}
    if syncs:
        every = _sync_job(file.name, syncs, tags, dg.multiprocess_executor)
        return (every, build_snapshots_job(file)) if any(map(has_snapshot, members)) else (every,)
    follows = dg.multiprocess_executor if file.pipeline.follow_for else dg.in_process_executor
    logs = [naming.changes_key(member.log_name) for member in members]
    sync = _asset_job(file.name, "sync", logs, tags, follows)
    return (sync, build_snapshots_job(file)) if any(map(has_snapshot, members)) else (sync,)


def _asset_job(
    name: str,
    job: naming.Job,
    keys: Sequence[list[str]],
    tags: dict[str, str],
    executor: dg.ExecutorDefinition = dg.in_process_executor,
) -> UnresolvedAssetJobDefinition:
    every = f"Of every source of {name}, one failing none of the others: " if len(keys) > 1 else ""
    return dg.define_asset_job(
        naming.job_name(name, job),
        selection=dg.AssetSelection.assets(*map(dg.AssetKey, keys)).without_checks(),
        description=every + _WHAT[job],
        executor_def=executor,
        tags=tags,
    )


def _replay_job(file: PipelineFile) -> dg.JobDefinition:
    @dg.op(
        name=naming.op_name(file.name, "replay"),
        out=dg.Out(dg.Nothing),
    )
    def replay(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        from cdc_assets.engine.replay import replay_dirty
        from cdc_assets.events import RunEvents, told
        from cdc_assets.open import opened

        database, _, name = config.table.partition(".")
        table = TableId(database, name) if config.table else None

        def work(settings: PipelineSettings) -> None:
            with opened(settings, context.run_id, context.log.info) as pipeline:
                events = RunEvents(context, settings, pipeline, settings.pipeline.report_interval)
                for report in replay_dirty(pipeline, table):
                    context.log.info(
                        f"{told(report)}: {report.upserted} rows put back, {report.deleted} "
                        f"deleted, {report.dirty} refused again"
                    )
                    events.add(report)
                events.finish()
                if events.stopped:
                    raise stopped_failure(events.stopped)

        for_each_member(context, file, work, config.source, config.sink)

    @dg.job(
        name=naming.job_name(file.name, "replay"),
        description="Try every open dirty row again, without overwriting newer rows.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        replay()

    return job


def _compact_job(file: PipelineFile) -> dg.JobDefinition:
    @dg.op(
        name=naming.op_name(file.name, "compact"),
        out=dg.Out(dg.Nothing),
    )
    def compact(context: dg.OpExecutionContext) -> None:
        from cdc_assets.open import opened
        from cdc_assets.retention import compact_log

        def work(members: Sequence[PipelineSettings]) -> None:
            with ExitStack() as stack:
                pipelines = [
                    stack.enter_context(opened(m, context.run_id, context.log.info, joins=False))
                    for m in members
                ]
                compact_log(members[0], pipelines, time.time())
                verdicts.report_continuity(context.instance, members[0], pipelines[0], full=True)

        for_each_log(context, file, work)

    @dg.job(
        name=naming.job_name(file.name, "compact"),
        description="Write closed windows of the change log as Parquet, and delete what is older "
        "than its retention.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        compact()

    return job
