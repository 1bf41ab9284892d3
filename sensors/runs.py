"""What a sensor asks Dagster: how the newest run of a job is doing.

In: the instance. Out: plain values for `plan`.
"""

from __future__ import annotations

import dagster as dg

from cdc_assets import naming
from sensors.plan import LastRun

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def last_run(instance: dg.DagsterInstance, job: str, *, partitioned: bool | None = None) -> LastRun:
    """Return the newest run of a job, one that is queued or started before all others.

    Args:
        instance: The Dagster instance.
        job: The job's name.
        partitioned: Only runs with (or without) a partition; None for both.
    """
    flying = instance.get_runs(dg.RunsFilter(job_name=job, statuses=IN_FLIGHT))
    if any(_wanted(run, partitioned) for run in flying):
        return LastRun("in_flight")
    records = instance.get_run_records(dg.RunsFilter(job_name=job), limit=10)
    for record in records:
        if _wanted(record.dagster_run, partitioned):
            failed = record.dagster_run.status == dg.DagsterRunStatus.FAILURE
            return LastRun("failed" if failed else "succeeded", record.end_time or 0.0)
    return LastRun()


def last_of(
    instance: dg.DagsterInstance, pipeline: str, job: naming.Job, *, partitioned: bool | None = None
) -> LastRun:
    """Return the newest run of a pipeline's job.

    A queued or started run of all sources of its file counts; one that failed does not: it may
    have been another source that failed it.
    """
    mine, together = (naming.job_name(n, job) for n in (pipeline, naming.file_of(pipeline)))
    if together != mine:
        all_sources = last_run(instance, together, partitioned=partitioned)
        if all_sources.state == "in_flight":
            return all_sources
    return last_run(instance, mine, partitioned=partitioned)


def _wanted(run: dg.DagsterRun, partitioned: bool | None) -> bool:
    return partitioned is None or partitioned == ("dagster/partition" in run.tags)
