"""A plan -> what Dagster takes from a tick.

In: decisions of `plan`. Out: sensor results and sensors; the one place that makes run requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import dagster as dg

from cdc_assets import naming
from resources.errors import TransientError
from sensors.plan import Ask, Cursor, Plan, plan_unreachable, read_cursor

Job: TypeAlias = "dg.JobDefinition | dg.ExecutableDefinition"
"""A job or an unresolved asset job."""


def build_sensor(
    name: str,
    description: str,
    jobs: Sequence[Job],
    interval: float,
    evaluate: Callable[[dg.SensorEvaluationContext, Cursor], dg.SensorResult],
) -> dg.SensorDefinition:
    """Return a sensor that is stopped until somebody starts it.

    A server that is away for a few ticks skips them; after that ticks fail, for all to see.

    Args:
        name: Its name.
        description: What it watches.
        jobs: The jobs it may ask for.
        interval: Seconds between ticks.
        evaluate: Looks and decides.
    """

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = read_cursor(context.cursor)
        try:
            return evaluate(context, cursor)
        except TransientError as error:
            plan = plan_unreachable(cursor, str(error).splitlines()[0])
            if plan is None:
                raise
            return skipped(plan)

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        jobs=jobs,
        minimum_interval_seconds=max(5, round(interval)),
        description=description,
        default_status=dg.DefaultSensorStatus.STOPPED,
    )


def skipped(
    plan: Plan, partitions: Sequence[dg.AddDynamicPartitionsRequest] = ()
) -> dg.SensorResult:
    """Return the result of a tick that asks for no run.

    Args:
        plan: What was decided.
        partitions: Added all the same.
    """
    return dg.SensorResult(
        skip_reason=plan.skip,
        cursor=plan.cursor.to_text(),
        dynamic_partitions_requests=list(partitions),
    )


def asked(
    plan: Plan,
    job: naming.Job,
    tags: dict[str, str] | None = None,
    partitions: Sequence[dg.AddDynamicPartitionsRequest] = (),
) -> dg.SensorResult:
    """Return the result of a tick that asks for runs, or for none.

    Args:
        plan: What was decided.
        job: The job of every run.
        tags: Put on every run.
        partitions: Added in the same tick, before the runs need them.
    """
    if not plan.asks:
        return skipped(plan)
    return dg.SensorResult(
        run_requests=[_request(ask, job, tags or {}) for ask in plan.asks],
        cursor=plan.cursor.to_text(),
        dynamic_partitions_requests=list(partitions),
    )


def _request(ask: Ask, job: naming.Job, tags: dict[str, str]) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=ask.key,
        job_name=naming.job_name(ask.pipeline, job),
        partition_key=ask.partition or None,
        tags=tags,
    )
