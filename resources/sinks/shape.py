"""What every dialect checks alike: the rows handed in, the shape of a target, its names.

In: target tables and Arrow schemas. Out: findings before start, `SchemaMismatch` after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError, SchemaMismatch, TerminalError
from resources.model.change import CHANGE_FIELDS
from resources.model.source import Finding
from resources.model.table import Column
from resources.sinks.contract import Feed, TargetId, TargetTable
from resources.sinks.retype import is_text

RESERVED_NAMESPACE = "_cdc"
"""Where sinks keep watermarks and loads; no target may live there."""
SHADOW_PREFIX = "_cdc_load_"
"""Begins the names of tables being loaded; no target may be called so."""


def target_schema(target: TargetTable) -> pa.Schema:
    """Return the Arrow schema of the rows a target holds, all columns nullable.

    An `append` target has `_cdc_op`, `_cdc_seq` and `_cdc_ts` last.
    """
    fields = [pa.field(c.name, c.type) for c in target.schema.columns]
    if target.mode == "append":
        fields += [pa.field(f.name, f.type) for f in CHANGE_FIELDS]
    return pa.schema(fields)


def key_schema(target: TargetTable) -> pa.Schema:
    """Return the Arrow schema of the keys to delete."""
    return pa.schema([pa.field(n, target.schema.column(n).type) for n in target.schema.key])


def keys_of(target: TargetTable) -> tuple[str, ...]:
    """Return the columns of a target's primary key, none for an `append` target."""
    return target.schema.key if target.mode == "merge" else ()


def show_schema(schema: pa.Schema) -> str:
    """Return a schema on one line, `name type, name type`."""
    return "(" + ", ".join(f"{f.name} {f.type}" for f in schema) + ")"


def misfit(target: TargetId, live: str, wanted: str) -> SchemaMismatch:
    """Return the error of a table whose columns are not the target's, showing both."""
    return SchemaMismatch(
        f"in the sink it has the columns {live}, on the source {wanted}",
        where=str(target),
        remedy="materialize the table's snapshot partition, or give it back its columns by hand",
    )


def no_table(target: TargetId) -> SchemaMismatch:
    """Return the error of a table that is not there."""
    return SchemaMismatch(
        "the table does not exist", where=str(target), remedy="snapshot the table again"
    )


def no_load(target: TargetId, load_id: str) -> TerminalError:
    """Return the error of a load that was not begun or is over."""
    return TerminalError(
        "this load was not begun, is finished, or another took its place",
        where=f"{target}, load {load_id}",
        remedy="begin a new load",
    )


def load_of_another(target: TargetId, load_id: str, feed: str) -> TerminalError:
    """Return the error of a load that another feed has begun under this id."""
    return TerminalError(
        f"this load was begun by {feed}",
        where=f"{target}, load {load_id}",
        remedy="give every load an id of its own",
    )


def conflicts_changed(target: TargetId, load_id: str, known: int, found: int) -> DirtyRowError:
    """Return the error of a load whose conflicts are not those its writer has seen."""
    return DirtyRowError(
        f"{found} of the loaded rows have keys that belong to other feeds; {known} were known",
        where=f"{target}, load {load_id}",
        remedy="ask for the conflicts again and set those rows aside",
    )


def belongs_elsewhere(other: str | None, own: str) -> str:
    """Return why a row is refused whose key another feed has in the shared table.

    Args:
        other: What the owner column holds there.
        own: What the row's owner column holds.
    """
    return f"key belongs to {other or 'no feed'}, this row comes from {own}"


def misfit_finding(target: TargetTable, live: str, wanted: str) -> Finding:
    """Return the finding of a table already there whose columns are not the target's."""
    error = misfit(target.id, live, wanted)
    message = f"{target.id}: {error.message}"
    return Finding("error", "schema_mismatch", message, error.remedy, target.schema.table)


def type_findings(
    target: TargetTable, engine: str, holds: Callable[[Column], bool]
) -> list[Finding]:
    """Return a finding for each column whose type an engine cannot hold exactly.

    Args:
        target: The table.
        engine: Its name, for people.
        holds: Whether it holds a column.
    """
    return [
        Finding(
            "error",
            "type_refused",
            f"{target.id}: column {column.name!r} ({column.source_type or column.type}) is Arrow "
            f"{column.type}, which {engine} cannot hold exactly",
            "exclude the column",
            target.schema.table,
        )
        for column in target.schema.columns
        if not holds(column)
    ]


def check_rows(target: TargetTable, rows: pa.Table, expected: pa.Schema) -> None:
    """Refuse rows whose columns are not the expected ones in name, order and type.

    Raises:
        SchemaMismatch: Shows both shapes.
    """
    given = [(f.name, f.type) for f in rows.schema]
    if given != [(f.name, f.type) for f in expected]:
        raise SchemaMismatch(
            f"rows of shape {show_schema(rows.schema)} do not fit a table of shape "
            f"{show_schema(expected)}",
            where=str(target.id),
            remedy="write rows in the target's own schema",
        )


def check_owner(target: TargetTable, rows: pa.Table, feed: Feed) -> None:
    """Refuse rows of a shared target whose owner column does not hold the writing feed.

    Raises:
        TerminalError: Some row names another feed, or none.
    """
    if not target.owner or not rows.num_rows:
        return
    owners = rows[target.owner]
    if owners.null_count or not pc.all(pc.equal(owners, str(feed))).as_py():
        raise TerminalError(
            f"rows written by {feed} hold something else in the owner column {target.owner!r}",
            where=str(target.id),
            remedy="write the feed's name into every row",
        )


def check_keep(target: TargetTable, live: pa.Schema | None, keep: Iterable[str]) -> None:
    """Refuse to keep columns that the live table does not have, or without a key.

    Raises:
        TerminalError: The target has no key to find the rows by.
        SchemaMismatch: A column is not there.
    """
    for name in keep:
        if target.mode != "merge" or not target.schema.key:
            raise TerminalError(
                f"column {name!r} cannot be kept without a key", where=str(target.id)
            )
        if live is None or name not in live.names:
            shown = "no table" if live is None else show_schema(live)
            raise SchemaMismatch(
                f"there is no column {name!r} to keep; there is {shown}",
                where=str(target.id),
                remedy="begin the load again: the columns to keep are asked for anew",
            )


def check_mode(target: TargetTable, mode: str) -> None:
    """Refuse a merge into an `append` target, an append to a `merge` one, a merge without key.

    Raises:
        TerminalError: The call and the target do not go together.
    """
    if target.mode != mode:
        raise TerminalError(f"the target's mode is {target.mode}, not {mode}", where=str(target.id))
    if mode == "merge" and not target.schema.key:
        raise TerminalError(
            "rows cannot be merged without a key",
            where=str(target.id),
            remedy="name key columns in the pipeline file, or set `mode: append`",
        )


def check_merge(target: TargetTable, upserts: pa.Table, deletes: pa.Table, feed: Feed) -> None:
    """Refuse what `Sink.merge` must not be given.

    Raises:
        SchemaMismatch: Rows or keys are not of the target's shape.
        TerminalError: The target has another mode, no key, or rows are another feed's.
    """
    check_mode(target, "merge")
    check_rows(target, upserts, target_schema(target))
    check_rows(target, deletes, key_schema(target))
    check_owner(target, upserts, feed)


def check_append(target: TargetTable, rows: pa.Table, feed: Feed) -> None:
    """Refuse what `Sink.append` must not be given; raises as `check_merge`."""
    check_mode(target, "append")
    check_rows(target, rows, target_schema(target))
    check_owner(target, rows, feed)


def shape_findings(target: TargetTable, fold: Callable[[str], str]) -> list[Finding]:
    """Return what is wrong with a target's names and key, whatever the engine.

    Args:
        target: The target.
        fold: How the engine folds identifiers before it compares them.
    """
    findings = [
        _error(target, "name_invalid", f"{what} {name!r} is empty or holds a NUL character")
        for what, name in _names(target)
        if not name or "\0" in name
    ]
    if fold(target.id.namespace) == RESERVED_NAMESPACE:
        findings.append(
            _error(target, "name_reserved", f"schema {target.id.namespace!r} is the sink's own")
        )
    if fold(target.id.table).startswith(SHADOW_PREFIX):
        findings.append(
            _error(target, "name_reserved", f"names beginning {SHADOW_PREFIX!r} are the sink's own")
        )
    findings += _column_collisions(target, fold)
    findings += _owner_findings(target)
    if target.mode == "merge" and not target.schema.key:
        findings.append(_error(target, "no_key", "a table without a key cannot be merged"))
    missing = [k for k in target.schema.key if k not in target.schema.names]
    if missing:
        findings.append(_error(target, "no_key", f"key columns {missing} are not in the table"))
    return findings


def _column_collisions(target: TargetTable, fold: Callable[[str], str]) -> list[Finding]:
    findings = []
    seen: dict[str, str] = {}
    for name in [*target.schema.names, *(f.name for f in CHANGE_FIELDS)]:
        folded = fold(name)
        if folded in seen:
            message = f"columns {seen[folded]!r} and {name!r} have the same name in this sink"
            findings.append(_error(target, "name_collision", message))
        seen[folded] = name
    return findings


def _owner_findings(target: TargetTable) -> list[Finding]:
    name = target.owner
    if not name:
        return []
    if name not in target.schema.names:
        message = f"the owner column {name!r} is not in the table"
    elif name in target.schema.key:
        message = f"the owner column {name!r} is part of the key"
    elif not is_text(target.schema.column(name).type):
        message = f"the owner column {name!r} is no text"
    else:
        return []
    return [_error(target, "owner_invalid", message)]


def _names(target: TargetTable) -> Iterable[tuple[str, str]]:
    yield "schema", target.id.namespace
    yield "table", target.id.table
    for name in target.schema.names:
        yield "column", name


def _error(target: TargetTable, code: str, message: str) -> Finding:
    remedy = {
        "name_invalid": "rename it by a route or a projection",
        "name_reserved": "route the table to another name",
        "name_collision": "rename one of them by a projection or exclude it",
        "owner_invalid": "name another column for the feed a row came from",
        "no_key": "name key columns in the pipeline file, or set `mode: append`",
    }[code]
    return Finding("error", code, f"{target.id}: {message}", remedy, target.schema.table)
