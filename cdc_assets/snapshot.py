"""The snapshot asset of a pipeline: one dynamic partition per source table.

In: settings. Out: an assets definition. A run of chosen partitions loads those tables; a run
without any loads every table that is new or needs a snapshot.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from cdc_assets import inventory, naming
from cdc_assets.failures import failure_of, failures
from cdc_assets.members import for_each_member
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.specs import PIPELINE_TAG, has_snapshot, snapshot_spec, table_partitions
from resources.errors import CdcError, ConfigError, TerminalError, TransientError
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline

Context: TypeAlias = dg.AssetExecutionContext | dg.OpExecutionContext
"""Of an op, whether it stands behind assets or a job."""


def build_snapshot(settings: PipelineSettings) -> dg.AssetsDefinition:
    """Return `<pipeline>/snapshot`."""

    @dg.multi_asset(
        name=naming.op_name(settings.name, "snapshot"),
        specs=[
            snapshot_spec(settings).replace_attributes(partitions_def=table_partitions(settings))
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def snapshot(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        keys = context.partition_keys if context.has_partition_key else None
        with failures(context.retry_number):
            load_source(context, settings, keys)
        yield from ()

    return snapshot


def build_snapshots_job(file: PipelineFile) -> dg.JobDefinition:
    """Return the job that loads what is new on every source of a file.

    It is made of an op: a job of assets has one kind of partitions, here each source has its own.
    """

    @dg.op(name=naming.op_name(file.name, "snapshot"), out=dg.Out(dg.Nothing))
    def snapshots(context: dg.OpExecutionContext) -> None:
        def work(settings: PipelineSettings) -> None:
            if has_snapshot(settings):
                load_source(context, settings)

        for_each_member(context, file, work)

    @dg.job(
        name=naming.job_name(file.name, "snapshot"),
        description=f"Of every source of {file.name}, one failing none of the others: load every "
        "table that is new or needs a snapshot.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        snapshots()

    return job


def load_source(
    context: Context, settings: PipelineSettings, partitions: Sequence[str] | None = None
) -> None:
    """Load tables of one source.

    Args:
        context: Of the running op.
        settings: The source's pipeline.
        partitions: Partition keys of the tables; all that are new or need it if None.

    Raises:
        CdcError: The source is not ready, or it, the sink or the state store went away.
        dagster.Failure: Tables failed; those that did not are loaded.
    """
    from cdc_assets.open import opened
    from cdc_assets.preflight import require_ready, unfit_tables
    from cdc_assets.protection import find_unprotected

    with opened(settings, context.run.run_id, context.log.info) as pipeline:
        findings = pipeline.source.check()
        require_ready(pipeline, findings)
        if partitions is not None:
            tables = sorted(naming.table_of_partition(key) for key in partitions)
        else:
            tables = unloaded_tables(context.instance, settings, pipeline)
            context.log.info(f"{len(tables)} tables have to be loaded")
            if tables:
                for warning in find_unprotected(settings, pipeline):
                    context.log.warning(warning)
        load_tables(context, settings, pipeline, tables, unfit_tables(findings))


def unloaded_tables(
    instance: dg.DagsterInstance, settings: PipelineSettings, pipeline: "Pipeline"
) -> list[TableId]:
    """Return the tables on the source that are new or need a snapshot, as partitions the UI knows.

    Tables that follow the log or were stopped are left to the user.
    """
    # Where change logs take no loads, tables kept so begin with the log and have no snapshot.
    tables = [t for t in pipeline.source.list_tables() if pipeline.options.is_loaded(t)]
    add_partitions(instance, settings, tables)
    inventory.save_inventory(settings, tables)
    pipeline.tables.register(tables)
    states = pipeline.tables.all()
    done = {s.table for s in pipeline.snapshots.list_snapshots("done")}
    again = {t for t in tables if states[t].status == "needs_snapshot"}
    return [t for t in tables if t in again or (states[t].status == "new" and t not in done)]


def add_partitions(
    instance: dg.DagsterInstance, settings: PipelineSettings, tables: Sequence[TableId]
) -> list[str]:
    """Make sure every table has its partition; returns the keys that were added."""
    name = naming.table_partitions_name(settings.name)
    known = set(instance.get_dynamic_partitions(name))
    missing = [k for k in map(naming.table_partition, tables) if k not in known]
    if missing:
        instance.add_dynamic_partitions(name, missing)
    return missing


def load_tables(
    context: Context,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    tables: Sequence[TableId],
    unfit: Mapping[TableId, ConfigError],
) -> None:
    """Load tables one after the other; one that fails does not keep the others from it.

    Args:
        context: Of the running op.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        tables: Those to load.
        unfit: Tables that cannot be loaded, and why; they are skipped and named at the end.

    Raises:
        dagster.Failure: Tables failed; those that did not are loaded.
        TransientError: The source or the sink went away.
    """
    from cdc_assets.engine.run import run_snapshot
    from cdc_assets.snapshot_events import report_copy

    failed: list[tuple[TableId, CdcError]] = []
    for number, table in enumerate(tables, 1):
        context.log.info(f"{table}: loading ({number} of {len(tables)})")
        try:
            if table in unfit:
                raise unfit[table]
            copied, merged = run_snapshot(pipeline, table)
        except TransientError:
            raise
        except CdcError as error:
            context.log.error(f"{table}: {error}")
            failed.append((table, error))
            continue
        report_copy(context, settings, pipeline, copied, merged)
        stopped = [report.reason for report in merged if report.outcome == "stopped"]
        if stopped:
            failed.append((table, TerminalError("; ".join(stopped))))
    if len(tables) == 1 and failed:
        raise failure_of(failed[0][1]) from failed[0][1]
    if failed:
        raise dg.Failure(
            description=f"{len(failed)} of {len(tables)} tables were not loaded:\n"
            + "\n".join(f"{table}: {error}" for table, error in failed),
            metadata={str(table): str(error) for table, error in failed},
            allow_retries=False,
        )
