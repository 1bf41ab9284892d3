"""Columns added with a constant: old rows get it in every target, and no table is read again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from cdc_assets.engine.refold import refold_table
from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.routing import Router, RouteRule
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.schema_policy import PolicyRule, SchemaPolicy
from cdc_assets.engine.transforms.rule import Mask, TransformRule
from resources.model.column_change import RetypeColumn
from resources.model.table import Column, TableId
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.e2e.pairings import Pairing
from tests.e2e.pairings import pairing as pairing
from tests.e2e.room import NIGHTLY, Line
from tests.mysql.room import tcp_settings
from tests.sinks.postgres_room import room as room

MAKE = "(id INT PRIMARY KEY, a INT, v VARCHAR(20))"
COLUMNS = (
    "i INT NOT NULL DEFAULT 7", "u BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615",
    "d DECIMAL(10,2) DEFAULT '-1.50'", "s VARCHAR(9) NOT NULL DEFAULT 'it''s'",
    "n CHAR(3) NOT NULL",
    "e ENUM('x','y') NOT NULL", "st SET('p','q') DEFAULT 'p,q'", "dt DATE DEFAULT '2020-02-29'",
    "ts DATETIME(3) DEFAULT '2020-01-01 00:00:00.5'", "tm TIME DEFAULT '-12:34:56'",
    "b BIT(9) DEFAULT b'101'", "y YEAR DEFAULT 2020", "t BOOL DEFAULT TRUE", "z BINARY(2) NOT NULL",
    "x INT", "f DOUBLE NOT NULL",
)  # fmt: skip
ADD = ", ".join(f"ADD COLUMN {column}" for column in COLUMNS)
WORDS = ("lenient", "try_evolve", "hold")
ONE_SINK = pytest.mark.parametrize(
    "pairing",
    ["mysql-duckdb", pytest.param("mariadb-postgres", marks=NIGHTLY)],
    indirect=True,
)
"""For what the engine does: which sink it is makes little difference."""


@pytest.fixture
def line(pairing: Pairing, tmp_path: Path) -> Line:
    """A pipeline that reads no table again by itself."""
    url = pairing.room.url(pairing.room.database(pairing.database)) if pairing.room else ""
    settings = tcp_settings(pairing.server)
    options = {"reread": False}
    setup = child.Setup(settings, pairing.database, tmp_path, options, postgres=url)
    return Line(pairing.server, setup)


def make(line: Line, *tables: str) -> None:
    for table in tables:
        rows = "(1, 1, 'one'), (2, 2, NULL), (3, 3, 'three')"
        line.execute(f"CREATE TABLE {table} {MAKE}", f"INSERT INTO {table} VALUES {rows}")
    line.load(*tables)


def change(line: Line, table: str) -> None:
    """Rows before and after a statement that adds columns, in one stretch of the log."""
    line.execute(
        "SET sql_mode = ''",  # rows may leave out what has no default
        f"UPDATE {table} SET v = 'before' WHERE id = 2",
        f"INSERT INTO {table} (id, v) VALUES (4, 'four')",
        f"ALTER TABLE {table} {ADD}",
        f"INSERT INTO {table} (id, v) VALUES (5, 'five')",
        f"UPDATE {table} SET i = 8, s = 'other' WHERE id = 1",
        f"DELETE FROM {table} WHERE id = 3",
    )


def test_every_policy_that_adds_columns_fills_them(line: Line) -> None:
    rules = tuple(PolicyRule(word, f"*.{word}") for word in WORDS)  # type: ignore[arg-type]
    line.configure(policy=SchemaPolicy("lenient", rules))
    make(line, *WORDS)
    for word in WORDS:
        change(line, word)
    assert line.followed() == {word: "held" if word == "hold" else "live" for word in WORDS}
    with line.pipeline() as pipeline:
        held = pipeline.changes.held()
        assert len(held) == len(COLUMNS), "each by itself"
        shown = "\n".join(c.target_ddl for c in held)
        assert all(text in shown for text in ("it''s", "-1.50", "2020-02-29"))
        for one in held:
            assert pipeline.changes.decide(one.id, "applied", "Ann", "as planned")
    assert set(line.followed().values()) == {"live"}
    for word in WORDS:
        assert line.rows(word) == line.loadable(word), word


def test_in_a_shared_target_a_feed_fills_its_own_rows(line: Line) -> None:
    rule = RouteRule(("*.shard_*",), "dw.all", True, (("shard", "{2}"),), True)
    line.configure(router=Router((rule,)))
    make(line, "shard_1", "shard_2", "shard_3")
    line.execute("ALTER TABLE shard_1 ADD x INT NOT NULL DEFAULT 7")
    line.sync()
    line.execute("ALTER TABLE shard_2 ADD x BIGINT NOT NULL DEFAULT 5000000000")
    line.execute("UPDATE shard_1 SET x = 9 WHERE id = 1")
    assert set(line.followed().values()) == {"live"}
    found = {(r["shard"], r["id"]): r["x"] for r in line.rows("dw.all")}
    wanted = {("1", 1): 9, ("1", 2): 7, ("1", 3): 7}
    wanted |= {("2", i): 5_000_000_000 for i in (1, 2, 3)}
    assert found == wanted | {("3", i): None for i in (1, 2, 3)}


@ONE_SINK
def test_what_is_hidden_or_projected_is_filled_as_rows_have_it(line: Line) -> None:
    key = Mask("s", "hmac", salt="salt")
    hidden = TransformRule(("*.hidden",), masks=(key,), exclude=("d", "u"))
    shown = TransformRule(("*.shown",), projection=("*", "upper(v) AS w", "id + 1 AS next"))
    line.configure(transforms=Transforms((hidden, shown)))
    make(line, "hidden", "shown")
    change(line, "hidden")
    change(line, "shown")
    assert set(line.followed().values()) == {"live"}
    rows = {r["id"]: r for r in line.rows("hidden")}
    assert not {"d", "u"} & rows[1].keys()
    assert rows[2]["s"] == rows[5]["s"] != rows[1]["s"]
    assert "it's" not in {r["s"] for r in rows.values()}
    wanted = [
        {**r, "w": r["v"] and r["v"].upper(), "next": r["id"] + 1} for r in line.loadable("shown")
    ]
    assert line.rows("shown") == wanted


@ONE_SINK
def test_rows_set_aside_before_a_column_have_its_value_when_they_come_back(line: Line) -> None:
    rules = (PolicyRule("ignore", events=frozenset({"alter_column_type"})),)
    line.configure(policy=SchemaPolicy("lenient", rules))
    make(line, "t")
    line.execute("ALTER TABLE t MODIFY a BIGINT", "UPDATE t SET a = 5000000000 WHERE id = 2")
    line.execute("ALTER TABLE t ADD x INT NOT NULL DEFAULT 7", "UPDATE t SET x = 8 WHERE id = 1")
    assert line.followed() == {"t": "live"}
    with line.pipeline() as pipeline:
        [row] = pipeline.dirty.open_rows()
        assert row.field == "a"
        with pipeline.sink() as sink:
            sink.alter_table(TargetId(line.database, "t"), [RetypeColumn(Column("a", pa.int64()))])
        replay_dirty(pipeline)
    assert line.rows("t") == line.loadable("t")


@ONE_SINK
def test_a_target_folded_again_from_the_log_has_the_same_values(line: Line) -> None:
    line.sync()
    line.execute(f"CREATE TABLE t {MAKE}", "INSERT INTO t VALUES (1, 1, 'one'), (3, 3, NULL)")
    change(line, "t")
    assert line.followed() == {"t": "live"}
    assert line.rows("t") == line.loadable("t")
    with line.pipeline() as pipeline:
        refold_table(pipeline, TableId(line.database, "t"))
    assert line.rows("t") == line.loadable("t")
