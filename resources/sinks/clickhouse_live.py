"""A table as ClickHouse has it now: its columns, its engine, and how that engine keeps a key.

In: rows of `system.columns` and `system.tables`. Out: facts the strategies are chosen by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_names import literal
from resources.sinks.contract import TargetId
from resources.sinks.sql import select

_OWN_VALUE = frozenset({"MATERIALIZED", "ALIAS", "EPHEMERAL"})
"""Kinds of columns that no insert has to bring."""

_TABLE = (
    "toString(uuid), engine, engine_full, sorting_key, "
    "match(create_table_query, ' (CONSTRAINT|INDEX|PROJECTION) '), "
    "position(create_table_query, ' PROJECTION ') > 0"
)
_COLUMN = (
    "name, type, comment, default_kind, is_in_sorting_key, is_in_sorting_key "
    "OR is_in_primary_key OR is_in_partition_key OR is_in_sampling_key"
)


@dataclass(frozen=True)
class LiveColumn:
    """A column that is there.

    Args:
        name: Its name.
        type: Its ClickHouse type.
        comment: Its comment.
        default: `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL` or empty.
        sorted_by: Whether the sorting key uses it.
        fixed: Whether it is part of any key, so that it cannot be renamed or changed in place.
    """

    name: str
    type: str
    comment: str
    default: str
    sorted_by: bool
    fixed: bool


@dataclass(frozen=True)
class LiveTable:
    """A table that is there.

    Args:
        id: Its name.
        uuid: Its identity, which follows it when it is exchanged with another.
        engine: Its engine's name, `Replicated` and `Shared` taken off.
        full_engine: The engine with arguments, keys and settings.
        arguments: The engine's arguments that name columns.
        sorting_key: Its text.
        columns: Its columns in order, without those that compute themselves.
        adorned: Whether it has constraints, indexes or projections.
        projected: Whether it has projections.
    """

    id: TargetId
    uuid: str
    engine: str
    full_engine: str
    arguments: tuple[str, ...]
    sorting_key: str
    columns: tuple[LiveColumn, ...]
    adorned: bool
    projected: bool

    def column(self, name: str) -> LiveColumn | None:
        """Return a column, None if it is not there."""
        return next((c for c in self.columns if c.name == name), None)

    def sorts_by(self, key: Sequence[str]) -> bool:
        """Return whether the sorting key is made of just these columns as they are."""
        bare = re.sub(r"`(?:[^`\\]|\\.)*`", "", self.sorting_key)
        calls = re.search(r"\w\(", bare)
        return calls is None and {c.name for c in self.columns if c.sorted_by} == set(key)


def read_live(server: ClickHouse, target: TargetId) -> LiveTable | None:
    """Return a table as it is now, None if there is none of that name."""
    namespace, table = literal(target.namespace), literal(target.table)
    found = server.rows(
        select(_TABLE, "system.tables", f"WHERE database = {namespace} AND name = {table}"),
        str(target),
    )
    if not found:
        return None
    columns = server.rows(
        select(
            _COLUMN,
            "system.columns",
            f"WHERE database = {namespace} AND table = {table} ORDER BY position",
        ),
        str(target),
    )
    uuid, engine, full, sorting_key, adorned, projected = found[0]
    return LiveTable(
        id=target,
        uuid=uuid,
        engine=re.sub("^(Replicated|Shared)", "", engine),
        full_engine=full,
        arguments=engine_arguments(full),
        sorting_key=sorting_key,
        columns=tuple(
            LiveColumn(c[0], c[1], c[2], c[3], bool(c[4]), bool(c[5]))
            for c in columns
            if c[3] not in _OWN_VALUE
        ),
        adorned=bool(adorned),
        projected=bool(projected),
    )


def engine_arguments(full: str) -> tuple[str, ...]:
    """Return the arguments of an engine that are identifiers.

    Args:
        full: `ReplicatedReplacingMergeTree('/path', '{replica}', ver, `is deleted`) ORDER BY …`.
    """
    match = re.match(r"\w+\(((?:[^()'`]|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)*)\)", full)
    if not match:
        return ()
    parts = re.findall(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\w+", match[1])
    return tuple(_bare(p) for p in parts if not p.startswith("'"))


def _bare(name: str) -> str:
    if not name.startswith("`"):
        return name
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "0": "\0"}.get(m[1], m[1]), name[1:-1])
