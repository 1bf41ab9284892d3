"""The upkeep job: small files of the target tables are joined, old ones deleted.

In: a pipeline file whose sink wants upkeep (lake formats). Out: a job, and its daily schedule once
somebody starts it. Readers and syncs may go on meanwhile.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import dagster as dg

from cdc_assets import naming
from cdc_assets.failures import failures
from cdc_assets.settings import PipelineFile
from cdc_assets.settings_iceberg import IcebergSinkSettings
from cdc_assets.settings_lake import DeltaSinkSettings, ParquetSinkSettings
from cdc_assets.specs import PIPELINE_TAG

_LAKES = (DeltaSinkSettings, IcebergSinkSettings, ParquetSinkSettings)


def build_maintain_job(file: PipelineFile) -> dg.JobDefinition | None:
    """Return `<pipeline>_maintain`, None where the sink looks after its tables itself."""
    if not isinstance(file.sink, _LAKES):
        return None

    @dg.op(name=naming.op_name(file.name, "maintain"), out=dg.Out(dg.Nothing))
    def maintain(context: dg.OpExecutionContext) -> None:
        with failures(context.retry_number):
            maintain_tables(context, file)

    @dg.job(
        name=naming.job_name(file.name, "maintain"),
        description="Join the small files of the target tables, and delete files that no version "
        "younger than the sink's `history` needs.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        maintain()

    return job


def maintain_tables(context: dg.OpExecutionContext, file: PipelineFile) -> None:
    """Do the upkeep of every table the pipeline has written to, and say what was done.

    Raises:
        CdcError: The sink cannot be reached, or a table is not the pipeline's any more.
    """
    from cdc_assets.connect import sink_opener
    from resources.sinks.maintenance import Maintained, Upkeep

    total = Upkeep()
    done = set()
    for settings in file.members():
        with sink_opener(settings.resolve())() as sink:
            if not isinstance(sink, Maintained) or not isinstance(file.sink, _LAKES):
                continue
            for target in sorted({target for target, _ in sink.list_watermarks(settings.name)}):
                if target in done:
                    continue
                done.add(target)
                upkeep = sink.maintain(target, file.sink.history)
                context.log.info(
                    f"{target}: {upkeep.joined} files joined into {upkeep.written}, "
                    f"{upkeep.deleted} deleted"
                )
                total = Upkeep(
                    total.joined + upkeep.joined,
                    total.written + upkeep.written,
                    total.deleted + upkeep.deleted,
                )
    context.add_output_metadata(
        {
            "tables": len(done),
            "files joined": total.joined,
            "files written": total.written,
            "files deleted": total.deleted,
        }
    )
