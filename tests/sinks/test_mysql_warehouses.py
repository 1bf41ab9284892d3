"""Warehouses that speak the MySQL protocol: their statements as text."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError
from resources.sinks.mysql_ddl import Wanted, Warehouse

COLUMNS = (
    Wanted("n", "bigint unsigned", comment="it's"),
    Wanted("id", "bigint", True),
    Wanted("co`de", "varchar(768)", True),
    Wanted("at", "datetime(6)"),
    Wanted("t", "longtext"),
    Wanted("d", "decimal(20,4)"),
    Wanted("took", "time(6)"),
)


def test_tables_of_doris() -> None:
    doris = Warehouse("doris")
    assert doris.create_table("`s`.`t`", COLUMNS, ("id", "co`de")) == (
        "CREATE TABLE IF NOT EXISTS `s`.`t` (`id` bigint NOT NULL, "
        "`co``de` varchar(65533) NOT NULL, `n` largeint NULL COMMENT 'it\\'s', "
        "`at` datetime(6) NULL, `t` string NULL, `d` decimal(20,4) NULL, `took` bigint NULL) "
        "UNIQUE KEY(`id`, `co``de`) DISTRIBUTED BY HASH(`id`, `co``de`) BUCKETS AUTO "
        'PROPERTIES ("enable_unique_key_merge_on_write" = "true")'
    )
    assert doris.create_table("`s`.`log`", COLUMNS[3:5], ()) == (
        "CREATE TABLE IF NOT EXISTS `s`.`log` (`at` datetime(6) NULL, `t` string NULL) "
        "DUPLICATE KEY(`at`) DISTRIBUTED BY HASH(`at`) BUCKETS AUTO"
    )
    with pytest.raises(ConfigError, match="no type"):
        doris.type(Wanted("b", "longblob"))


def test_tables_of_starrocks() -> None:
    starrocks = Warehouse("starrocks")
    assert starrocks.create_table("`s`.`t`", COLUMNS[:4], ("id", "co`de")) == (
        "CREATE TABLE IF NOT EXISTS `s`.`t` (`id` bigint NOT NULL, `co``de` varchar(768) NOT NULL, "
        "`n` largeint NULL COMMENT 'it\\'s', `at` datetime NULL) "
        "PRIMARY KEY(`id`, `co``de`) DISTRIBUTED BY HASH(`id`, `co``de`)"
    )
    assert starrocks.type(Wanted("b", "longblob")) == "varbinary"


def test_writes_of_warehouses() -> None:
    doris = Warehouse("doris")
    assert doris.upsert("`s`.`t`", ["id", "a"], "(1,'x'),(2,NULL)") == (
        "INSERT INTO `s`.`t` (`id`, `a`) VALUES (1,'x'),(2,NULL)"
    )
    assert doris.delete("`s`.`t`", ["id"], "(1),(2)") == (
        "DELETE FROM `s`.`t` WHERE `id` IN ((1),(2))"
    )
    assert doris.delete("`s`.`t`", ["a", "b"], "(1,2)") == (
        "DELETE FROM `s`.`t` WHERE (`a`, `b`) IN ((1,2))"
    )


def test_warehouses_there_are_not() -> None:
    with pytest.raises(ConfigError, match="no warehouse 'oracle'"):
        Warehouse("oracle")  # type: ignore[arg-type]
