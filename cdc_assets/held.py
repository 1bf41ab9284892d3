"""Schema changes that wait for a decision, as pages and the decide job show them.

In: held changes of the state store. Out: metadata and markdown that say what happened, what
deciding each way does, who reads it, and the exact configuration that decides it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from cdc_assets import naming
from cdc_assets.metadata import REASON_CHARACTERS, TABLE_LINES, cut
from cdc_assets.readers import Reader, asset_graph, find_readers

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.members import SourceState
    from cdc_assets.settings import PipelineSettings
    from resources.model.table_id import TableId
    from resources.stores.schema_changes import SchemaChange

HELD = "held changes"
Readers: TypeAlias = "Callable[[SchemaChange], Sequence[Reader]]"


def held_of(
    pipeline: Pipeline | SourceState, target: TableId, tables: Iterable[TableId]
) -> list[SchemaChange]:
    """Return what is held of a target's feeds, in log order."""
    return [
        change
        for table in tables
        for change in pipeline.changes.held(table)
        if change.target == str(target)
    ]


def held_metadata(pipeline: str, changes: Sequence[SchemaChange]) -> dict[str, Any]:
    """Return what is shown of held changes on a page; nothing if there are none."""
    if not changes:
        return {}
    return {
        HELD: ", ".join(f"{c.id}: {title(c)}" for c in changes[:TABLE_LINES]),
        "to decide": dg.MetadataValue.md(to_decide(pipeline, changes[0])),
    }


def held_report(
    pipeline: str, changes: Sequence[SchemaChange], readers: Readers = lambda _change: ()
) -> str:
    """Return held changes as markdown, each with all that a decision needs.

    Args:
        pipeline: The pipeline's name.
        changes: They.
        readers: Gives the assets that read what a change is about.
    """
    if not changes:
        return "No schema change waits for a decision."
    parts = [_section(change, readers(change)) for change in changes[:TABLE_LINES]]
    if len(changes) > TABLE_LINES:
        parts.append(f"… and {len(changes) - TABLE_LINES} more")
    return "\n\n".join([*parts, to_decide(pipeline, changes[0])])


def held_readers(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    settings: PipelineSettings,
    targets: Iterable[TableId],
) -> Readers:
    """Return what finds the assets that read what a change is about.

    Args:
        context: Of a run in the code location whose assets are meant.
        settings: The pipeline's.
        targets: Those that changes may be about.
    """
    graph, instance = asset_graph(context), context.instance
    keys = {str(t): dg.AssetKey(settings.table_key(t)) for t in targets}

    def readers(change: SchemaChange) -> Sequence[Reader]:
        # A renamed column is read under a name that the change does not tell.
        known = change.column and change.event != "rename_column"
        return find_readers(
            instance, graph, keys[change.target], {change.column} if known else set()
        )

    return readers


def title(change: SchemaChange) -> str:
    """Return a change in a few words."""
    words = change.event.replace("_", " ")
    return f"{words} {cut(change.column)}" if change.column else words


def to_decide(pipeline: str, change: SchemaChange) -> str:
    """Return how a change is decided, in the Launchpad and by a command."""
    job = naming.job_name(pipeline, "decide")
    config = (
        f"ops:\n  {naming.op_name(pipeline, 'decide')}:\n    config:\n"
        f"      change: {change.id}\n      decision: apply\n      why: …"
    )
    return (
        f"In the Launchpad of the job `{job}` (`decision` is `apply`, `skip` or `replace`):\n\n"
        f"```yaml\n{config}\n```\n\nor, with that in a file, by\n\n"
        f"```sh\ndagster job execute -m cdc_assets.definitions \\\n  -j {job} -c decide.yaml\n```"
    )


def _section(change: SchemaChange, readers: Sequence[Reader]) -> str:
    lines = [
        f"### Change {change.id}: {title(change)} of {cut(str(change.table))}",
        "",
        "| | |",
        "|---|---|",
    ]
    table, target = str(change.table), change.target
    rows = {
        "target": cut(target) if target != table else "",
        "statement": _code(change.statement),
        "position": cut(change.position),
        "before": cut(change.before),
        "after": cut(change.after),
        "class": change.change_class,
        "policy": f"{change.policy}: {cut(change.why, REASON_CHARACTERS)}",
        "`apply` runs": _code(change.target_ddl) or "nothing in the target",
        "`skip` means": "the target stays as it is, later rows are brought to its columns",
        "read by": _read_by(readers),
    }
    lines += [f"| {name} | {text} |" for name, text in rows.items() if text]
    return "\n".join(lines)


def _read_by(readers: Sequence[Reader]) -> str:
    names = [cut(str(reader)) for reader in readers[:TABLE_LINES]]
    more = len(readers) - len(names)
    return "; ".join([*names, f"… {more} more"] if more else names)


def _code(text: str) -> str:
    return f"`{cut(text, REASON_CHARACTERS)}`" if text else ""
