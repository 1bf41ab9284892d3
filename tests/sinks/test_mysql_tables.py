"""Tables of the MySQL sink: types, names, keys, what hangs on them, and what users do to them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import ConfigError, DirtyRowError, SchemaMismatch
from resources.model.column_change import AddColumn, RenameColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable, Watermark
from resources.sinks.mysql import MySQLSink
from resources.sinks.shape import target_schema
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
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.strategies import GEOMETRY, VECTOR, comparable


class Place:
    """The table `shop.orders` loaded: 1 one, 2 two, 3 NULL."""

    def __init__(self, room: MySQLRoom, name: str) -> None:
        self.sink: MySQLSink = room.sink(name)
        self.run = room.run
        STEPS["merge"].prepare(self.sink)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.run("SELECT id, name FROM shop.orders ORDER BY id")


@pytest.fixture
def place(mysql_room: MySQLRoom, request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(mysql_room, request.node.name)
    with place.sink:
        yield place


ID = Column("id", pa.int32(), nullable=False)
_UTC = dt.UTC
TYPES: list[tuple[Column, Any, str, Any]] = [
    (Column("", pa.bool_()), True, "tinyint(1)", 1),
    (Column("", pa.int8()), -128, "tinyint", -128),
    (Column("", pa.uint8()), 255, "tinyint unsigned", 255),
    (Column("", pa.uint64()), 2**64 - 1, "bigint unsigned", 2**64 - 1),
    (Column("", pa.uint64(), kind="bit"), 2**63, "bit(64)", (2**63).to_bytes(8, "big")),
    (Column("", pa.int16(), kind="year"), 1901, "year", 1901),
    (
        *(Column("", pa.decimal256(65, 30)), Decimal("-1E-30")),
        *("decimal(65,30)", Decimal("-1E-30")),
    ),
    (Column("", pa.float32()), 0.10000000149011612, "float", 0.1),
    (Column("", pa.date32()), dt.date(1, 1, 1), "date", dt.date(1, 1, 1)),
    (
        *(Column("", pa.timestamp("us")), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
        *("datetime(6)", dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ),
    (
        Column("", pa.timestamp("us", tz="UTC"), "timestamp(3)"),
        dt.datetime(2038, 1, 19, 3, 14, 7, tzinfo=_UTC),
        *("timestamp(6)", dt.datetime(2038, 1, 19, 3, 14, 7)),
    ),
    (
        Column("", pa.timestamp("us", tz="UTC"), "timestamp with time zone"),
        dt.datetime(2500, 1, 1, tzinfo=_UTC),
        *("datetime(6)", dt.datetime(2500, 1, 1)),
    ),
    (
        *(Column("", pa.duration("us")), dt.timedelta(hours=-838, microseconds=-1)),
        *("time(6)", dt.timedelta(hours=-838, microseconds=-1)),
    ),
    (Column("", pa.string(), "varchar(3)"), "long\\\t\n", "longtext", "long\\\t\n"),
    (Column("", pa.large_string(), kind="json"), '{"b":  1}', "longtext", '{"b":  1}'),
    (Column("", pa.large_binary()), b"\0\xff\t\\", "longblob", b"\0\xff\t\\"),
    (Column("", VECTOR), [1.5], "longblob", b"\0\0\xc0\x3f"),
    (
        Column("", GEOMETRY, kind="geometry"),
        {"srid": 0, "wkb": bytes([1, 1, 0, 0, 0]) + bytes(16)},
        *("geometry", bytes(4) + bytes([1, 1, 0, 0, 0]) + bytes(16)),
    ),
]


def test_types_and_values_as_the_server_has_them(place: Place) -> None:
    columns = [
        Column(f"c{i}", c.type, c.source_type, kind=c.kind) for i, (c, *_) in enumerate(TYPES)
    ]
    target = target_of(ID, *columns)
    assert place.sink.check_table(target) == []
    place.sink.create_table(target)
    found = place.run(
        "SELECT column_type FROM information_schema.columns "
        "WHERE table_schema = 'shop' AND table_name = 't' AND column_name <> 'id' "
        "ORDER BY ordinal_position"
    )
    assert [row[0] for row in found] == [name for _, _, name, _ in TYPES]
    assert place.sink.check_table(target) == []
    rows = pa.table([[1], *([value] for _, value, _, _ in TYPES)], schema=target_schema(target))
    place.sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    names = ", ".join(f"c{i}" for i in range(len(TYPES)))
    (row,) = place.run("SET time_zone = '+00:00'", f"SELECT {names} FROM shop.t")
    assert list(row) == [said for *_, said in TYPES]
    assert comparable(place.sink.read_table(target.id)) == comparable(rows)


BAD = [
    (pa.float64(), [1.0, float("nan"), None, float("inf")], [1, 3], "finite"),
    (pa.date32(), [-719_162, -719_163, 2_932_897, None], [1, 2], "years 1 to 9999"),
    (pa.timestamp("us"), [-(2**63), 0, 2**63 - 1], [0, 2], "years 1 to 9999"),
    (pa.duration("us"), [3_020_399_000_000, 3_020_399_000_001], [1], "838:59:59"),
    (VECTOR, [[1.0], [1.0, None], None], [1], "NULL in it"),
    (GEOMETRY, [{"srid": None, "wkb": b""}, {"srid": 1, "wkb": None}, None], [0, 1], "half NULL"),
]


def test_capabilities_name_the_values_that_are_refused(place: Place) -> None:
    """What the suite's strategies leave out for this sink, each with a case of `BAD`."""
    told = place.sink.capabilities.refused_values
    assert told == {"nan", "infinity", "time beyond 838:59:59"}
    assert {str(type_) for type_, *_ in BAD} >= {"double", "duration[us]"}


@pytest.mark.parametrize(("type_", "values", "bad", "reason"), BAD, ids=lambda v: str(v)[:20])
def test_values_without_a_form_are_dirty_rows(
    place: Place, type_: pa.DataType, values: list[Any], bad: list[int], reason: str
) -> None:
    target = target_of(ID, Column("v", type_))
    place.sink.create_table(target)
    temporal = pa.types.is_temporal(type_)
    plain = (
        pa.array(values, (pa.int32() if type_ == pa.date32() else pa.int64()))
        if temporal
        else (pa.array(values, type_))
    )
    rows = pa.table([list(range(len(values))), plain.cast(type_)], schema=target_schema(target))
    with pytest.raises(DirtyRowError, match=reason) as caught:
        place.sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert caught.value.field == "v"
    rejected = place.sink.find_rejected(target, rows)
    assert [(r.index, r.field) for r in rejected] == [(i, "v") for i in bad]
    good = rows.take([i for i in range(len(values)) if i not in bad])
    place.sink.merge(target, good, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert place.sink.count_rows(target.id) == len(values) - len(bad)


def test_values_the_server_would_change_are_dirty_rows(place: Place) -> None:
    """LOAD DATA LOCAL cuts, replaces and skips, and only warns of it."""
    columns = (
        *(Column("k", pa.string()), Column("y", pa.int16(), kind="year")),
        *(Column("at", pa.timestamp("us", tz="UTC"), "timestamp"), Column("s", pa.string())),
    )
    target = target_of(*columns, key=("k",))
    place.sink.create_table(target)
    fine = dt.datetime(2024, 1, 1, tzinfo=_UTC)
    rows = pa.table(
        [
            ["a", "b" * 769, "c" + " " * 800, "d", "e", "f"],
            [2000, 2000, 2000, 1900, 2000, 2000],
            [fine, fine, fine, fine, fine.replace(year=2039), fine],
            pa.array([b"x", b"x", b"x", b"x", b"x", b"\xff"]).view(pa.string()),
        ],
        schema=target_schema(target),
    )
    rejected = place.sink.find_rejected(target, rows)
    assert [(r.index, r.field) for r in rejected] == [
        *((1, "k"), (2, "k"), (3, "y"), (4, "at"), (5, "s"))
    ]
    for number in range(1, 6):
        with pytest.raises(DirtyRowError):
            some = rows.slice(number, 1)
            place.sink.merge(target, some, some.select(["k"]).slice(0, 0), fence(None, 1))
    assert place.sink.count_rows(target.id) == 0


def test_zero_dates_are_refused_and_never_stored(place: Place) -> None:
    """A sink in strict mode has no zero dates; sources give them by policy, as NULL or as text."""
    mode = place.run("SELECT 1")
    assert mode == [(1,)]
    place.run(
        "CREATE TRIGGER shop.z BEFORE INSERT ON shop.orders FOR EACH ROW "
        "SET NEW.name = CAST(NEW.name AS DATE)"
    )
    with pytest.raises(DirtyRowError):
        place.sink.merge(TARGET, rows_of({9: "0000-00-00"}), keys_of(), fence(10, 20))
    place.run("DROP TRIGGER shop.z")
    assert len(place.rows()) == 3


def test_json_columns(mysql_room: MySQLRoom, request: pytest.FixtureRequest) -> None:
    target = target_of(ID, Column("doc", pa.large_string(), kind="json"))
    with mysql_room.sink(request.node.name, types={"json_columns": "json"}) as sink:
        sink.create_table(target)
        rows = pa.table([[1, 2], ['{"b":  "é"}', "no json"]], schema=target_schema(target))
        assert [(r.index, r.field) for r in sink.find_rejected(target, rows)] == [(1, "doc")]
        good = rows.slice(0, 1)
        sink.merge(target, good, rows.select(["id"]).slice(0, 0), fence(None, 1))
        assert sink.read_table(target.id)["doc"].to_pylist() == ['{"b": "é"}']
        assert sink.check_table(target) == []


def test_names_mysql_cannot_have(place: Place) -> None:
    long = "ä" * 65
    cases = {
        TargetTable(TargetId(long, "t"), SCHEMA): "name_invalid",
        TargetTable(TargetId("s", "t "), SCHEMA): "name_invalid",
        target_of(ID, Column("😀", pa.int8())): "name_invalid",
        target_of(ID, Column("É", pa.int8()), Column("e", pa.int8())): "name_collision",
        target_of(ID, Column("_cdc_copy_1", pa.int8())): "name_reserved",
        TargetTable(TargetId("mysql", "t"), SCHEMA): "name_reserved",
    }
    for target, code in cases.items():
        (finding,) = place.sink.check_table(target)
        assert (finding.code, finding.level) == (code, "error")
        with pytest.raises(ConfigError):
            place.sink.create_table(target)
    fits = target_of(ID, Column("ä" * 64, pa.int8()), table="ä" * 64)
    place.sink.create_table(fits)
    assert place.sink.check_table(fits) == []
    for change in (AddColumn(Column("😀", pa.int8())), RenameColumn("name", long)):
        with pytest.raises(ConfigError):
            place.sink.alter_table(TARGET.id, [change])


def test_rows_too_wide_are_refused_before_start(place: Place) -> None:
    def wide(count: int) -> TargetTable:
        texts = [Column(f"c{i}", pa.string()) for i in range(count)]
        return target_of(ID, *texts, table=f"wide_{count}")

    assert [f.code for f in place.sink.check_table(wide(200))] == ["row_too_wide"]
    assert [f.code for f in place.sink.check_table(wide(1100))] == ["too_many_columns"]
    assert place.sink.check_table(wide(195)) == []
    place.sink.create_table(wide(195))


def test_a_unique_index_of_the_user_takes_no_row_away(place: Place) -> None:
    """REPLACE would delete another row that has the same value."""
    place.run("ALTER TABLE shop.orders ADD UNIQUE KEY by_name (name(20))")
    before = observe(place.sink, TARGET)
    with pytest.raises(DirtyRowError) as caught:
        place.sink.merge(TARGET, rows_of({9: "two"}), keys_of(), fence(10, 20))
    assert "two" not in str(caught.value)
    assert observe(place.sink, TARGET) == before
    rejected = place.sink.find_rejected(TARGET, rows_of({8: "eight", 9: "two"}))
    assert [r.index for r in rejected] == [1]
    place.sink.merge(TARGET, rows_of({9: "two", 1: "uno"}), keys_of(2), fence(10, 20))
    assert place.rows() == [(1, "uno"), (3, None), (9, "two")]


HANGING = {
    "index": ("CREATE INDEX by_name ON shop.orders (name(20))",),
    "foreign key": (
        "CREATE TABLE shop.c (o bigint, FOREIGN KEY (o) REFERENCES shop.orders (id) "
        "ON DELETE CASCADE)",
    ),
    "trigger": ("CREATE TRIGGER shop.t BEFORE INSERT ON shop.orders FOR EACH ROW SET @x = 1",),
    "partitions": ("ALTER TABLE shop.orders PARTITION BY HASH (id) PARTITIONS 2",),
}


@pytest.mark.parametrize("what", sorted(HANGING))
def test_a_load_leaves_what_hangs_on_the_table(place: Place, what: str) -> None:
    place.run(*HANGING[what])
    before = place.run("SHOW CREATE TABLE shop.orders")
    load(place.sink, TARGET, "new", [rows_of({1: "eins", 9: "neun"})], fence(10, 20))
    assert place.run("SHOW CREATE TABLE shop.orders") == before
    assert place.rows() == [(1, "eins"), (9, "neun")]
    assert place.sink.read_watermark(TARGET.id, FEED) == Watermark(20, 25, 1)
    columns = (Column("id", pa.int64()), Column("more", pa.int8()))
    other = TargetTable(TARGET.id, TableSchema(SCHEMA.table, columns, ("id",)))
    rows = pa.table([[5], [1]], schema=target_schema(other))
    with pytest.raises(ConfigError, match="of its own"):
        load(place.sink, other, "other", [rows], fence(20, 30))
    assert len(place.rows()) == 2


def test_loads_leave_nothing_behind(place: Place) -> None:
    place.sink.begin_load(TARGET, "given up", FEED)
    place.run("CREATE TABLE _cdc._cdc_load_orphan (i int)", "CREATE TABLE _cdc._cdc_old_x (i int)")
    load(place.sink, TARGET, "new", [rows_of({1: "eins"})], fence(10, 20))
    found = place.run("SHOW TABLES FROM _cdc LIKE '\\_cdc\\_%'")
    assert found == []


def test_hand_altered_table_is_shown_and_a_load_mends_it(place: Place) -> None:
    place.run("ALTER TABLE shop.orders ADD COLUMN note varchar(20)")
    with pytest.raises(SchemaMismatch) as caught:
        STEPS["merge"].work(place.sink)
    assert "(id bigint, name longtext, note varchar(20))" in str(caught.value)
    assert "on the source (id bigint, name longtext)" in str(caught.value)
    assert [f.code for f in place.sink.check_table(TARGET)] == ["schema_mismatch"]
    load(place.sink, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
    assert place.sink.check_table(TARGET) == []
    place.run("DROP TABLE shop.orders")
    with pytest.raises(SchemaMismatch, match="does not exist"):
        STEPS["merge"].work(place.sink)


def test_tables_of_the_user_are_taken_as_they_fit(place: Place) -> None:
    place.run(
        "CREATE TABLE shop.mine (name varchar(9), id bigint)",
        "CREATE TABLE shop.folded (code varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY)",
        "CREATE TABLE shop.loose (id bigint PRIMARY KEY, name text) ENGINE=MyISAM",
        "CREATE VIEW shop.v AS SELECT 1 AS id",
    )
    codes = {"mine": "no_key_index", "loose": "no_transactions", "v": "name_collision"}
    for table, code in codes.items():
        target = TargetTable(TargetId("shop", table), SCHEMA)
        assert [f.code for f in place.sink.check_table(target)] == [code]
    folded = target_of(Column("code", pa.string()), table="folded", key=("code",))
    assert [f.code for f in place.sink.check_table(folded)] == ["key_collation"]
    mine = TargetTable(TargetId("shop", "mine"), SCHEMA)
    place.sink.merge(mine, rows_of({1: "a", 2: "b"}), keys_of(), fence(None, 1))
    place.sink.merge(mine, rows_of({2: "c"}), keys_of(1), fence(1, 2))
    found = place.sink.read_table(mine.id).select(["id", "name"])
    assert comparable(found) == comparable(rows_of({2: "c"}))
    rejected = place.sink.find_rejected(mine, rows_of({3: "x" * 10, 4: "y"}))
    assert [(r.index, r.field) for r in rejected] == [(0, "name")]


def test_copies_and_fills_of_a_writer_that_died_are_dropped(place: Place) -> None:
    place.run("ALTER TABLE shop.orders ADD COLUMN _cdc_copy_2 int")
    assert place.sink.check_table(TARGET) == []
    STEPS["merge"].work(place.sink)
    place.sink.alter_table(TARGET.id, [AddColumn(Column("two", pa.string()), copy_of="name")])
    names = place.run("SHOW COLUMNS FROM shop.orders")
    assert [n[0] for n in names] == ["id", "name", "two"]


def test_comments_of_the_source_are_carried_over(place: Place) -> None:
    columns = (Column("id", pa.int32(), comment="it's \\ the key"), Column("n", pa.int8()))
    schema = TableSchema(TableId("s", "t"), columns, ("id",), comment='all "orders"; -- x')
    place.sink.create_table(TargetTable(TargetId("shop", "t"), schema))
    place.sink.alter_table(
        TargetId("shop", "t"), [AddColumn(Column("m", pa.int8(), comment="more"))]
    )
    found = place.run(
        "SELECT column_comment FROM information_schema.columns WHERE table_schema = 'shop' "
        "AND table_name = 't' ORDER BY ordinal_position"
    )
    assert [row[0] for row in found] == ["it's \\ the key", "", "more"]


@pytest.mark.nightly
def test_a_row_of_fifty_megabytes(place: Place) -> None:
    target = target_of(ID, Column("b", pa.large_binary()))
    rows = pa.table([[1, 2], [b"\x01\\\n\xff" * (50 << 18), None]], schema=target_schema(target))
    place.sink.create_table(target)
    place.sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert place.sink.read_table(target.id).sort_by("id").equals(rows)
