"""Keys sent to ClickHouse to be looked up: a table of the sink's own for the length of a block.

In: key columns of rows about to be written. Out: which of them are there, whose they are, and
conditions that name them in other statements.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_names import quote, quote_all
from resources.sinks.clickhouse_strategy import Strategy
from resources.sinks.clickhouse_types import to_storage
from resources.sinks.contract import TargetTable
from resources.sinks.shape import RESERVED_NAMESPACE
from resources.sinks.sql import select, where_all

SCRATCH_PREFIX = "_cdc_keys_"
_NUMBER = "number"


@dataclass(frozen=True)
class SentKeys:
    """Keys that are in ClickHouse now.

    Args:
        server: Where.
        target: Whose keys.
        live: The table there.
        strategy: How it keeps its key.
        table: Quoted name of the keys' table: columns `k0` and so on, and `number`.
    """

    server: ClickHouse
    target: TargetTable
    live: LiveTable
    strategy: Strategy
    table: str

    @property
    def touched(self) -> str:
        """The condition that a row of the table has one of these keys."""
        keys = quote_all(self.target.schema.key)
        return f"({keys}) IN ({select(self._columns, self.table)})"

    def count(self) -> int:
        """Return how many rows of the table have one of these keys."""
        query = select("count()", self._name + self.strategy.final, where_all(self.touched))
        return int(self.server.value(query, str(self.target.id)))

    def version(self) -> int:
        """Return the greatest version under which any of these keys was written or deleted."""
        if not self.strategy.version:
            return 0
        newest = f"max({quote(self.strategy.version)})"
        query = select(newest, self._name, where_all(self.touched))
        return int(self.server.value(query, str(self.target.id)))

    def owners(self) -> dict[int, str | None]:
        """Return what the owner column holds for the keys that are there, by their number."""
        keys = self.target.schema.key
        owner = quote(self.target.owner)
        match = " AND ".join(f"sent.k{i} = live.{quote(k)}" for i, k in enumerate(keys))
        live = select(
            quote_all([*keys, self.target.owner]),
            self._name + self.strategy.final,
            where_all(self.touched),
        )
        joined = f"{self.table} AS sent INNER JOIN ({live}) AS live ON {match}"
        query = select(f"sent.{_NUMBER}, live.{owner}", joined)
        found = self.server.rows(query, str(self.target.id))
        return dict(found)

    @property
    def _name(self) -> str:
        return f"{quote(self.target.id.namespace)}.{quote(self.target.id.table)}"

    @property
    def _columns(self) -> str:
        return ", ".join(f"k{i}" for i in range(len(self.target.schema.key)))


@contextmanager
def sent(
    server: ClickHouse, target: TargetTable, live: LiveTable, strategy: Strategy, keys: pa.Table
) -> Iterator[SentKeys]:
    """Send keys for the length of the block.

    Args:
        server: Where.
        target: Whose keys.
        live: The table there.
        strategy: How it keeps its key.
        keys: The key columns; a row's number is its place in it.
    """
    name = f"{quote(RESERVED_NAMESPACE)}.{quote(SCRATCH_PREFIX + uuid.uuid4().hex)}"
    types = _types(live, target.schema.key)
    columns = ", ".join(f"k{i} {type_}" for i, type_ in enumerate(types))
    where = str(target.id)
    rows = to_storage(keys.select(list(target.schema.key)))
    rows = rows.rename_columns([f"k{i}" for i in range(len(types))])
    numbers = pa.array(range(rows.num_rows), pa.uint64())
    server.run(f"CREATE TABLE {name} ({columns}, {_NUMBER} UInt64) ENGINE = Memory", where)
    try:
        server.insert(name, rows.append_column(_NUMBER, numbers), where)
        yield SentKeys(server, target, live, strategy, name)
    finally:
        server.run(f"DROP TABLE IF EXISTS {name} SYNC", where)


def _types(live: LiveTable, keys: Sequence[str]) -> list[str]:
    found = {c.name: c.type for c in live.columns}
    return [found[k] for k in keys]
