"""Warehouses of PostgreSQL's family: their statements as text."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError
from resources.sinks.postgres_ddl import Dialect, Wanted

COLUMNS = (Wanted("id", "bigint", True), Wanted('co"de', "text", True), Wanted("n", "text"))


@pytest.mark.parametrize(
    ("family", "layout", "loose"),
    [
        ("postgres", "", ""),
        ("greenplum", ' DISTRIBUTED BY ("id", "co""de")', " DISTRIBUTED RANDOMLY"),
    ],
)
def test_tables_lie_by_their_key(family: str, layout: str, loose: str) -> None:
    dialect = Dialect(family)  # type: ignore[arg-type]
    assert dialect.create_table('"s"."t"', COLUMNS, ("id", 'co"de')) == (
        'CREATE TABLE "s"."t" ("id" bigint NOT NULL, "co""de" text COLLATE "C" NOT NULL, "n" text, '
        f'PRIMARY KEY ("id", "co""de")){layout}'
    )
    bare = dialect.create_table('"s"."t"', COLUMNS, ("id", 'co"de'), bare=True)
    assert ("PRIMARY KEY" in bare, "autovacuum" in bare) == (
        (True, False) if family == "greenplum" else (False, True)
    )
    plain = [Wanted(c.name, c.type) for c in COLUMNS]
    assert dialect.create_table('"s"."log"', plain, ()) == (
        f'CREATE TABLE "s"."log" ("id" bigint, "co""de" text, "n" text){loose}'
    )
    assert dialect.create_keys("pg_temp.k", '"s"."t"', ["id", 'co"de'], '"owner"') == (
        'CREATE TEMPORARY TABLE pg_temp.k ON COMMIT DROP AS SELECT "id", "co""de", "owner" '
        f'FROM "s"."t" WITH NO DATA{layout}'
    )


def test_families_there_are_not() -> None:
    with pytest.raises(ConfigError, match="no family 'redshift'"):
        Dialect("redshift")  # type: ignore[arg-type]
