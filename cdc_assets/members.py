"""The members of a pipeline file in the asset graph and in jobs: one for each source and sink.

In: a pipeline file. Out: each member's settings and known targets, which sources feed which target,
and work done for one member after the other, of which none holds up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from cdc_assets.failures import failures
from cdc_assets.inventory import Inventory, load_inventory
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.settings_language import build_router
from cdc_assets.settings_parts import same_sink
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
ONLY_SINK = "Only this one of the file's `sinks`; empty for all of them."
"""What run configs say of their `sink`."""


@dataclass(frozen=True)
class Member:
    """One source and sink of a file, as far as it is known without asking anybody.

    Args:
        settings: Its pipeline.
        known: Tables and windows.
        targets: The targets of these tables.
    """

    settings: PipelineSettings
    known: Inventory
    targets: Targets


def load_members(file: PipelineFile) -> list[Member]:
    """Return the members of a file.

    Raises:
        ConfigError: Two routes send a table to the same target, or two sources meet in a target
            that is not shared.
    """
    members = []
    for settings in file.members():
        known = load_inventory(settings)
        targets = find_targets(build_router(settings), known.tables, file.file)
        members.append(Member(settings, known, targets))
    for found in by_sink(members).values():
        _require_shared(found)
    return members


def by_sink(members: Iterable[Member]) -> dict[str, list[Member]]:
    """Return the members that fill each sink, by its name; the name is empty if there is one."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.settings.sink_name, []).append(member)
    return found


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
    """Return what the other sources of a file have fed into a sink, as the state store knows it.

    Returns:
        By target in words, the tables by the name of their pipeline.
    """
    from resources.stores.feeds import FeedStore

    found: dict[str, dict[str, list[TableId]]] = {}
    for member in same_sink(settings):
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


def for_each_member(
    context: dg.OpExecutionContext,
    file: PipelineFile,
    work: Callable[[PipelineSettings], None],
    source: str = "",
    sink: str = "",
) -> None:
    """Do a job's work for every member of a file; one that fails keeps none from it.

    Args:
        context: Of the running op.
        file: The pipeline file.
        work: What is done for each.
        source: The name of one of `sources`; empty for all.
        sink: The name of one of `sinks`; empty for all.

    Raises:
        ConfigError: The file has no such source or sink.
        dagster.Failure: It failed for some member; names each.
    """
    members = chosen_members(file, source, sink)
    groups = {member.part: [member] for member in members}
    _for_each(context, kind_of(members), groups, lambda group: work(group[0]))


def for_each_log(
    context: dg.OpExecutionContext,
    file: PipelineFile,
    work: Callable[[Sequence[PipelineSettings]], None],
) -> None:
    """Do a job's work for every change log of a file, with the members that read it.

    Arguments and errors as `for_each_member`.
    """
    _for_each(context, "source", _grouped(file, lambda member: member.source_name), work)


def for_each_sink(
    context: dg.OpExecutionContext,
    file: PipelineFile,
    work: Callable[[Sequence[PipelineSettings]], None],
) -> None:
    """Do a job's work for every sink of a file, with the members that fill it.

    Arguments and errors as `for_each_member`.
    """
    _for_each(context, "sink", _grouped(file, lambda member: member.sink_name), work)


def _grouped(
    file: PipelineFile, name: Callable[[PipelineSettings], str]
) -> dict[str, list[PipelineSettings]]:
    groups: dict[str, list[PipelineSettings]] = {}
    for member in file.members():
        groups.setdefault(name(member), []).append(member)
    return groups


def _for_each(
    context: dg.OpExecutionContext,
    kind: str,
    groups: Mapping[str, Sequence[PipelineSettings]],
    work: Callable[[Sequence[PipelineSettings]], None],
) -> None:
    if len(groups) == 1:
        with failures(context.retry_number):
            work(next(iter(groups.values())))
        return
    failed: dict[str, dg.Failure] = {}
    for name, group in groups.items():
        context.log.info(f"{kind} {name}")
        try:
            with failures():
                work(group)
        except dg.Failure as failure:
            context.log.error(f"{kind} {name}: {failure.description}")
            failed[name] = failure
    raise_failed(failed, kind, len(groups))


def chosen_members(
    file: PipelineFile, source: str = "", sink: str = ""
) -> Sequence[PipelineSettings]:
    """Return the members of a file, or those of the source or sink that is named.

    Raises:
        ConfigError: The file has no such source or sink.
    """
    members = file.members()
    for key, only, known in (("source", source, file.sources), ("sink", sink, file.sinks)):
        if only and only not in known:
            raise ConfigError(
                f"`{only}` is not one of the {key}s of {file.name}",
                where="run config",
                remedy=f"leave `{key}` out, or name one of them: "
                + (", ".join(known) or f"none: it has one {key}"),
            )
    return [m for m in members if source in ("", m.source_name) and sink in ("", m.sink_name)]


def raise_failed(failed: Mapping[str, dg.Failure], kind: str, count: int) -> None:
    """Fail a run for those of its parts that failed, if any.

    Args:
        failed: By name of the part.
        kind: What the parts are: `source`, `sink`.
        count: How many there were.

    Raises:
        dagster.Failure: Names each and why.
    """
    if not failed:
        return
    if count == 1:
        raise next(iter(failed.values()))
    lines = [f"{name}: {failure.description}" for name, failure in failed.items()]
    raise dg.Failure(
        description=f"{len(failed)} of {count} {kind}s failed, the others went on:\n"
        + "\n".join(lines),
        metadata={name: str(failure.description) for name, failure in failed.items()},
        allow_retries=False,
    )


def shown_for(settings: PipelineSettings, metadata: Mapping[str, object]) -> dict[str, object]:
    """Return metadata under the member's name, where a file has several."""
    part = settings.part
    return {f"{part}: {key}" if part else key: value for key, value in metadata.items()}


def kind_of(members: Sequence[PipelineSettings]) -> str:
    """Return what the members of a file differ by, in a word."""
    several = [("source", members[0].source_name), ("sink", members[0].sink_name)]
    return " and ".join(kind for kind, name in several if name) or "source"


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
                    f"{alone[0]} of {member.settings.source_name} and {theirs} of "
                    f"{other.source_name} would both be {target}",
                    where=other.file,
                    remedy="say `merge: true` on their routes, or write {source} in the target",
                )
