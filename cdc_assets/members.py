"""The sources of a pipeline file in the asset graph and in jobs: usually one, sometimes several.

In: a pipeline file. Out: each source's settings and known targets, which sources feed which target,
and work done for one source after the other, of which none holds up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from cdc_assets import naming
from cdc_assets.failures import failures
from cdc_assets.inventory import Inventory, load_inventory
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.settings_language import build_router
from cdc_assets.targets import Targets, find_targets
from resources.errors import ConfigError

if TYPE_CHECKING:
    from resources.model.table_id import TableId
    from resources.stores.database import StateDatabase
    from resources.stores.dirty_rows import DirtyRowStore
    from resources.stores.schema_changes import SchemaChangeStore
    from resources.stores.table_states import TableStateStore

Feeds = Sequence[tuple[PipelineSettings, "tuple[TableId, ...]"]]
"""The sources that feed a target, each with its tables."""
ONLY_SOURCE = "Only this one of the file's `sources`; empty for all of them."
"""What run configs say of their `source`."""


@dataclass(frozen=True)
class Member:
    """One source of a file, as far as it is known without asking anybody.

    Args:
        settings: Its pipeline.
        known: Tables and windows.
        targets: The targets of these tables.
    """

    settings: PipelineSettings
    known: Inventory
    targets: Targets


def load_members(file: PipelineFile) -> list[Member]:
    """Return the sources of a file.

    Raises:
        ConfigError: Two routes send a table to the same target, or two sources meet in a target
            that is not shared.
    """
    members = []
    for settings in file.members():
        known = load_inventory(settings)
        targets = find_targets(build_router(settings), known.tables, file.file)
        members.append(Member(settings, known, targets))
    _require_shared(members)
    return members


def feeds_of(members: Iterable[Member]) -> dict[TableId, Feeds]:
    """Return every target with the sources that feed it, sorted by target."""
    found: dict[TableId, list[tuple[PipelineSettings, tuple[TableId, ...]]]] = {}
    for member in members:
        for target, tables in member.targets.feeds.items():
            found.setdefault(target, []).append((member.settings, tables))
    return dict(sorted(found.items()))


def first_window(members: Iterable[Member]) -> str:
    """Return the partition key of the oldest window of a file's change logs, empty if unknown."""
    return min((m.known.first_window for m in members if m.known.first_window), default="")


def other_feeds(
    settings: PipelineSettings, db: StateDatabase
) -> Mapping[str, Mapping[str, list[TableId]]]:
    """Return what the other sources of a file have fed, as the state store remembers it.

    Returns:
        By target in words, the tables by the name of their pipeline.
    """
    from resources.stores.feeds import FeedStore

    found: dict[str, dict[str, list[TableId]]] = {}
    for member in settings.whole.members():
        if member.name != settings.name:
            for table, target in sorted(FeedStore(db, member.name).configs()):
                found.setdefault(target, {}).setdefault(member.name, []).append(table)
    return found


@dataclass(frozen=True)
class SourceState:
    """What the state store knows of a source: as much of its pipeline as verdicts need.

    Args:
        name: The name of its pipeline.
        tables: States of its tables.
        dirty: Its dirty rows.
        changes: Schema changes of its tables.
    """

    name: str
    tables: TableStateStore
    dirty: DirtyRowStore
    changes: SchemaChangeStore


def state_of(name: str, db: StateDatabase) -> SourceState:
    """Return what the state store knows of the pipeline of this name."""
    from resources.stores.dirty_rows import DirtyRowStore
    from resources.stores.schema_changes import SchemaChangeStore
    from resources.stores.table_states import TableStateStore

    return SourceState(
        name, TableStateStore(db, name), DirtyRowStore(db, name), SchemaChangeStore(db, name)
    )


def for_each_source(
    context: dg.OpExecutionContext,
    file: PipelineFile,
    work: Callable[[PipelineSettings], None],
    only: str = "",
) -> None:
    """Do a job's work for every source of a file; one that fails keeps none from it.

    Args:
        context: Of the running op.
        file: The pipeline file.
        work: What is done for each.
        only: The name of one of `sources`; empty for all.

    Raises:
        ConfigError: The file has no such source.
        dagster.Failure: It failed for some source; names each.
    """
    members = chosen_members(file, only)
    if len(members) == 1:
        with failures(context.retry_number):
            work(members[0])
        return
    failed: dict[str, dg.Failure] = {}
    for settings in members:
        source = naming.source_of(settings.name)
        context.log.info(f"source {source}")
        try:
            with failures():
                work(settings)
        except dg.Failure as failure:
            context.log.error(f"source {source}: {failure.description}")
            failed[source] = failure
    raise_failed(failed, len(members))


def chosen_members(file: PipelineFile, only: str) -> Sequence[PipelineSettings]:
    """Return the pipelines of a file's sources, or of the one that is named.

    Raises:
        ConfigError: The file has no such source.
    """
    members = file.members()
    if not only:
        return members
    chosen = [m for m in members if naming.source_of(m.name) == only]
    if not chosen:
        names = ", ".join(file.sources) or "none: it has one source"
        raise ConfigError(
            f"`{only}` is not one of the sources of {file.name}",
            where="run config",
            remedy=f"leave `source` out, or name one of them: {names}",
        )
    return chosen


def raise_failed(failed: Mapping[str, dg.Failure], sources: int) -> None:
    """Fail a run for those of its sources that failed, if any.

    Args:
        failed: By name of the source.
        sources: How many there were.

    Raises:
        dagster.Failure: Names each and why.
    """
    if not failed:
        return
    lines = [f"{source}: {failure.description}" for source, failure in failed.items()]
    raise dg.Failure(
        description=f"{len(failed)} of {sources} sources failed, the others went on:\n"
        + "\n".join(lines),
        metadata={source: str(failure.description) for source, failure in failed.items()},
        allow_retries=False,
    )


def shown_for(settings: PipelineSettings, metadata: Mapping[str, object]) -> dict[str, object]:
    """Return metadata under the source's name, where a file has several."""
    source = naming.source_of(settings.name)
    return {f"{source}: {key}" if source else key: value for key, value in metadata.items()}


def _require_shared(members: Sequence[Member]) -> None:
    """Refuse tables of two sources that meet in a target no rule merges."""
    first: dict[TableId, tuple[PipelineSettings, TableId]] = {}
    for member in members:
        router = build_router(member.settings)
        for target, tables in member.targets.feeds.items():
            other, theirs = first.setdefault(target, (member.settings, tables[0]))
            routes = (route for table in tables for route in router.routes(table))
            alone = [r.table for r in routes if r.target == target and not r.shared]
            if other is not member.settings and alone:
                raise ConfigError(
                    f"{alone[0]} of {naming.source_of(member.settings.name)} and {theirs} of "
                    f"{naming.source_of(other.name)} would both be {target}",
                    where=other.file,
                    remedy="say `merge: true` on their routes, or write {source} in the target",
                )
