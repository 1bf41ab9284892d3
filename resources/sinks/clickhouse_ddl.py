"""CREATE TABLE in ClickHouse: one server, a cluster, replicas, shards.

In: columns, keys and what the deployment is like. Out: statements.
https://clickhouse.com/docs/engines/table-engines/mergetree-family
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resources.errors import ConfigError
from resources.sinks.clickhouse_names import literal, quote, quote_all
from resources.sinks.create_table import CreateRule
from resources.sinks.shape import RESERVED_NAMESPACE

VERSION = "_cdc_seq"
DELETED = "_cdc_deleted"
REMEMBERED_INSERTS = 1000
"""Tokens of inserts a table that is not replicated remembers; it would remember none by itself."""
_FEED = "pipeline String, source_database String, source_table String"
_TARGET = "namespace String, target String"
LEDGER_TABLES = {
    "watermarks": (
        f"{_TARGET}, uuid UUID, {_FEED}, seq UInt64, consistent_from UInt64, token UInt64, "
        "version UInt64, move UInt64, rank UInt128, updated_at DateTime64(6, 'UTC')",
        "rank",
        "namespace, target, uuid, pipeline, source_database, source_table",
    ),
    "loads": (
        f"{_TARGET}, load_id String, {_FEED}, uuid UUID, shadow String, result UUID, "
        "rows Nullable(UInt64), move UInt64, dropped UInt8",
        "move, dropped",
        "namespace, target, load_id",
    ),
    "loaded_chunks": (
        "uuid UUID, chunk Int64, rows UInt64, move UInt64",
        "move",
        "uuid, chunk",
    ),
}
"""The sink's own tables: columns, version column, key."""


@dataclass(frozen=True)
class StoredColumn:
    """A column of a table to create.

    Args:
        name: Its name.
        type: Its ClickHouse type.
        comment: Its comment, the mark of its Arrow type included.
    """

    name: str
    type: str
    comment: str = ""

    def declaration(self) -> str:
        """Return it as CREATE and ALTER have it."""
        said = f" COMMENT {literal(self.comment)}" if self.comment else ""
        return f"{quote(self.name)} {self.type}{said}"


@dataclass(frozen=True)
class Dialect:
    """What the deployment is like.

    Args:
        cluster: Runs every statement that changes tables ON CLUSTER; empty for one server.
        replicated: Makes Replicated tables, their paths in Keeper being the server's default.
        sharded: Splits each table over the cluster's shards by its key, behind a Distributed one.

    Raises:
        ConfigError: Shards need a cluster.
    """

    cluster: str = ""
    replicated: bool = False
    sharded: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.sharded and not self.cluster:
            raise ConfigError("shards need a cluster", remedy="name it: cluster: <name>")

    @property
    def on_cluster(self) -> str:
        """The words between a table's name and the rest of a DDL statement."""
        return f" ON CLUSTER {quote(self.cluster)}" if self.cluster else ""

    def engine(self, name: str, *arguments: str) -> str:
        """Return an engine of the MergeTree family."""
        return f"{'Replicated' * self.replicated}{name}({', '.join(arguments)})"

    def create_database(self, name: str) -> str:
        """Return the statement that creates a database where it is missing."""
        return f"CREATE DATABASE IF NOT EXISTS {quote(name)}{self.on_cluster}"

    def create_table(
        self,
        name: str,
        columns: Sequence[StoredColumn],
        engine: str,
        order_by: Sequence[str],
        *,
        partition_by: Sequence[str] = (),
        comment: str = "",
        rule: CreateRule | None = None,
    ) -> str:
        """Return the statement that creates a table where it is missing.

        Args:
            name: Its quoted name.
            columns: Its columns.
            engine: What `engine` returned.
            order_by: Names of its sorting key.
            partition_by: Names of the columns whose values lay out its parts.
            comment: The source table's comment.
            rule: What the pipeline file says of it.

        Raises:
            ConfigError: The rule's template does not fit the table.
        """
        declared = ", ".join(c.declaration() for c in columns)
        if rule and rule.template:
            places = {"columns": declared, "plain_columns": declared, "key": quote_all(order_by)}
            return rule.fill(f"{name}{self.on_cluster}", {**places, "engine": engine})
        parts = [f"CREATE TABLE IF NOT EXISTS {name}{self.on_cluster} ({declared})"]
        parts.append(f"ENGINE = {engine}")
        if partition_by:
            parts.append(f"PARTITION BY ({quote_all(partition_by)})")
        parts.append(f"ORDER BY ({quote_all(order_by)})")
        parts += self._settled(rule.options if rule else "")
        if comment:
            parts.append(f"COMMENT {literal(comment)}")
        return " ".join(parts)

    def _settled(self, options: str) -> list[str]:
        """Return what a table is created with beside its engine: a user's options, our setting."""
        if self.replicated:
            return [options] if options else []
        ours = f"SETTINGS non_replicated_deduplication_window = {REMEMBERED_INSERTS}"
        before, word, after = _split(options)
        return [part for part in (before, f"{ours}, {after}" if word else ours) if part]

    def create_distributed(self, database: str, table: str, local: str, key: Sequence[str]) -> str:
        """Return the statement of the table that readers and writers of a sharded one use.

        A key always lies on one shard, so that its versions meet.

        Args:
            database: The database of both.
            table: Its name.
            local: The name of the table on every shard.
            key: Names of the key; rows without one go anywhere.
        """
        hashed = f"cityHash64({quote_all(key)})" if key else "rand()"
        there = f"{quote(database)}.{quote(local)}"
        return (
            f"CREATE TABLE IF NOT EXISTS {quote(database)}.{quote(table)}{self.on_cluster} "
            f"AS {there} ENGINE = Distributed({quote(self.cluster)}, {quote(database)}, "
            f"{quote(local)}, {hashed})"
        )

    def create_ledger(self) -> list[str]:
        """Return the statements that create the sink's own tables where they are missing."""
        own = quote(RESERVED_NAMESPACE)
        statements = [self.create_database(RESERVED_NAMESPACE)]
        for name, (columns, version, key) in LEDGER_TABLES.items():
            engine = self.engine("ReplacingMergeTree", version)
            statements.append(
                f"CREATE TABLE IF NOT EXISTS {own}.{quote(name)}{self.on_cluster} ({columns}) "
                f"ENGINE = {engine} ORDER BY ({key})"
            )
        return statements


def _split(options: str) -> tuple[str, str, str]:
    """Return options before the word SETTINGS, it, and those behind it; a table has it once."""
    found = re.search(r"\bSETTINGS\b", options, re.IGNORECASE)
    if found is None:
        return options.strip(), "", ""
    return options[: found.start()].strip(), found[0], options[found.end() :].strip()
