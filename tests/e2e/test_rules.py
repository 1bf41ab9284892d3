"""Targets equal what the server itself makes of their sources by the same words, after random DML.

One table per feature of routes and transforms; rows are loaded by a snapshot in the middle of the
changes, captured, merged in runs that crash, and compared with a SELECT on MySQL.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.routing import OWNER, Router, RouteRule
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.transforms.rule import Mask, RowRule, TransformRule
from resources.errors import ConfigError
from resources.failpoints import FailpointReached
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from tests.armed import armed
from tests.e2e import child
from tests.mysql.room import tcp_settings

COLUMNS = (
    "(id INT PRIMARY KEY, code INT NOT NULL UNIQUE, a INT, s VARCHAR(30), d DECIMAL(12,2), "
    "t DATETIME(3))"
)


@dataclass(frozen=True)
class Feature:
    """One feature on a table of its own.

    Args:
        table: The table's name.
        rule: What is done to its rows; `{db}` stands for the database.
        select: The same in the server's words, after `SELECT`.
        where: Which rows are in the target.
        targets: Names of the targets; the table's own if empty.
        living: Picks the rows to compare out of the target's.
        aside: Which of the source's rows are set aside.
    """

    table: str
    rule: TransformRule | None
    select: str
    where: str = "TRUE"
    targets: tuple[str, ...] = ()
    living: Callable[[dict[str, Any]], bool] = lambda row: True
    aside: str = "FALSE"


def rule(table: str, **more: Any) -> TransformRule:
    return TransformRule((f"*.{table}",), **more)


FEATURES = (
    Feature("plain", None, "*"),
    Feature(
        "filtered",
        rule("filtered", filter="a > 5 AND s IS NOT NULL"),
        "*",
        "a > 5 AND s IS NOT NULL",
    ),
    Feature(
        "computed",
        rule(
            "computed",
            projection=(
                "id AS number",
                "upper(s) AS u",
                "a + 1 AS b",
                "d * 2 AS twice",
                "DATE_FORMAT(t, '%Y-%m') AS month",
                "IFNULL(s, 'none') AS s",
                "__table__ AS origin",
            ),
        ),
        "id number, UPPER(s) u, a + 1 b, d * 2 twice, DATE_FORMAT(t, '%%Y-%%m') month, "
        "IFNULL(s, 'none') s, 'computed' origin",
    ),
    Feature(
        "other_key",
        rule("other_key", projection=("code", "s", "a"), primary_keys=("code",)),
        "code, s, a",
    ),
    Feature(
        "kept",
        rule("kept", soft_delete="gone"),
        "*, FALSE gone",
        living=lambda row: not row["gone"],
    ),
    Feature(
        "masked",
        rule(
            "masked",
            masks=(Mask("s", "hash", salt="pepper"), Mask("d", "redact")),
            exclude=("t",),
        ),
        "id, code, a, SHA2(CONCAT('pepper', s), 256) s, CAST(NULL AS DECIMAL(12,2)) d",
    ),
    Feature(
        "skipping",
        rule("skipping", rules=(RowRule("range", "a", min="0", max="15", on_fail="skip"),)),
        "*",
        "a IS NULL OR a BETWEEN 0 AND 15",
    ),
    Feature(
        "refusing",
        rule("refusing", rules=(RowRule("short", "s", max_length=3, on_fail="dirty"),)),
        "*",
        aside="CHAR_LENGTH(s) > 3",
    ),
    Feature("fanned", None, "*, 'fanned' shard", targets=("dw.fanned_one", "dw.fanned_two")),
)
ROUTES = (
    RouteRule(("*.fanned",), "dw.fanned_one", shard=(("shard", "{table}"),)),
    RouteRule(("*.fanned",), "dw.fanned_two", shard=(("shard", "{table}"),)),
)
KILLS = ("apply.before_merge", "apply.after_commit", "capture.after_commit", "sink.before_commit")


class Dml:
    """Random changes of every kind, keys included."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)

    def statement(self, table: str) -> str:
        rnd = self.rnd
        key = rnd.randrange(12)
        values = (
            f"{rnd.choice(('NULL', str(rnd.randrange(-3, 20))))}, "
            f"{rnd.choice(('NULL', repr(rnd.choice(('ä', 'bc', 'Longer', '')))))}, "
            f"{rnd.choice(('NULL', str(rnd.randrange(-(10**6), 10**6) / 100)))}, "
            f"'2026-0{rnd.randrange(1, 9)}-11 12:00:00.{rnd.randrange(1000):03}'"
        )
        kind = rnd.randrange(6)
        if kind < 2:
            code = rnd.randrange(40)
            return f"INSERT IGNORE INTO {table} VALUES ({key}, {code}, {values})"
        if kind == 2:
            return f"DELETE FROM {table} WHERE id = {key}"
        a, s, d, _ = values.split(", ")
        changed = rnd.choice(
            (
                f"a = {a}, s = {s}",
                f"d = {d}",
                f"id = {rnd.randrange(12)}",
                f"code = {rnd.randrange(40)}",
                f"code = {rnd.randrange(40)}, id = {rnd.randrange(12)}, a = {a}",
            )
        )
        return f"UPDATE IGNORE {table} SET {changed} WHERE id = {key}"


class Bench:
    """The tables, and one pipeline over all of them."""

    def __init__(self, server: Any, database: str, home: Path) -> None:
        self.server, self.database = server, database
        rules = tuple(f.rule for f in FEATURES if f.rule is not None)
        options = {
            "router": Router(ROUTES, "all"),
            "transforms": Transforms(rules),
            "segment_rows": 60,
            "apply_rows": 40,
        }
        self.setup = child.Setup(tcp_settings(server), database, home, options)

    def execute(self, statements: list[str]) -> None:
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def select(self, feature: Feature, where: str) -> set[tuple[Any, ...]]:
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            query = f"SELECT {feature.select} FROM {feature.table} WHERE {where}"
            cursor.execute(query.replace("%%", "%"))
            names = [d[0] for d in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return {_comparable(row) for row in rows}

    def pipeline(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.closing(child.open_pipeline(self.setup))

    def load(self) -> None:
        with self.pipeline() as pipeline:
            for feature in FEATURES:
                run_snapshot(pipeline, TableId(self.database, feature.table))

    def sync(self, kill: str = "") -> None:
        with self.pipeline() as pipeline, contextlib.ExitStack() as stack:
            if kill:
                stack.enter_context(contextlib.suppress(FailpointReached))
                stack.enter_context(armed(f"{kill}:raise:3"))
            report = run_sync(pipeline)
            assert {r.outcome for r in report.feeds.values()} <= {"applied", "current"}

    def require_equal(self, feature: Feature) -> None:
        expected = self.select(feature, f"({feature.where}) AND NOT IFNULL({feature.aside}, FALSE)")
        refused = self.select(feature, f"IFNULL({feature.aside}, FALSE)")
        names = feature.targets or (f"{self.database}.{feature.table}",)
        with contextlib.closing(child.open_sink(self.setup)) as sink:
            for name in names:
                found = sink.read_table(TargetId(*name.split("."))).to_pylist()
                rows = [_comparable(row) for row in found if feature.living(row)]
                assert len(rows) == len(set(rows)), f"{name} has a row twice"
                # What is set aside may be there as it was before.
                extra = set(rows) - expected
                assert expected <= set(rows), f"{name}: missing {expected - set(rows)}"
                assert len(extra) <= len(refused), f"{name}: extra {extra}"
        with self.pipeline() as pipeline:
            table = TableId(self.database, feature.table)
            assert (pipeline.dirty.count_open(table=table) > 0) == bool(refused)


def _comparable(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        (name, int(value) if isinstance(value, bool) else value)
        for name, value in sorted(row.items())
        if name != OWNER
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(2, 12))]
)
def test_targets_are_what_the_server_makes_of_their_sources(
    mysql: Any, mysql_db: str, tmp_path: Path, seed: int
) -> None:
    bench, dml = Bench(mysql, mysql_db, tmp_path), Dml(seed)
    tables = [feature.table for feature in FEATURES]
    bench.execute([f"CREATE TABLE {table} {COLUMNS}" for table in tables])

    def change(count: int) -> None:
        for table in tables:
            bench.execute([dml.statement(table) for _ in range(count)])

    change(20)
    bench.load()
    for kill in KILLS:
        change(15)
        bench.sync(kill)
    change(10)
    bench.sync()
    for feature in FEATURES:
        bench.require_equal(feature)
    bench.load()  # read again over what the log made
    change(5)
    bench.sync()
    for feature in FEATURES:
        bench.require_equal(feature)


def test_what_is_masked_or_left_out_is_kept_nowhere(
    mysql: Any, mysql_db: str, tmp_path: Path
) -> None:
    """Not in the change log, the target, the state or a dirty row's bytes."""
    hidden = TransformRule(
        ("*.users",), masks=(Mask("mail", "hmac", salt="pepper"),), exclude=("password",)
    )
    options = {"transforms": Transforms((hidden,))}
    setup = child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options)
    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(
            "CREATE TABLE users (id INT PRIMARY KEY, mail TEXT, password TEXT, born DATE)"
        )
        cursor.execute("INSERT INTO users VALUES (1, 'marker-1', 'marker-2', '2000-01-01')")
        with contextlib.closing(child.open_pipeline(setup, zero_dates="dirty")) as pipeline:
            run_snapshot(pipeline, TableId(mysql_db, "users"))
        cursor.execute("INSERT INTO users VALUES (2, 'marker-3', 'marker-4', '0000-00-00')")
        cursor.execute("UPDATE users SET mail = 'marker-5' WHERE id = 1")
    with contextlib.closing(child.open_pipeline(setup, zero_dates="dirty")) as pipeline:
        run_sync(pipeline)
        stored = list(pipeline.log.read(TableId(mysql_db, "users"), 0))
        (dirty,) = pipeline.dirty.open_rows()
    assert stored
    assert all("password" not in batch.rows.schema.names for batch in stored)
    assert not any("marker" in str(batch.rows.to_pylist()) for batch in stored)
    assert (dirty.field, dirty.raw, dirty.image) == ("born", b"", b"")
    with contextlib.closing(child.open_sink(setup)) as sink:
        found = sink.read_table(TargetId(mysql_db, "users"))
    assert found.column_names == ["id", "mail", "born"]
    assert "marker" not in str(found.to_pylist())
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"marker" in path.read_bytes()]


@pytest.mark.parametrize("statement", ["RENAME COLUMN mail TO address", "CHANGE note memo TEXT"])
def test_a_renamed_column_never_shows_what_a_rule_hides(
    mysql: Any, mysql_db: str, tmp_path: Path, statement: str
) -> None:
    def setup(*masked: str) -> child.Setup:
        masks = tuple(Mask(name, "hmac", salt="pepper") for name in masked)
        rule = TransformRule((f"{mysql_db}.users",), masks=masks, exclude=("note", "memo")[:1])
        if "memo" in masked:
            rule = TransformRule((f"{mysql_db}.users",), masks=masks[:1], exclude=("note", "memo"))
        options = {"transforms": Transforms((rule,))}
        return child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options)

    connection = mysql.connect(database=mysql_db)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE users (id INT PRIMARY KEY, mail TEXT, note TEXT)")
        cursor.execute("INSERT INTO users VALUES (1, 'marker-1', 'marker-2')")
        with contextlib.closing(child.open_pipeline(setup("mail"))) as pipeline:
            run_snapshot(pipeline, TableId(mysql_db, "users"))
        cursor.execute(f"ALTER TABLE users {statement}")
        cursor.execute("INSERT INTO users VALUES (2, 'marker-3', 'marker-4')")
    for _ in range(2):
        with (
            contextlib.closing(child.open_pipeline(setup("mail"))) as pipeline,
            pytest.raises(ConfigError, match="which the pipeline hides, was renamed"),
        ):
            run_sync(pipeline)
    new = "address" if "address" in statement else "memo"
    with contextlib.closing(child.open_pipeline(setup("mail", new))) as pipeline:
        run_sync(pipeline)
        run_snapshot(pipeline, TableId(mysql_db, "users"))
        stored = list(pipeline.log.read(TableId(mysql_db, "users"), 0))
    assert stored
    assert not any("marker" in str(batch.rows.to_pylist()) for batch in stored)
    with contextlib.closing(child.open_sink(setup("mail"))) as sink:
        found = sink.read_table(TargetId(mysql_db, "users")).to_pylist()
    assert {row["id"] for row in found} == {1, 2}
    assert "marker" not in str(found)
