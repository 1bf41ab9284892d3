"""The decide job: a person says what becomes of schema changes that are held.

In: run config with a decision, its reason and what it is about. Out: the decision in the state
store, and the tables concerned merged at once; or a list of what waits.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import getpass
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal

import dagster as dg
from pydantic import Field

from cdc_assets import naming
from cdc_assets.failures import failures, stopped_failure
from cdc_assets.members import ONLY_SINK, ONLY_SOURCE, chosen_members, for_each_member, shown_for
from cdc_assets.settings import PipelineFile, PipelineSettings, state_url
from cdc_assets.specs import PIPELINE_TAG
from resources.errors import ConfigError

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.stores.schema_changes import SchemaChange

USER_TAGS = ("cdc/who", "user", "dagster/user")
"""Tags of a run that may say who started it."""
_STATES: Mapping[str, Literal["applied", "skipped", "replaced"]] = {
    "apply": "applied",
    "skip": "skipped",
    "replace": "replaced",
}


class DecideConfig(dg.Config):
    """Run config of a decision."""

    decision: Literal["list", "apply", "skip", "replace"] = Field(
        default="list",
        description="`list` shows what is held and decides nothing. `apply` makes the change in "
        "the target. `skip` leaves the target as it is. `replace` runs `ddl` in its place.",
    )
    change: int = Field(
        default=0,
        ge=0,
        description="The id of one change, as `list` and the table's page show it; 0 for none.",
    )
    table: str = Field(
        default="",
        description="In place of `change`: every held change of the source tables of this "
        "pattern, `shop.orders` or `shop_*.orders`.",
    )
    ddl: str = Field(
        default="",
        description="With `replace`: the statements the target gets, in the sink's own language, "
        "separated by semicolons.",
    )
    source: str = Field(default="", description=ONLY_SOURCE)
    sink: str = Field(default="", description=ONLY_SINK)
    why: str = Field(default="", description="The reason, kept with the decision. Required.")
    who: str = Field(
        default="",
        description="Who decides; the user of the run's tags, or of the process, if left out.",
    )


def build_decide_job(file: PipelineFile) -> dg.JobDefinition:
    """Return `<pipeline>_decide`."""

    @dg.op(name=naming.op_name(file.name, "decide"), out=dg.Out(dg.Nothing))
    def decide(context: dg.OpExecutionContext, config: DecideConfig) -> None:
        from cdc_assets.open import opened

        with failures(context.retry_number):
            chosen = {
                settings.name: _chosen(settings, config)
                for settings in chosen_members(file, config.source, config.sink)
            }
            if config.decision != "list" and not any(chosen.values()):
                raise nothing_held(config, file.name)

        def work(settings: PipelineSettings) -> None:
            with opened(settings, context.run_id, context.log.info) as pipeline:
                if config.decision == "list":
                    list_held(context, settings, pipeline, pipeline.changes.held())
                elif chosen[settings.name]:
                    decide_changes(context, settings, pipeline, config, chosen[settings.name])

        for_each_member(context, file, work, config.source, config.sink)

    @dg.job(
        name=naming.job_name(file.name, "decide"),
        description="List the schema changes that are held, or decide about them: apply, skip or "
        "replace. The tables concerned go on at once.",
        executor_def=dg.in_process_executor,
        tags={PIPELINE_TAG: file.name},
    )
    def job() -> None:
        decide()

    return job


def list_held(
    context: dg.OpExecutionContext,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    held: "Sequence[SchemaChange]",
) -> None:
    """Show what is held, in the log and on the run's page."""
    from cdc_assets.held import held_readers, held_report
    from cdc_assets.targets import find_targets

    targets = find_targets(pipeline.options.router, pipeline.tables.all()).feeds
    text = held_report(pipeline.name, held, held_readers(context, settings, targets))
    context.log.info(text)
    shown = {"held": len(held), "held changes": dg.MetadataValue.md(text)}
    context.add_output_metadata(shown_for(settings, shown))


def decide_changes(
    context: dg.OpExecutionContext,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    config: DecideConfig,
    chosen: "Sequence[SchemaChange]",
) -> None:
    """Keep the decision about what the config means, and merge the tables concerned.

    Raises:
        dagster.Failure: A table stopped; the decision is kept.
    """
    from cdc_assets.engine.run import run_tables
    from cdc_assets.events import RunEvents, told

    who = config.who or run_user(context.run.tags)
    for change in chosen:
        state = _STATES[config.decision]
        if pipeline.changes.decide(change.id, state, who, config.why, config.ddl):
            context.log.info(f"change {change.id} of {change.table}: {state} by {who}")
        else:
            context.log.warning(f"change {change.id} was decided by somebody else meanwhile")
    tables = sorted({change.table for change in chosen})
    events = RunEvents(context, settings, pipeline, settings.pipeline.report_interval)
    outcomes: dict[str, str] = {}
    for report in run_tables(pipeline, tables):
        outcomes[told(report)] = f"{report.outcome} {report.reason}".strip()
        context.log.info(f"{told(report)}: {outcomes[told(report)]}")
        events.add(report)
    events.finish()
    left = [change.id for change in pipeline.changes.held() if change.table in tables]
    shown = {
        "decided": ", ".join(str(change.id) for change in chosen),
        "decision": config.decision,
        "who": who,
        "why": config.why,
        "outcomes": outcomes,
        "still held": ", ".join(map(str, left)) or "nothing",
    }
    context.add_output_metadata(shown_for(settings, shown))
    if events.stopped:
        raise stopped_failure(events.stopped)


def choose(config: DecideConfig, held: "Sequence[SchemaChange]") -> "list[SchemaChange]":
    """Return the held changes a config means.

    Raises:
        ConfigError: It says no decision.
    """
    from resources.model.patterns import matches

    problem = _problem(config)
    if problem:
        raise ConfigError(
            problem,
            where="run config",
            remedy="change: 12, decision: apply, why: … ; with table: shop.orders in place of "
            "change for all of its changes, and ddl: … with decision: replace",
        )
    if config.change:
        return [change for change in held if change.id == config.change]
    return [change for change in held if matches(config.table, change.table)]


def nothing_held(config: DecideConfig, name: str) -> ConfigError:
    """Return the error of a config that means no change that is held.

    Args:
        config: The run config.
        name: The pipeline file's name.
    """
    about = f"change {config.change}" if config.change else config.table
    return ConfigError(
        f"nothing is held for {about}",
        where="run config",
        remedy=f"run {naming.job_name(name, 'decide')} without config: it lists what is",
    )


def _chosen(settings: PipelineSettings, config: DecideConfig) -> "Sequence[SchemaChange]":
    """Return the held changes of one source that a config decides about."""
    from resources.stores.database import StateDatabase
    from resources.stores.schema_changes import SchemaChangeStore

    if config.decision == "list":
        return ()
    with closing(StateDatabase(state_url())) as db:
        return choose(config, SchemaChangeStore(db, settings.name).held())


def run_user(tags: Mapping[str, str]) -> str:
    """Return who started a run, as far as its tags or its process tell."""
    for tag in USER_TAGS:
        if tags.get(tag):
            return tags[tag]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _problem(config: DecideConfig) -> str:
    if bool(config.change) == bool(config.table):
        return "a decision is about a `change` or about a `table`, one of both"
    if not config.why.strip():
        return "a decision needs its reason in `why`"
    if (config.decision == "replace") != bool(config.ddl.strip()):
        return "`ddl` is what `replace` runs: give both or neither"
    return ""
