"""Tables of the PostgreSQL sink: names, keys, what hangs on them, and what users do to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import ConfigError, DirtyRowError, SchemaMismatch
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable, Watermark
from tests.contracts.sink_steps import (
    HISTORY,
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
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.strategies import comparable


class Place:
    """One database with the table `shop.orders` loaded: 1 one, 2 two, 3 NULL."""

    def __init__(self, room: Room, name: str) -> None:
        self.room = room
        self.database = room.database(name)
        self.sink = room.sink(name)
        STEPS["merge"].prepare(self.sink)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.room.run(self.database, *statements)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.run("SELECT id, name FROM shop.orders ORDER BY id")


@pytest.fixture
def place(room: Room, request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(room, request.node.name)
    with place.sink:
        yield place


def test_keys_are_a_primary_key_compared_by_bytes(place: Place) -> None:
    columns = (Column("b", pa.string()), Column("v", pa.string()), Column("a", pa.int8()))
    place.sink.create_table(target_of(*columns, key=("b", "a")))
    place.sink.create_table(HISTORY)
    found = place.run(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'p' AND connamespace = 'shop'::regnamespace ORDER BY 1"
    )
    assert found == [("shop.orders", "PRIMARY KEY (id)"), ("shop.t", "PRIMARY KEY (b, a)")]
    collations = place.run(
        "SELECT attname, collname FROM pg_attribute JOIN pg_collation c ON c.oid = attcollation "
        "WHERE attrelid = 'shop.t'::regclass ORDER BY 1"
    )
    assert collations == [("b", "C"), ("v", "default")]


def test_comments_of_the_source_are_carried_over(place: Place) -> None:
    columns = (Column("id", pa.int32(), comment="it's \\ the key"), Column("n", pa.int8()))
    schema = TableSchema(TableId("s", "t"), columns, ("id",), comment='all "orders"; -- x')
    target = TargetTable(TargetId("shop", "t"), schema)
    rows = pa.table([[1], [2]], schema=pa.schema([("id", pa.int32()), ("n", pa.int8())]))
    load(place.sink, target, "a", [rows], fence(None, 1))
    place.sink.alter_table(target.id, [AddColumn(Column("m", pa.int8(), comment="more"))])
    (found,) = place.run(
        "SELECT obj_description('shop.t'::regclass), col_description('shop.t'::regclass, 1), "
        "col_description('shop.t'::regclass, 2), col_description('shop.t'::regclass, 3)"
    )
    assert found == ('all "orders"; -- x', "it's \\ the key", None, "more")


def test_names_postgres_cannot_have(place: Place) -> None:
    long = "ä" * 32  # 64 bytes
    short = "ä" * 31 + "x"
    id_ = Column("id", pa.int32())
    cases = {
        TargetTable(TargetId(long, "t"), SCHEMA): "name_too_long",
        TargetTable(TargetId("s", long), SCHEMA): "name_too_long",
        target_of(id_, Column(long, pa.int8())): "name_too_long",
        target_of(id_, Column("xmin", pa.int8())): "name_reserved",
        TargetTable(TargetId("pg_shop", "t"), SCHEMA): "name_reserved",
        TargetTable(TargetId("information_schema", "t"), SCHEMA): "name_reserved",
    }
    for target, code in cases.items():
        (finding,) = place.sink.check_table(target)
        assert (finding.code, finding.level) == (code, "error")
        with pytest.raises(ConfigError):
            place.sink.create_table(target)
    fits = target_of(id_, Column(short, pa.int8()), table=short)
    place.sink.create_table(fits)
    assert place.sink.check_table(fits) == []
    for change in (AddColumn(Column("ctid", pa.int8())), RenameColumn("name", long)):
        with pytest.raises(ConfigError):
            place.sink.alter_table(TARGET.id, [change])


def test_names_that_differ_in_case_only_are_different(place: Place) -> None:
    columns = (Column("id", pa.int32()), Column("Name", pa.string()), Column("NAME", pa.string()))
    for target in (target_of(*columns), target_of(*columns, table="T")):
        assert place.sink.check_table(target) == []
        place.sink.create_table(target)


def test_names_taken_by_other_things(place: Place) -> None:
    place.run("CREATE VIEW shop.v AS SELECT 1 AS id", "CREATE SEQUENCE shop.q")
    place.run("CREATE INDEX by_name ON shop.orders (name)")
    for name, kind in (("v", "view"), ("q", "sequence"), ("by_name", "index")):
        target = TargetTable(TargetId("shop", name), SCHEMA)
        (finding,) = place.sink.check_table(target)
        assert finding.code == "name_collision"
        assert f"the {kind} shop.{name}" in finding.message
        with pytest.raises(ConfigError, match="taken by"):
            place.sink.create_table(target)


def test_tables_of_too_many_columns(place: Place) -> None:
    def wide(count: int, mode: Any = "merge") -> TargetTable:
        columns = [
            Column("id", pa.int32()),
            *(Column(f"c{i}", pa.int8()) for i in range(count - 1)),
        ]
        schema = TableSchema(TableId("s", "t"), tuple(columns), ("id",))
        return TargetTable(TargetId("shop", "wide"), schema, mode=mode)

    for target in (wide(1601), wide(1598, "append")):
        assert [f.code for f in place.sink.check_table(target)] == ["too_many_columns"]
        with pytest.raises(ConfigError, match="at most 1600"):
            place.sink.create_table(target)
    target = wide(1600)
    assert place.sink.check_table(target) == []
    place.sink.create_table(target)
    rows = pa.table(
        [pa.array([1], c.type) for c in target.schema.columns], names=target.schema.names
    )
    place.sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert place.sink.read_table(target.id).equals(rows)


def test_rows_too_wide_for_a_page_are_dirty_rows(place: Place) -> None:
    columns = [Column("id", pa.int32()), *(Column(f"c{i}", pa.float64()) for i in range(1200))]
    target = target_of(*columns)
    place.sink.create_table(target)
    values = [pa.array([1.5, None], pa.float64())] * 1200
    rows = pa.table([pa.array([1, 2], pa.int32()), *values], names=target.schema.names)
    assert [r.index for r in place.sink.find_rejected(target, rows)] == [0]


def test_hand_altered_table_is_shown_and_a_load_mends_it(place: Place) -> None:
    place.run("ALTER TABLE shop.orders ADD COLUMN note varchar(20)")
    with pytest.raises(SchemaMismatch) as caught:
        STEPS["merge"].work(place.sink)
    assert "(id bigint, name text, note character varying(20))" in str(caught.value)
    assert "on the source (id bigint, name text)" in str(caught.value)
    assert [f.code for f in place.sink.check_table(TARGET)] == ["schema_mismatch"]
    load(place.sink, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
    assert place.sink.check_table(TARGET) == []


def test_a_table_dropped_by_hand_is_named(place: Place) -> None:
    place.run("DROP TABLE shop.orders")
    with pytest.raises(SchemaMismatch, match="does not exist"):
        STEPS["merge"].work(place.sink)
    place.run("DROP SCHEMA shop")
    with pytest.raises(SchemaMismatch, match="does not exist"):
        STEPS["merge"].work(place.sink)


@pytest.mark.parametrize(
    ("statement", "field", "reason"),
    [
        ("ALTER COLUMN name SET NOT NULL", "name", "NOT NULL"),
        ("ADD CONSTRAINT no_canary CHECK (name IS NOT NULL)", "", "the constraint no_canary"),
        (
            "ADD CONSTRAINT one UNIQUE NULLS NOT DISTINCT (name, id) DEFERRABLE INITIALLY DEFERRED",
            "",
            "",
        ),
    ],
)
def test_constraints_of_the_user(place: Place, statement: str, field: str, reason: str) -> None:
    place.sink.merge(TARGET, rows_of({}), keys_of(3), fence(10, 12))
    place.run(f"ALTER TABLE shop.orders {statement}")
    names = {i: None if i in (13, 14, 40) else "fine" for i in range(50)}
    if not reason:  # no row breaks it: a constraint that waits for the commit does no harm
        assert place.sink.find_rejected(TARGET, rows_of(names)) == []
        return
    before = observe(place.sink, TARGET)
    with pytest.raises(DirtyRowError, match=reason) as caught:
        place.sink.merge(TARGET, rows_of(names), keys_of(), fence(12, 20))
    assert caught.value.field == field
    rejected = place.sink.find_rejected(TARGET, rows_of(names))
    assert [(r.index, r.field) for r in rejected] == [(13, field), (14, field), (40, field)]
    assert all(reason in r.message for r in rejected)
    assert observe(place.sink, TARGET) == before


def test_refused_values_are_not_told(place: Place) -> None:
    place.run("CREATE UNIQUE INDEX one_name ON shop.orders (name)")
    rows = rows_of({10: "canary-a", 11: "b", 12: "canary-a", 13: "two", 14: "canary-a"})
    with pytest.raises(DirtyRowError) as caught:
        place.sink.merge(TARGET, rows, keys_of(), fence(10, 20))
    rejected = place.sink.find_rejected(TARGET, rows)
    assert [r.index for r in rejected] == [2, 3, 4]
    assert "canary" not in str(caught.value) + str(rejected)
    assert caught.value.__suppress_context__


def test_a_trigger_that_refuses_a_row_makes_it_dirty(place: Place) -> None:
    place.run(
        "CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.id = 7 THEN RAISE 'no % here', NEW.name; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER t BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.refuse()",
    )
    rejected = place.sink.find_rejected(TARGET, rows_of({6: "x", 7: "canary"}))
    assert [(r.index, r.message) for r in rejected] == [(1, "refused by a trigger of the table")]


HANGING = {
    "view": ("CREATE VIEW shop.v AS SELECT id, name FROM shop.orders",),
    "grant": ("CREATE ROLE {db}_reader", "GRANT SELECT ON shop.orders TO {db}_reader"),
    "column grant": ("CREATE ROLE {db}_some", "GRANT SELECT (id) ON shop.orders TO {db}_some"),
    "index": ("CREATE INDEX by_name ON shop.orders (name)",),
    "foreign key": ("CREATE TABLE shop.c (o bigint REFERENCES shop.orders ON DELETE CASCADE)",),
    "trigger": (
        "CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TRIGGER t BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.f()",
    ),
    "publication": ("CREATE PUBLICATION p FOR TABLE shop.orders",),
    "policy": ("CREATE POLICY p ON shop.orders USING (true)",),
    "statistics": ("CREATE STATISTICS shop.s ON id, name FROM shop.orders",),
    "default": ("ALTER TABLE shop.orders ALTER COLUMN name SET DEFAULT 'x'",),
    "storage option": ("ALTER TABLE shop.orders SET (fillfactor = 70)",),
}


@pytest.mark.parametrize("what", sorted(HANGING))
def test_a_load_leaves_what_hangs_on_the_table(place: Place, what: str) -> None:
    oid = place.run("SELECT 'shop.orders'::regclass::oid")
    place.run(*(s.replace("{db}", place.database) for s in HANGING[what]))
    load(place.sink, TARGET, "new", [rows_of({1: "eins", 9: "neun"})], fence(10, 20))
    assert place.run("SELECT 'shop.orders'::regclass::oid") == oid
    assert place.rows() == [(1, "eins"), (9, "neun")]
    assert place.sink.read_watermark(TARGET.id, fence(10, 20).feed) == Watermark(20, 25, 1)
    assert place.run("SELECT 1 FROM pg_tables WHERE tablename LIKE '\\_cdc\\_load%'") == []
    for role in (r for r in ("reader", "some") if "_" + r in "".join(HANGING[what])):
        place.run(f"DROP OWNED BY {place.database}_{role}", f"DROP ROLE {place.database}_{role}")


def test_a_load_of_other_columns_leaves_what_hangs_on_the_table(place: Place) -> None:
    place.run("CREATE VIEW shop.v AS SELECT id FROM shop.orders")
    columns = (Column("id", pa.decimal128(20, 0)), Column("code", pa.string()))
    target = TargetTable(TARGET.id, TableSchema(SCHEMA.table, columns, ("code",)))
    schema = pa.schema([(c.name, c.type) for c in columns])
    rows = pa.table([pa.array([5], pa.decimal128(20, 0)), ["x"]], schema=schema)
    with pytest.raises(ConfigError, match="view"):  # it shows a column of another type
        load(place.sink, target, "a", [rows], fence(10, 20))
    assert place.rows() == [(1, "one"), (2, "two"), (3, None)]
    place.run("DROP VIEW shop.v", "CREATE INDEX later ON shop.orders (id)")
    load(place.sink, target, "a", [rows], fence(10, 20))
    assert place.sink.read_table(TARGET.id).equals(rows)
    assert place.sink.check_table(target) == []
    assert len(place.run("SELECT 1 FROM pg_indexes WHERE schemaname = 'shop'")) == 2


def test_refused_rows_of_a_load_of_other_columns_are_named(place: Place) -> None:
    """The live table has a double where the load has whole numbers: eight bytes both."""
    place.sink.create_table(target_of(Column("id", pa.int64()), Column("v", pa.float64())))
    target = target_of(Column("id", pa.int64()), Column("v", pa.int64()), Column("s", pa.string()))
    schema = pa.schema([("id", pa.int64()), ("v", pa.int64()), ("s", pa.string())])
    rows = pa.table([[1, 2, None], [7, 8, 9], ["a", "b\0", "c"]], schema=schema)
    rejected = place.sink.find_rejected(target, rows)
    assert [(r.index, r.field) for r in rejected] == [(1, "s"), (2, "id")]
    assert place.sink.count_rows(target.id) == 0
    with pytest.raises(SchemaMismatch):
        place.sink.merge(target, rows, rows.select(["id"]), fence(None, 1))
    assert load(place.sink, target, "a", [rows.slice(0, 1)], fence(None, 1)) == 1
    assert place.run("SELECT 1 FROM pg_tables WHERE tablename LIKE '\\_cdc\\_load%'") == []


def test_a_load_takes_the_tables_place_where_nothing_hangs_on_it(place: Place) -> None:
    oid = place.run("SELECT 'shop.orders'::regclass::oid")
    load(place.sink, TARGET, "new", [rows_of({1: "eins"})], fence(10, 20))
    assert place.run("SELECT 'shop.orders'::regclass::oid") != oid


def test_changes_that_views_stand_in_the_way_of(place: Place) -> None:
    place.run("CREATE VIEW shop.v AS SELECT name FROM shop.orders")
    for change in (DropColumn("name"), RetypeColumn(Column("name", pa.large_string()))):
        if isinstance(change, RetypeColumn):
            place.sink.alter_table(TARGET.id, [change])  # the same type in PostgreSQL
            continue
        with pytest.raises(ConfigError, match=r"depend") as caught:
            place.sink.alter_table(TARGET.id, [change])
        assert "view shop.v" in caught.value.remedy
    place.sink.alter_table(TARGET.id, [RenameColumn("name", "title")])
    assert place.run("SELECT name FROM shop.v WHERE name = 'one'") == [("one",)]


def test_rendered_changes_are_sql_that_can_be_run(place: Place) -> None:
    changes = [
        AddColumn(Column("two%s", pa.string(), comment="it's"), copy_of="name"),
        RetypeColumn(Column("id", pa.decimal128(20, 0))),
        RenameColumn("name", 'a "b"'),
        DropColumn("two%s"),
    ]
    shown = place.sink.render_changes(TARGET.id, changes)
    assert shown == [
        'ALTER TABLE "shop"."orders" ADD COLUMN "two%s" text',
        'COMMENT ON COLUMN "shop"."orders"."two%s" IS \'it\'\'s\'',
        'UPDATE "shop"."orders" SET "two%s" = CAST("name" AS text)',
        'ALTER TABLE "shop"."orders" ALTER COLUMN "id" TYPE numeric(20,0) '
        'USING CAST("id" AS numeric(20,0))',
        'ALTER TABLE "shop"."orders" RENAME COLUMN "name" TO "a ""b"""',
        'ALTER TABLE "shop"."orders" DROP COLUMN "two%s"',
    ]
    place.run(*shown)
    assert place.sink.render_changes(TARGET.id, changes) == []


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "UPDATE shop.orders SET name = 'x'; COMMIT",
        "ROLLBACK; UPDATE shop.orders SET name = 'x'",
        "UPDATE shop.orders SET name = 'it''s'; SELECT 1 / 0",
        "VACUUM shop.orders",
    ],
)
def test_statements_of_a_person_cannot_end_the_transaction(place: Place, statement: str) -> None:
    with pytest.raises(ConfigError, match="statement 2 was refused"):
        place.sink.execute(["DELETE FROM shop.orders", statement])
    assert place.rows() == [(1, "one"), (2, "two"), (3, None)]
    place.sink.execute(["UPDATE shop.orders SET name = 'it''s 100%'; SELECT 1"])
    assert {name for _, name in place.rows()} == {"it's 100%"}


def test_tables_of_the_user_are_taken_as_they_fit(place: Place) -> None:
    place.run(
        "CREATE TABLE shop.mine (name text, id bigint)",
        "CREATE COLLATION shop.loose (provider = libc, locale = 'C')",
        "CREATE TABLE shop.folded (code text COLLATE shop.loose PRIMARY KEY)",
        # Such collations come with ICU, which the server of the tests is built without.
        "UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'loose'",
    )
    mine = TargetTable(TargetId("shop", "mine"), SCHEMA)
    (finding,) = place.sink.check_table(mine)
    assert (finding.level, finding.code) == ("warning", "no_key_index")
    place.sink.merge(mine, rows_of({1: "a", 2: "b"}), keys_of(), fence(None, 1))
    place.sink.merge(mine, rows_of({2: "c"}), keys_of(1), fence(1, 2))
    found = place.sink.read_table(mine.id).select(["id", "name"])
    assert comparable(found) == comparable(rows_of({2: "c"}))
    folded = target_of(Column("code", pa.string()), table="folded", key=("code",))
    assert [f.code for f in place.sink.check_table(folded)] == ["key_collation"]
