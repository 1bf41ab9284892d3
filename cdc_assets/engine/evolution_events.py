"""What changed between two shapes of a table.

In: a situation. Out: its events, in an order in which they can be carried out one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cdc_assets.engine.evolution import ColumnEvent, Situation
from resources.model.table import Column, TableSchema
from resources.model.widening import holds, same


def find_events(s: Situation) -> list[ColumnEvent]:
    """Return what happened to the columns: drops, renames, additions, types, then the rest.

    A rename comes after the one that frees its name. Without a schema before, what the target
    lacks was added.
    """
    if s.before is None:
        return list(_against_live(s))
    origins = _origins(s, s.before)
    renames = {n: o for n, o in origins.items() if o and s.fold(n) != s.fold(o)}
    used = set(origins.values())
    events = [ColumnEvent("drop_column", c.name, before=c) for c in s.before.columns]
    events = [e for e in events if e.name not in used]
    events += _renames(s.before, s.after, renames)
    for column in s.after.columns:
        if not origins[column.name]:
            before = _column(s.before, column.name)
            events.append(ColumnEvent("add_column", column.name, column=column, before=before))
    for column in s.after.columns:
        before = _column(s.before, origins[column.name])
        if before is not None and column.name not in renames and not same(before, column):
            event = ColumnEvent("alter_column_type", column.name, column=column, before=before)
            events.append(event)
    return [*events, *_quiet(s.before, s.after, origins)]


def renamed_key(s: Situation, before: TableSchema) -> tuple[str, ...]:
    """Return the key before under the names its columns have now."""
    now = {origin: name for name, origin in _origins(s, before).items()}
    return tuple(now.get(name, name) for name in before.key)


def _against_live(s: Situation) -> Iterator[ColumnEvent]:
    live = {s.fold(c.name): c for c in s.live}
    for column in s.after.columns:
        here = live.get(s.fold(column.name))
        if here is None:
            yield ColumnEvent("add_column", column.name, column=column)
        elif not holds(here, column):
            yield ColumnEvent("alter_column_type", column.name, column=column, before=here)


def _origins(s: Situation, before: TableSchema) -> dict[str, str]:
    """Return the name before of each column of `after`, empty for a new one, each used once."""
    told = s.origins
    by_fold = {s.fold(name): name for name in before.names}
    wanted = {
        name: by_fold.get(s.fold(name if told is None else told.get(name, name)), "")
        for name in s.after.names
    }
    # a column that kept its name comes before copies of it under other names
    order = sorted(wanted, key=lambda name: wanted[name] != name)
    used: set[str] = set()
    for name in order:
        if wanted[name] in used:
            wanted[name] = ""
        used.add(wanted[name])
    return wanted


def _renames(
    before: TableSchema, after: TableSchema, renames: Mapping[str, str]
) -> Iterator[ColumnEvent]:
    left = dict(renames)
    while left:
        free = [new for new in left if new not in left.values()]
        for new in free or list(left):
            old = left.pop(new)
            yield ColumnEvent(
                "rename_column", new, old, after.column(new), before.column(old), cycle=not free
            )


def _quiet(
    before: TableSchema, after: TableSchema, origins: Mapping[str, str]
) -> Iterator[ColumnEvent]:
    here = [origins[name] for name in after.names if origins[name]]
    if here != [name for name in before.names if name in here]:
        yield ColumnEvent("reorder_columns", "")
    for column in after.columns:
        old = _column(before, origins[column.name])
        if old is not None and old.nullable != column.nullable:
            yield ColumnEvent("alter_nullability", column.name, column=column, before=old)
        if old is not None and old.comment != column.comment:
            yield ColumnEvent("alter_comment", column.name, column=column, before=old)


def _column(schema: TableSchema, name: str) -> Column | None:
    return schema.column(name) if name in schema.names else None
