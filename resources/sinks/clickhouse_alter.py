"""Changes of a ClickHouse table's columns, exact, one after the other.

In: `ColumnChange`s. Out: the statements that make those still to be made; or the same to read.

There is no transaction around several changes, so all that can be refused is refused before the
first, and after a crash `column_plan` tells what is left. `clickhouse_change` has the statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from resources.errors import CdcError, ConfigError, TransientError
from resources.failpoints import failpoint
from resources.model.column_change import (
    FILL,
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_change import COPYING, ClickHouseChange, changed
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_names import fold, literal, quote
from resources.sinks.clickhouse_strategy import own_columns
from resources.sinks.clickhouse_types import from_storage
from resources.sinks.column_plan import ColumnPlan, ColumnRules, plan_changes
from resources.sinks.contract import TargetId
from resources.sinks.lake_convert import convert_exactly
from resources.sinks.retype import widens
from resources.sinks.sql import select

KINDS = frozenset({"add", "drop", "rename", "retype", FILL})
"""`Capabilities.schema_changes` of ClickHouse."""


class ClickHouseColumns:
    """The columns of one server's tables.

    Args:
        server: Where they are.
        catalog: What they look like.
    """

    def __init__(self, server: ClickHouse, catalog: ClickHouseCatalog) -> None:
        self._server = server
        self._catalog = catalog

    def alter(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Make the changes; see `Sink.alter_table`."""
        with self._server.alone(target):
            self._settle(self._catalog.require_live(target))
            live = self._catalog.require_live(target)
            plan = self._plan(live, changes)
            self._require_values_fit(live, plan)
            for statements in self._statements(live, plan):
                for statement in statements:
                    self._server.run(statement, str(target))
                failpoint("sink.alter.after_change")
            failpoint("sink.before_commit")
            self._catalog.show_view(target)
        failpoint("sink.alter.after_commit")

    def render(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter` would run now."""
        live = self._catalog.require_live(target)
        return [s for some in self._statements(live, self._plan(live, changes)) for s in some]

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements given by a person, as far as they are taken; see `Sink.execute`.

        All are parsed before the first is run, so that one that is no statement changes nothing.
        """
        for run in (self._parse, self._server.run):
            for number, statement in enumerate(statements, start=1):
                try:
                    run(statement, "a statement given")
                except TransientError:
                    raise
                except CdcError as error:
                    raise ConfigError(
                        f"statement {number} of those given is refused: {error.message}",
                        remedy="decide again with statements that ClickHouse takes; those before "
                        "it have been run",
                    ) from None

    def _parse(self, statement: str, where: str) -> None:
        self._server.run(f"SELECT formatQuery({literal(statement)}) FORMAT Null", where)

    def _plan(self, live: LiveTable, changes: Sequence[ColumnChange]) -> ColumnPlan:
        rules = ColumnRules(KINDS, fold, lambda a, b: bool(a == b))
        return plan_changes(live.id, self._catalog.schema_of(live), changes, rules)

    def _statements(self, live: LiveTable, plan: ColumnPlan) -> Iterator[list[str]]:
        for planned in plan.changes:
            yield ClickHouseChange(self._server, self._catalog, live, planned).statements()
            live = changed(self._catalog, live, planned)

    def _settle(self, live: LiveTable) -> None:
        """End copies of columns that a run was killed in: their values are made their own."""
        table, on_cluster = name_of(live.id), self._server.dialect.on_cluster
        for column in live.columns:
            if column.comment.startswith(COPYING):
                for statement in (
                    *(
                        [
                            f"MATERIALIZE COLUMN {quote(column.name)}",
                            f"MODIFY COLUMN {quote(column.name)} REMOVE DEFAULT",
                        ]
                        if column.default
                        else []
                    ),
                    f"COMMENT COLUMN {quote(column.name)} "
                    f"{literal(column.comment.removeprefix(COPYING).strip())}",
                ):
                    self._server.run(f"ALTER TABLE {table}{on_cluster} {statement}", str(live.id))

    def _require_values_fit(self, live: LiveTable, plan: ColumnPlan) -> None:
        """Refuse changes of type that would change a value, wherever they are in the list.

        Raises:
            SchemaMismatch: Counts the different values that do not fit.
        """
        origins: dict[str, tuple[str, list[pa.DataType]]] = {
            f.name: (f.name, [f.type]) for f in self._catalog.schema_of(live)
        }
        for planned in plan.changes:
            match planned.change:
                case AddColumn(column=column, copy_of=copy_of) if copy_of in origins:
                    name, types = origins[copy_of]
                    origins[column.name] = name, [*types, column.type]
                    self._require_fit(live, name, [*types, column.type])
                case RetypeColumn(column=column) if column.name in origins:
                    name, types = origins[column.name]
                    origins[column.name] = name, [*types, column.type]
                    self._require_fit(live, name, [*types, column.type])
                case DropColumn(name=name):
                    origins.pop(name, None)
                case RenameColumn(old=old, new=new) if old in origins:
                    origins[new] = origins.pop(old)

    def _require_fit(self, live: LiveTable, name: str, types: Sequence[pa.DataType]) -> None:
        if widens(types[-2], types[-1]):
            return
        final = own_columns(live).final
        query = select(f"DISTINCT {quote(name)}", name_of(live.id), final)
        found = self._server.select(query, str(live.id))
        column = from_storage(found, pa.schema([(name, types[0])]))[name]
        for type_ in types[1:]:
            column = convert_exactly(live.id, name, column, type_)
