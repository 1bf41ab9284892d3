"""What a ClickHouse server holds of our targets, and what it can hold.

In: targets. Out: findings, CREATE statements run, shapes as they are now.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from resources.errors import ConfigError
from resources.model.source import Finding
from resources.model.table import Column
from resources.sinks import clickhouse_strategy as strategies
from resources.sinks import shape
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_ddl import StoredColumn
from resources.sinks.clickhouse_live import LiveColumn, LiveTable, read_live
from resources.sinks.clickhouse_names import MAX_FILE_NAME, file_name_bytes, fold, quote
from resources.sinks.clickhouse_strategy import OWN_COLUMNS, Strategy, Wish
from resources.sinks.clickhouse_types import (
    arrow_type,
    clickhouse_type,
    comment_of,
    fits,
    nullable_type,
)
from resources.sinks.clickhouse_view import FinalViews
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.create_table import CreateRule, CreateRules, wrongly_made

_SYSTEM_NAMESPACES = frozenset({"system", "information_schema", "INFORMATION_SCHEMA"})


class ClickHouseCatalog:
    """The tables of one server.

    Args:
        server: Where they are.
        wish: The strategy the pipeline file asks for.
        views: The views beside them.
        rules: How tables are created.
    """

    def __init__(
        self,
        server: ClickHouse,
        wish: Wish,
        views: FinalViews,
        rules: CreateRules | None = None,
    ) -> None:
        self._server = server
        self._wish = wish
        self._views = views
        self._rules = rules or CreateRules()

    def check(self, target: TargetTable) -> list[Finding]:
        """Return everything that keeps the target from being held exactly."""
        findings = [*shape.shape_findings(target, fold), *self._shape_findings(target)]
        if findings:
            return findings
        live = self.live(target.id)
        if live is None:
            return self._views.findings(target)
        if live.engine.endswith("View"):
            message = f"{target.id}: the name is taken by a view"
            remedy = "route the table to another name, or drop the view"
            return [Finding("error", "name_collision", message, remedy, target.schema.table)]
        if why := strategies.refusal(live, target):
            remedy = "drop it and let the sink create it, or route the table to another name"
            return [Finding("error", "engine", f"{target.id}: {why}", remedy, target.schema.table)]
        if not self._is_fit(target, live):
            wanted = show(self.wanted_columns(target))
            return [shape.misfit_finding(target, self._show(target, live), wanted)]
        return [*self._views.findings(target), *self._retry_findings(target, live)]

    def takes(self, target: TargetTable, live: LiveTable) -> bool:
        """Return whether a table that is there holds the target's rows as they are."""
        return not strategies.refusal(live, target) and self._is_fit(target, live)

    def live(self, target: TargetId) -> LiveTable | None:
        """Return a table as it is now, None if there is none."""
        return read_live(self._server, target)

    def require_live(self, target: TargetId) -> LiveTable:
        """Return a table as it is now.

        Raises:
            SchemaMismatch: There is none.
        """
        live = self.live(target)
        if live is None:
            raise shape.no_table(target)
        return live

    def require_fit(self, target: TargetTable) -> LiveTable:
        """Return a table whose columns are the target's, in whatever order.

        Raises:
            SchemaMismatch: It is not there, or shows both shapes.
            ConfigError: Its engine does not keep rows as they are written.
        """
        live = self.require_live(target.id)
        if why := strategies.refusal(live, target):
            raise ConfigError(why, where=str(target.id), remedy="let the sink create the table")
        if not self._is_fit(target, live):
            wanted = show(self.wanted_columns(target))
            raise shape.misfit(target.id, self._show(target, live), wanted)
        return live

    def strategy(self, target: TargetTable, live: LiveTable) -> Strategy:
        """Return how rows come into a table by key."""
        names = [f.name for f in shape.target_schema(target)]
        return strategies.choose(live, target.schema.key, names, self._wish)

    def created_strategy(self) -> Strategy:
        """Return the strategy of tables that the sink creates."""
        return strategies.created(self._wish)

    def data_columns(self, live: LiveTable) -> list[LiveColumn]:
        """Return a table's columns without those its engine has for itself."""
        own = strategies.own_columns(live).own
        return [c for c in live.columns if c.name not in own]

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        live = self.live(target)
        return None if live is None else self.schema_of(live)

    def schema_of(self, live: LiveTable) -> pa.Schema:
        """Return a table's columns in the Arrow types they were made for."""
        return pa.schema(
            [pa.field(c.name, arrow_type(c.type, c.comment)) for c in self.data_columns(live)]
        )

    def wanted_columns(self, target: TargetTable) -> list[StoredColumn]:
        """Return the columns a target shall have, those of its strategy not counted.

        Raises:
            ConfigError: A type has no exact counterpart.
        """
        described = {c.name: c for c in target.schema.columns}
        keys = target.schema.key if target.mode == "merge" else ("_cdc_seq",)
        columns = []
        for field in shape.target_schema(target):
            column = described.get(field.name) or Column(field.name, field.type)
            columns.append(self.stored_column(target.id, column, key=field.name in keys))
        return columns

    def stored_column(self, target: TargetId, column: Column, *, key: bool = False) -> StoredColumn:
        """Return a column as CREATE and ALTER have it.

        Raises:
            ConfigError: Its type has no exact counterpart.
        """
        type_ = clickhouse_type(column.type) if key else nullable_type(column.type)
        if type_ is None:
            raise ConfigError(
                f"column {column.name!r} has type {column.type}, which ClickHouse cannot hold",
                where=str(target),
                remedy="exclude the column",
            )
        return StoredColumn(column.name, type_, comment_of(column.type, column.comment))

    def has_rule(self, target: TargetId) -> bool:
        """Return whether the pipeline file says how a target is created."""
        return not self._rules.of(target).is_own

    def create(
        self, target: TargetTable, place: TargetId, strategy: Strategy, *, ours: bool = False
    ) -> None:
        """Create an empty table of the target's shape, and its database, where missing.

        Args:
            target: The shape.
            place: Its name, the target's own or that of a load's table.
            strategy: How it keeps its key.
            ours: Whether the pipeline file has no say: of the table a load is written into.

        Raises:
            ConfigError: The file's rule makes another table than wanted; it is dropped again.
        """
        rule = CreateRule() if ours else self._rules.of(target.id)
        dialect, columns = self._server.dialect, self.wanted_columns(target)
        merges = target.mode == "merge"
        if merges:
            columns += strategies.filled_columns(strategy)
        statement = dialect.create_table(
            name_of(place),
            columns,
            strategies.engine_of(strategy, dialect) if merges else dialect.engine("MergeTree"),
            target.schema.key if merges else ("_cdc_seq",),
            partition_by=target.partition_keys,
            comment=target.schema.comment,
            rule=rule,
        )
        self._server.run(dialect.create_database(place.namespace), str(target.id))
        self._server.run(statement, str(target.id))
        if not rule.is_own:
            self._require_made(target, place)

    def _require_made(self, target: TargetTable, place: TargetId) -> None:
        live = self.require_live(place)
        why = strategies.refusal(live, target)
        if why or not self._is_fit(target, live):
            self.drop(place)
            made = why or self._show(target, live)
            raise wrongly_made(target.id, made, show(self.wanted_columns(target)))

    def drop(self, place: TargetId) -> None:
        """Drop a table, however large, if it is there."""
        self._server.run(
            f"DROP TABLE IF EXISTS {name_of(place)}{self._server.dialect.on_cluster} SYNC "
            "SETTINGS max_table_size_to_drop = 0",
            str(place),
        )

    def show_view(self, target: TargetId) -> None:
        """Make the view beside a table show its columns of now."""
        live = self.live(target)
        if live is not None:
            names = [c.name for c in self.data_columns(live)]
            self._views.show(target, names, strategies.own_columns(live))

    def drop_view(self, target: TargetId) -> None:
        """Drop the view beside a table."""
        self._views.drop(target)

    def _retry_findings(self, target: TargetTable, live: LiveTable) -> list[Finding]:
        """Warn of a table of the user's in which an insert that is sent twice is there twice."""
        remembers = "deduplication_window" in live.full_engine
        remembers |= live.full_engine.startswith(("Replicated", "Shared"))
        if remembers or live.engine == "ReplacingMergeTree":
            return []
        name = name_of(target.id)
        return [
            Finding(
                "warning",
                "deduplication",
                f"{target.id}: the table remembers no inserts, so that one whose answer is lost "
                "on the way and is sent again would be there twice",
                f"ALTER TABLE {name} MODIFY SETTING non_replicated_deduplication_window = 1000",
                target.schema.table,
            )
        ]

    def _is_fit(self, target: TargetTable, live: LiveTable) -> bool:
        wanted = {f.name: f.type for f in shape.target_schema(target)}
        own = self.strategy(target, live).own if target.mode == "merge" else ()
        there = {c.name: c.type for c in live.columns if c.name not in own}
        return there.keys() == wanted.keys() and all(
            fits(type_, there[name]) for name, type_ in wanted.items()
        )

    def _show(self, target: TargetTable, live: LiveTable) -> str:
        own = self.strategy(target, live).own if target.mode == "merge" else ()
        return show([c for c in live.columns if c.name not in own])

    def _shape_findings(self, target: TargetTable) -> list[Finding]:
        """Return what is wrong with the target's types and names whatever is there."""
        found: list[tuple[str, str, str]] = []
        for column in target.schema.columns:
            if clickhouse_type(column.type) is None:
                message = (
                    f"column {column.name!r} ({column.source_type or column.type}) is Arrow "
                    f"{column.type}, which ClickHouse cannot hold exactly"
                )
                found.append(("type_refused", message, "exclude the column"))
            if column.name in OWN_COLUMNS and column.name != "_cdc_seq":
                message = f"column {column.name!r} has the name of one of the sink's own"
                found.append(("name_collision", message, "rename it by a projection"))
        if target.id.namespace in _SYSTEM_NAMESPACES:
            message = f"database {target.id.namespace!r} belongs to ClickHouse itself"
            found.append(("name_reserved", message, "route the table to another database"))
        for name in (target.id.namespace, target.id.table):
            if file_name_bytes(name) > MAX_FILE_NAME:
                message = f"the name {name!r} is too long for a file, as ClickHouse writes it"
                found.append(("name_invalid", message, "route the table to a shorter name"))
        outside = sorted(set(target.partition_keys) - set(target.schema.key))
        if target.mode == "merge" and outside:
            message = f"partition keys {outside} are not in the key, so versions would not meet"
            found.append(("partition_keys", message, "partition by columns of the key"))
        return [
            Finding("error", c, f"{target.id}: {m}", r, target.schema.table) for c, m, r in found
        ]


def name_of(target: TargetId) -> str:
    """Return a table's quoted name."""
    return f"{quote(target.namespace)}.{quote(target.table)}"


def show(columns: Sequence[StoredColumn | LiveColumn]) -> str:
    """Return columns on one line."""
    return "(" + ", ".join(f"{c.name} {c.type}" for c in columns) + ")"
