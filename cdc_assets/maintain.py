"""The upkeep job: small files of the target tables are joined, old ones deleted.

In: a pipeline file whose sink wants upkeep (lake formats). Out: a job, and its daily schedule once
somebody starts it. Readers and syncs may go on meanwhile.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Mapping, Sequence

import dagster as dg

from cdc_assets import naming
from cdc_assets.members import for_each_sink
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.settings_iceberg import IcebergSinkSettings
from cdc_assets.settings_lake import DeltaSinkSettings, ParquetSinkSettings
from cdc_assets.settings_paimon import PaimonSinkSettings
from cdc_assets.specs import PIPELINE_TAG

_LAKES = (DeltaSinkSettings, IcebergSinkSettings, PaimonSinkSettings, ParquetSinkSettings)


def build_maintain_job(file: PipelineFile) -> dg.JobDefinition | None:
    """Return `<pipeline>_maintain`, None where all sinks look after their tables themselves."""
    if not any(isinstance(member.sink, _LAKES) for member in file.members()):
        return None

    @dg.op(name=naming.op_name(file.name, "maintain"), out=dg.Out(dg.Nothing))
    def maintain(context: dg.OpExecutionContext) -> None:
        for_each_sink(context, file, lambda members: maintain_tables(context, members))

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


def maintain_tables(context: dg.OpExecutionContext, members: Sequence[PipelineSettings]) -> None:
    """Do the upkeep of every table the pipeline has written to a sink, and say what was done.

    Args:
        context: Of the running op.
        members: The members of the file that fill the sink.

    Raises:
        CdcError: The sink cannot be reached, or a table is not the pipeline's any more.
    """
    from cdc_assets.connect import sink_opener
    from resources.sinks.maintenance import Maintained, Upkeep

    total = Upkeep()
    done = set()
    for settings in members:
        if not isinstance(settings.sink, _LAKES):
            return
        with sink_opener(settings.resolve())() as sink:
            if not isinstance(sink, Maintained):
                return
            for target in sorted({t for t, _ in sink.list_watermarks(settings.log_name)}):
                if target in done:
                    continue
                done.add(target)
                upkeep = sink.maintain(target, settings.sink.history)
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
        sink_shown(
            members[0],
            {
                "tables": len(done),
                "files joined": total.joined,
                "files written": total.written,
                "files deleted": total.deleted,
            },
        )
    )


def sink_shown(settings: PipelineSettings, metadata: Mapping[str, object]) -> dict[str, object]:
    """Return metadata under the sink's name, where a file has several."""
    name = settings.sink_name
    return {f"{name}: {key}" if name else key: value for key, value in metadata.items()}
