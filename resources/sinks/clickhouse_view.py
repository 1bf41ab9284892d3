"""Views beside ClickHouse tables that show one row per key: `SELECT … FROM … FINAL`.

In: a table and its columns. Out: a view of the sink's making, told by its comment.
"""

from __future__ import annotations

from collections.abc import Sequence

from resources.errors import ConfigError
from resources.model.source import Finding
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_names import literal, quote, quote_all
from resources.sinks.clickhouse_strategy import Strategy
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.sql import select, where_all

_MADE = "[cdc:final]"


class FinalViews:
    """The views of one server.

    Args:
        server: Where they are.
        pattern: Their names, with `{table}` in it; empty for none.

    Raises:
        ConfigError: The pattern would give every table the same view, or the table's own name.
    """

    def __init__(self, server: ClickHouse, pattern: str) -> None:
        if pattern and ("{table}" not in pattern or pattern == "{table}"):
            raise ConfigError(
                f"the name of views {pattern!r} does not make a name of its own for each table",
                remedy="final_view: '{table}_final', or null for no views",
            )
        self._server = server
        self._pattern = pattern

    def show(self, target: TargetId, names: Sequence[str], strategy: Strategy) -> None:
        """Make a table's view show these columns, if its engine has more than a row per key.

        A view or table of that name that is not the sink's own is left alone.
        """
        if not self._pattern or not strategy.final or not strategy.own:
            return
        if self._taken(target):
            return
        name = self._name(target)
        table = f"{quote(target.namespace)}.{quote(target.table)}"
        self._server.run(
            f"CREATE OR REPLACE VIEW {name}{self._server.dialect.on_cluster} AS "
            + select(quote_all(names), table, f"FINAL COMMENT {literal(_MADE)}"),
            str(target),
        )

    def drop(self, target: TargetId) -> None:
        """Drop a table's view, if the sink made it."""
        if self._pattern and self._comment(target) == _MADE:
            on_cluster = self._server.dialect.on_cluster
            self._server.run(f"DROP VIEW IF EXISTS {self._name(target)}{on_cluster}", str(target))

    def findings(self, target: TargetTable) -> list[Finding]:
        """Return that another thing has the view's name, if one has."""
        if not self._pattern or target.mode != "merge" or not self._taken(target.id):
            return []
        return [
            Finding(
                "warning",
                "name_collision",
                f"{target.id}: there is no view of one row per key, since something else is "
                f"called {self._view(target.id)}",
                "set `final_view` to another pattern, or rename what is there",
                target.schema.table,
            )
        ]

    def _taken(self, target: TargetId) -> bool:
        return self._comment(target) not in (None, _MADE)

    def _comment(self, target: TargetId) -> str | None:
        view = literal(self._view(target))
        found = self._server.rows(
            select(
                "comment",
                "system.tables",
                where_all(f"database = {literal(target.namespace)}", f"name = {view}"),
            ),
            str(target),
        )
        return str(found[0][0]) if found else None

    def _view(self, target: TargetId) -> str:
        return self._pattern.replace("{table}", target.table)

    def _name(self, target: TargetId) -> str:
        return f"{quote(target.namespace)}.{quote(self._view(target))}"
