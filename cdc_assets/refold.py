"""The refold job: targets filled again from the change log, by rules that were edited.

In: run config that names tables, or none. Out: targets by the rules of the pipeline file.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from cdc_assets import naming
from cdc_assets.failures import stopped_failure
from cdc_assets.members import ONLY_SINK, ONLY_SOURCE, for_each_member
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.specs import PIPELINE_TAG

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.model.table_id import TableId


class RefoldConfig(dg.Config):
    """Run config of a refold."""

    table: str = Field(
        default="",
        description="Source tables of this pattern, `shop.orders`; if left out, every table that "
        "waits since its rules were edited and whose rows the change log has.",
    )
    source: str = Field(default="", description=ONLY_SOURCE)
    sink: str = Field(default="", description=ONLY_SINK)


def build_refold_job(file: PipelineFile) -> dg.JobDefinition:
    """Return `<pipeline>_refold`."""

    @dg.op(name=naming.op_name(file.name, "refold"), out=dg.Out(dg.Nothing))
    def refold(context: dg.OpExecutionContext, config: RefoldConfig) -> None:
        from cdc_assets.engine.refold import refold_table
        from cdc_assets.events import RunEvents, told
        from cdc_assets.open import opened

        def work(settings: PipelineSettings) -> None:
            with opened(settings, context.run_id, context.log.info) as pipeline:
                events = RunEvents(context, settings, pipeline, settings.pipeline.report_interval)
                tables = tables_to_refold(pipeline, config.table)
                context.log.info(f"{len(tables)} tables are folded again from the change log")
                for table in tables:
                    for report in refold_table(pipeline, table):
                        context.log.info(f"{told(report)}: {report.outcome} {report.reason}")
                        events.add(report)
                events.finish()
                if events.stopped:
                    raise stopped_failure(events.stopped)

        for_each_member(context, file, work, config.source, config.sink)

    @dg.job(
        name=naming.job_name(file.name, "refold"),
        description="Fill targets again from the change log by rules that were edited: tables of "
        "which it has every row. Others are read again by their snapshot partition.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        refold()

    return job


def tables_to_refold(pipeline: "Pipeline", pattern: str) -> "list[TableId]":
    """Return the tables a config means; those that cannot be folded only if they are named."""
    from cdc_assets.engine.configs import changed_configs, log_is_whole
    from resources.model.patterns import matches

    if pattern:
        return [table for table in pipeline.tables.all() if matches(pattern, table)]
    edited = {route.table for route, _ in changed_configs(pipeline)}
    return sorted(table for table in edited if log_is_whole(pipeline, table))
