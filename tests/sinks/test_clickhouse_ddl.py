"""CREATE statements of the ClickHouse sink for clusters, replicas and shards, as text."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError
from resources.sinks.clickhouse_ddl import Dialect, StoredColumn

COLUMNS = (StoredColumn("id", "Int64", "it's"), StoredColumn("_cdc_seq", "UInt64"))


def create(dialect: Dialect) -> str:
    engine = dialect.engine("ReplacingMergeTree", "`_cdc_seq`", "`_cdc_deleted`")
    return dialect.create_table("`shop`.`t`", COLUMNS, engine, ["id"], partition_by=["id"])


def test_one_server() -> None:
    assert create(Dialect()) == (
        "CREATE TABLE IF NOT EXISTS `shop`.`t` (`id` Int64 COMMENT 'it\\'s', `_cdc_seq` UInt64) "
        "ENGINE = ReplacingMergeTree(`_cdc_seq`, `_cdc_deleted`) PARTITION BY (`id`) "
        "ORDER BY (`id`) SETTINGS non_replicated_deduplication_window = 1000"
    )
    assert Dialect().create_database("a`b") == "CREATE DATABASE IF NOT EXISTS `a\\`b`"


def test_a_cluster_of_replicas() -> None:
    """Replicated tables remember inserts by themselves; their paths are the server's default."""
    dialect = Dialect("main", replicated=True)
    assert create(dialect) == (
        "CREATE TABLE IF NOT EXISTS `shop`.`t` ON CLUSTER `main` "
        "(`id` Int64 COMMENT 'it\\'s', `_cdc_seq` UInt64) "
        "ENGINE = ReplicatedReplacingMergeTree(`_cdc_seq`, `_cdc_deleted`) PARTITION BY (`id`) "
        "ORDER BY (`id`)"
    )
    ledger = dialect.create_ledger()
    assert all(" ON CLUSTER `main`" in s for s in ledger)
    assert all("Replicated" in s for s in ledger[1:])


def test_shards() -> None:
    dialect = Dialect("main", sharded=True)
    assert dialect.create_distributed("shop", "t", "t_local", ["id", "a b"]) == (
        "CREATE TABLE IF NOT EXISTS `shop`.`t` ON CLUSTER `main` AS `shop`.`t_local` "
        "ENGINE = Distributed(`main`, `shop`, `t_local`, cityHash64(`id`, `a b`))"
    )
    assert dialect.create_distributed("s", "t", "l", []).endswith("`l`, rand())")
    with pytest.raises(ConfigError, match="cluster"):
        Dialect(sharded=True)
