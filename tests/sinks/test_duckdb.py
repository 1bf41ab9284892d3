"""The DuckDB sink: the suite, with writers killed before every single statement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from resources.errors import ConfigError, DirtyRowError, SchemaMismatch
from resources.model.table import Column, TableSchema
from resources.sinks.contract import Sink, TargetId, TargetTable
from resources.sinks.duckdb import DuckDBSink
from tests.contracts.left_by_kills import Left
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_steps import (
    FEED,
    SCHEMA,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
    target_of,
)
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.hands_sql import SqlHands
from tests.sinks.races import race
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class Noting:
    """A DuckDB connection that notes what a kill before each of its statements would leave."""

    def __init__(self, connection: Any, left: Left) -> None:
        self._connection = connection
        self._left = left

    def execute(self, statement: str, *parameters: Any) -> Any:
        self._left.note()
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class TestDuckDBSink(SinkSuite):
    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)

    def open(self, place: str) -> DuckDBSink:
        return DuckDBSink(f"{place}.duckdb", types={"decimal_overflow": "text"})

    def points(self, step: str) -> tuple[str, ...]:
        """The small chunks of the first load are inserted at once each, not by parts."""
        missed = ("first load", "sink.load.after_rows:3")
        return tuple(p for p in super().points(step) if (step, p) != missed)

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        folder = Path(f"{place}-statements")
        folder.mkdir()
        path = str(folder / "shop.duckdb")
        left = Left(folder)
        with DuckDBSink(path) as sink:
            ALL_STEPS[step].prepare(sink)
        connect = duckdb.connect
        with pytest.MonkeyPatch.context() as patched, left.before(()), DuckDBSink(path) as sink:
            patched.setattr(duckdb, "connect", lambda *a, **o: Noting(connect(*a, **o), left))
            ALL_STEPS[step].work(sink)
        assert len(left) > 1 + 3 * ("load" in step)
        for state in left.again():
            yield state, DuckDBSink(path)


class TestDuckDBByHand(SqlHands):
    """The sink lets go of its file, as it does between runs."""

    def open(self, place: str) -> DuckDBSink:
        return DuckDBSink(f"{place}.duckdb")

    def run(self, sink: Sink, place: str, statements: tuple[str, ...]) -> None:
        sink.read_watermark(TARGET.id, FEED)  # the file is there, also before any table
        sink.close()
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{place}.duckdb' AS lake")
            connection.execute("USE lake")
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "shop.duckdb")


@pytest.fixture
def loaded(path: str) -> Iterator[DuckDBSink]:
    with DuckDBSink(path) as sink:
        STEPS["merge"].prepare(sink)
        yield sink


def alter(path: str, *statements: str) -> None:
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)


def test_duckdb_types(path: str) -> None:
    types = {
        pa.uint64(): "UBIGINT",
        pa.decimal128(38, 30): "DECIMAL(38,30)",
        pa.decimal256(65, 30): "VARCHAR",
        pa.timestamp("us"): "TIMESTAMP",
        pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
        pa.duration("us"): "INTERVAL",
        pa.large_string(): "VARCHAR",
        pa.large_binary(): "BLOB",
        pa.date32(): "DATE",
        pa.list_(pa.float32()): "FLOAT[]",
        pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())]): "STRUCT(srid UINTEGER, wkb BLOB)",
    }
    columns = [Column(f"c{i}", t) for i, t in enumerate(types)]
    with DuckDBSink(path, types={"decimal_overflow": "text"}) as sink:
        sink.create_table(target_of(*columns, key=("c0",)))
    with duckdb.connect(path) as connection:
        live = connection.execute("SELECT * FROM shop.shop.t").description
    assert [str(c[1]) for c in live] == list(types.values())


def test_wide_decimals_become_plain_text(path: str) -> None:
    target = target_of(Column("id", pa.int32()), Column("d", pa.decimal256(65, 30)))
    units = ["1", "-1", "0", "-" + "9" * 65, "9" * 65]
    plain = ["0." + "0" * 29 + "1", "-0." + "0" * 29 + "1", "0." + "0" * 30]
    plain += ["-" + "9" * 35 + "." + "9" * 30, "9" * 35 + "." + "9" * 30]
    text = pa.array([f"{u}E-30" for u in units])
    rows = pa.table(
        [pa.array(range(5), pa.int32()), text.cast(pa.decimal256(65, 30))], names=["id", "d"]
    )
    with DuckDBSink(path, types={"decimal_overflow": "text"}) as sink:
        sink.create_table(target)
        sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
        assert sink.read_table(target.id).sort_by("id").equals(rows)
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT list(d ORDER BY id) FROM shop.shop.t").fetchall() == [
            (plain,)
        ]


def test_wide_decimals_are_refused_before_start(path: str) -> None:
    target = target_of(Column("id", pa.int32()), Column("d", pa.decimal256(65, 30)))
    with DuckDBSink(path) as sink:
        (finding,) = sink.check_table(target)
        assert finding.code == "type_refused"
        assert "decimal_overflow: text" in finding.remedy
        with pytest.raises(ConfigError, match="cannot hold"):
            sink.create_table(target)
    with pytest.raises(ConfigError):
        DuckDBSink(path, types={"decimal_overflow": "double"})


@pytest.mark.parametrize(
    "type_", [pa.decimal256(50, 2), pa.float16(), pa.time64("us"), pa.map_(pa.int8(), pa.int8())]
)
def test_types_without_counterpart_are_findings(path: str, type_: pa.DataType) -> None:
    with DuckDBSink(path) as sink:
        findings = sink.check_table(target_of(Column("id", pa.int32()), Column("v", type_)))
    assert [f.code for f in findings] == ["type_refused"]


def test_names_that_fold_together(loaded: DuckDBSink) -> None:
    columns = (Column("id", pa.int32()), Column("Name", pa.string()), Column("NAME", pa.string()))
    assert [f.code for f in loaded.check_table(target_of(*columns))] == ["name_collision"]
    accents = (Column("id", pa.int32()), Column("é", pa.string()), Column("É", pa.string()))
    assert loaded.check_table(target_of(*accents)) == []
    for namespace, table in (("shop", "ORDERS"), ("SHOP", "orders")):
        target = TargetTable(TargetId(namespace, table), SCHEMA)
        (finding,) = loaded.check_table(target)
        assert (finding.code, finding.level) == ("name_collision", "error")
        with pytest.raises(ConfigError, match=r"taken by the base table shop\.orders"):
            loaded.begin_load(target, "a", FEED)


def test_name_of_a_view_is_taken(loaded: DuckDBSink, path: str) -> None:
    loaded.close()
    alter(path, "CREATE VIEW shop.shop.v AS SELECT 1 AS id")
    (finding,) = loaded.check_table(TargetTable(TargetId("shop", "V"), SCHEMA))
    assert "view shop.v" in finding.message


@pytest.mark.parametrize("namespace", ["information_schema", "PG_CATALOG"])
def test_schemas_of_duckdb_are_reserved(path: str, namespace: str) -> None:
    with DuckDBSink(path) as sink:
        (finding,) = sink.check_table(TargetTable(TargetId(namespace, "t"), SCHEMA))
    assert finding.code == "name_reserved"


@pytest.mark.parametrize("file", ["shop", "temp", "main", "system", 'we"ird', "a.b"])
def test_file_names_do_not_clash_with_schemas(tmp_path: Path, file: str) -> None:
    with DuckDBSink(str(tmp_path / f"{file}.duckdb")) as sink:
        STEPS["merge"].prepare(sink)
        STEPS["merge"].work(sink)
        assert sink.count_rows(TARGET.id) == 3


def test_hand_altered_table_is_shown_and_a_load_mends_it(loaded: DuckDBSink, path: str) -> None:
    loaded.close()
    alter(path, "ALTER TABLE shop.shop.orders ADD COLUMN note VARCHAR")
    with pytest.raises(SchemaMismatch) as caught:
        STEPS["merge"].work(loaded)
    assert "(id BIGINT, name VARCHAR, note VARCHAR)" in str(caught.value)
    assert "on the source (id BIGINT, name VARCHAR)" in str(caught.value)
    assert [f.code for f in loaded.check_table(TARGET)] == ["schema_mismatch"]
    load(loaded, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
    assert loaded.check_table(TARGET) == []


@pytest.mark.parametrize(
    ("statement", "field", "reason"),
    [
        ("ALTER TABLE shop.shop.orders ALTER name SET NOT NULL", "name", "NOT NULL"),
        (
            "CREATE OR REPLACE TABLE shop.shop.orders(id BIGINT, name VARCHAR "
            "CHECK (name != 'canary' AND name IS NOT NULL))",
            "",
            "refused by the constraint CHECK",
        ),
    ],
)
def test_constraints_of_the_user(
    loaded: DuckDBSink, path: str, statement: str, field: str, reason: str
) -> None:
    loaded.merge(TARGET, rows_of({}), keys_of(3), fence(10, 12))
    loaded.close()
    alter(path, statement)
    before = observe(loaded, TARGET)
    names = {i: None if i in (13, 14, 40) else "fine" for i in range(50)}
    with pytest.raises(DirtyRowError) as caught:
        loaded.merge(TARGET, rows_of(names), keys_of(), fence(12, 20))
    assert caught.value.field == field
    assert reason in str(caught.value)
    assert observe(loaded, TARGET) == before
    rejected = loaded.find_rejected(TARGET, rows_of(names))
    assert [(r.index, r.field) for r in rejected] == [(13, field), (14, field), (40, field)]
    assert all(reason in r.message for r in rejected)
    assert observe(loaded, TARGET) == before


def test_refused_values_are_not_told(loaded: DuckDBSink, path: str) -> None:
    loaded.close()
    alter(path, "CREATE UNIQUE INDEX one_name ON shop.shop.orders(name)")
    rows = rows_of({10: "canary-a", 11: "b", 12: "canary-a", 13: "two", 14: "canary-a"})
    with pytest.raises(DirtyRowError) as caught:
        loaded.merge(TARGET, rows, keys_of(), fence(10, 20))
    rejected = loaded.find_rejected(TARGET, rows)
    assert [r.index for r in rejected] == [2, 3, 4]
    assert "canary" not in str(caught.value) + str(rejected)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_text_that_is_not_utf8_is_a_dirty_row(loaded: DuckDBSink) -> None:
    raw = pa.array([b"fine", b"\xff\xfe"]).view(pa.string())
    rows = pa.table([pa.array([1, 2]), raw], schema=rows_of({}).schema)
    with pytest.raises(DirtyRowError, match="UTF-8"):
        loaded.merge(TARGET, rows, keys_of(), fence(10, 20))
    assert [r.index for r in loaded.find_rejected(TARGET, rows)] == [1]


def test_two_connections_race_and_one_wins(path: str) -> None:
    with DuckDBSink(path) as first, DuckDBSink(path) as second:
        first.create_table(TARGET)
        for mark, new in enumerate(range(1, 21)):
            results = race({"first": first, "second": second}, mark or None, new)
            assert sorted(results.values()) == ["lost", "won"]
            winner = next(who for who, result in results.items() if result == "won")
            rows = first.read_table(TARGET.id).to_pylist()
            assert {"id": new, "name": winner} in rows
            assert len(rows) == new


def test_arrow_types_follow_the_target(loaded: DuckDBSink) -> None:
    """A source that widens TEXT to LONGTEXT changes no DuckDB type, yet the Arrow type."""
    columns = (SCHEMA.columns[0], Column("name", pa.large_string()))
    target = TargetTable(TARGET.id, TableSchema(SCHEMA.table, columns, ("id",)))
    schema = pa.schema([("id", pa.int64()), ("name", pa.large_string())])
    rows = pa.table([[9], ["nine"]], schema=schema)
    loaded.merge(target, rows, keys_of(), fence(10, 20))
    assert loaded.read_table(TARGET.id).schema.types == schema.types


def test_no_file_or_extension_can_be_reached(loaded: DuckDBSink, tmp_path: Path) -> None:
    connection = loaded._file.connection
    for statement in (f"COPY (SELECT 1) TO '{tmp_path}/out.csv'", "INSTALL httpfs", "LOAD httpfs"):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    assert not (tmp_path / "out.csv").exists()


def test_memory_is_bounded_while_loading(path: str) -> None:
    """A load of 250 MB passes through a DuckDB that may use 100 MB."""
    target = target_of(Column("id", pa.int64()), Column("s", pa.string()))
    schema = pa.schema([("id", pa.int64()), ("s", pa.string())])
    size = 50_000

    def parts() -> Iterator[pa.Table]:
        for part in range(10):
            ids = pa.array(range(part * size, part * size + size))
            yield pa.table([ids, [f"{i:0500}" for i in ids.to_pylist()]], schema=schema)

    with DuckDBSink(path, memory_limit="100MB", threads=2) as sink:
        sink.begin_load(target, "a", FEED)
        assert sink.load_chunk(target, "a", 1, parts()) == 10 * size
        assert sink.finish_load(target, "a", fence(None, 1), 1) == 10 * size
        sink.close()
        assert sink.count_rows(target.id) == 10 * size
        assert sink.read_watermark(target.id, FEED) is not None
