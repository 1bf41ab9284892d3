"""The plan job: what the pipeline file as it is now would do, before it does anything.

In: settings. Out: a job that says it in its log and on its run's page.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import dagster as dg

from cdc_assets import naming
from cdc_assets.inventory import build_selector
from cdc_assets.members import for_each_member, shown_for
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.specs import PIPELINE_TAG


def build_plan_job(file: PipelineFile) -> dg.JobDefinition:
    """Return `<pipeline>_plan`."""

    @dg.op(name=naming.op_name(file.name, "plan"), out=dg.Out(dg.Nothing))
    def plan(context: dg.OpExecutionContext) -> None:
        for_each_member(context, file, lambda settings: say_plan(context, settings))

    @dg.job(
        name=naming.job_name(file.name, "plan"),
        description="Say what the pipeline file as it is now would do: tables that are new or no "
        "longer selected, targets that are read again or folded again, changes that are held. "
        "Changes nothing.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        plan()

    return job


def say_plan(context: dg.OpExecutionContext, settings: PipelineSettings) -> None:
    """Say what one source's pipeline would do, in the log and on the run's page.

    Raises:
        CdcError: The source, the sink or the state store cannot be asked.
    """
    from cdc_assets.engine.sharing import predecessor
    from cdc_assets.held import held_readers, held_report
    from cdc_assets.open import opened
    from cdc_assets.planning import plan_file
    from cdc_assets.planning_facts import gather_facts
    from cdc_assets.planning_words import plan_words
    from cdc_assets.protection import find_unprotected
    from cdc_assets.targets import find_targets

    with opened(settings, context.run_id, context.log.info, joins=False) as pipeline:
        before = predecessor(pipeline)
        if before is not None:
            pipeline.know_as(before)
        found = plan_file(gather_facts(pipeline, build_selector(settings)))
        unprotected = find_unprotected(settings, pipeline)
        held = pipeline.changes.held()
        targets = find_targets(pipeline.options.router, pipeline.tables.all()).feeds
        readers = held_readers(context, settings, targets)
        text = plan_words(settings.name, found, unprotected)
        if before is not None:
            text = f"{settings.name} goes on with the state of {before}.\n\n{text}"
        decisions = held_report(settings.name, held, readers)
    context.log.info(f"{text}\n\n{decisions}")
    shown = {
        "plan": dg.MetadataValue.md(text),
        "held changes": dg.MetadataValue.md(decisions),
        "new": len(found.new),
        "edited": len(found.edited),
        "no longer selected": len(found.left),
    }
    context.add_output_metadata(shown_for(settings, shown))
