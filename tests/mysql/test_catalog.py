"""The catalog of real servers as schemas, and patterns over table names."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import ConfigError
from resources.model.table import TableId
from resources.mysql.catalog import TablePatterns, choose_key, list_tables, read_schemas
from resources.mysql.identifiers import quote_identifier
from resources.mysql.types import ColumnFacts, Unsupported, column_from_facts, parse_labels
from tests.mysql.room import Room


@pytest.mark.parametrize(
    ("include", "exclude", "fold", "table", "selected"),
    [
        (["shop_[0-9]*.orders_*"], [], False, TableId("shop_7", "orders_2021"), True),
        (["shop_[0-9]*.orders_*"], [], False, TableId("shop_x", "orders_2021"), False),
        (["shop.*"], ["shop.tmp_*"], False, TableId("shop", "tmp_1"), False),
        (["shop.*"], [], False, TableId("Shop", "a"), False),
        (["SHOP.A"], [], True, TableId("shop", "a"), True),
        (["*.*"], [], False, TableId("mysql", "user"), False),
        (["*.*"], [], False, TableId("a", "b.c"), True),
        (["a.b"], [], False, TableId("a.b", "x"), False),
    ],
)
def test_patterns(
    include: list[str], exclude: list[str], fold: bool, table: TableId, selected: bool
) -> None:
    assert TablePatterns(tuple(include), tuple(exclude), fold).match(table) is selected


def test_a_pattern_without_database_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"database\.table"):
        TablePatterns(("orders",))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_quoting_leaves_no_way_out(name: str) -> None:
    quoted = quote_identifier(name)
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in quoted[1:-1].replace("``", "")
    assert quoted[1:-1].replace("``", "`") == name


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_no_server_allows_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        quote_identifier(name)


def test_hostile_names_reach_the_server_whole(room: Room) -> None:
    name = "a`b'; drop table x; -- \"\\%s"
    room.execute(
        f"CREATE TABLE {quote_identifier(name)} ({quote_identifier(name)} INT PRIMARY KEY)"
    )
    with closing(room.source()) as source:
        assert source.list_tables() == [room.table(name)]
        schema = source.read_schemas([room.table(name)])[room.table(name)]
        assert schema.key == (name,)
        chunks = list(source.plan_chunks(schema, 5))
        assert [p.rows.num_rows for c in chunks for p in source.read_chunk(schema, c)] == []


LABELS = st.lists(
    st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=12).filter(
        lambda t: t == t.rstrip()
    ),
    min_size=1,
    max_size=5,
    unique_by=str.casefold,
)


@given(LABELS)
def test_labels_are_read_as_the_server_prints_them(labels: list[str]) -> None:
    escapes = str.maketrans({"\\": "\\\\", "'": "''", "\0": "\\0", "\n": "\\n", "\r": "\\r"})
    printed = ",".join(f"'{label.translate(escapes)}'" for label in labels)
    assert parse_labels(f"enum({printed})") == tuple(labels)


def test_labels_of_real_servers(room: Room) -> None:
    labels = ["a", "it's", "b,c", "back\\slash", "li\nne", "c\rr", "ü€", "(x)", "q''q"]
    if room.kind == "oceanbase":
        labels = ["a", "it's", "b,c", "li\nne", "ü€", "(x)", "q''q"]
    literals = ", ".join("'" + s.replace("\\", "\\\\").replace("'", "''") + "'" for s in labels)
    room.execute(f"CREATE TABLE l (id INT PRIMARY KEY, e ENUM({literals}))")
    assert room.schema("l").column("e").labels == tuple(labels)


def test_keys_columns_and_words(room: Room) -> None:
    room.execute(
        "CREATE TABLE p (b INT, a INT, v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, "
        "t VARCHAR(9) DEFAULT 'x' COMMENT 'it''s', PRIMARY KEY (a, b)) COMMENT 'orders'",
        "CREATE TABLE u (n INT, a INT NOT NULL, b INT NOT NULL, c VARCHAR(20) NOT NULL, "
        "UNIQUE x_null (n), UNIQUE w_two (a, b), UNIQUE z_one (b))",
        "CREATE TABLE n (n INT UNIQUE, d DATETIME DEFAULT CURRENT_TIMESTAMP)",
    )
    schemas = {t.table: s for t, s in _read(room, "p", "u", "n").schemas.items()}
    assert schemas["p"].names == ("b", "a", "v", "t")
    assert schemas["p"].key == ("a", "b")
    assert schemas["p"].comment == "orders"
    assert [c.generated for c in schemas["p"].columns] == [False, False, True, False]
    assert schemas["p"].column("t").comment == "it's"
    assert schemas["u"].key == ("a", "b")
    assert schemas["n"].key == ()
    assert not schemas["n"].column("d").generated


def test_prefix_and_functional_indexes_are_no_keys() -> None:
    nullable = {"a": False, "b": False, "c": True}
    assert choose_key(nullable, {"u": [("a", 5)], "f": [(None, None)], "n": [("c", None)]}) == ()
    assert choose_key(nullable, {"PRIMARY": [("a", 5), ("b", None)]}) == ("a", "b")
    two: dict[str, list[tuple[str | None, int | None]]] = {
        "z": [("a", None)],
        "y": [("b", None)],
        "x": [("a", None), ("b", None)],
    }
    assert choose_key(nullable, two) == ("a",)


def test_generated_invisible_primary_key(mysql: Any, mysql_db: str) -> None:
    room = Room(mysql, mysql_db)
    room.execute(
        "SET sql_generate_invisible_primary_key = ON",
        "CREATE TABLE g (a INT, i INT INVISIBLE)",
        "INSERT INTO g (a, i) VALUES (1, 2), (3, 4)",
    )
    mysql.execute("SET GLOBAL show_gipk_in_create_table_and_information_schema = OFF")
    try:
        schema = room.schema("g")
        with closing(room.source()) as source:
            chunks = list(source.plan_chunks(schema, 1))
            rows = [
                r for c in chunks for p in source.read_chunk(schema, c) for r in p.rows.to_pylist()
            ]
    finally:
        mysql.execute("SET GLOBAL show_gipk_in_create_table_and_information_schema = ON")
    assert schema.key == ("my_row_id",)
    assert [c.invisible for c in schema.columns] == [True, False, True]
    assert rows == [{"my_row_id": 1, "a": 1, "i": 2}, {"my_row_id": 2, "a": 3, "i": 4}]


def test_what_cannot_be_read_is_a_finding(mariadb: Any, mariadb_db: str) -> None:
    room = Room(mariadb, mariadb_db)
    mariadb.execute("SET GLOBAL mysql56_temporal_format = OFF")
    try:
        room.execute("CREATE TABLE old (id INT PRIMARY KEY, d DATETIME)")
    finally:
        mariadb.execute("SET GLOBAL mysql56_temporal_format = ON")
    room.execute(
        "CREATE TABLE comp (id INT PRIMARY KEY, t VARCHAR(99) COMPRESSED)",
        "CREATE TABLE fine (id INT PRIMARY KEY)",
    )
    found = _read(room, "old", "comp", "fine")
    assert [t.table for t in found.schemas] == ["fine"]
    by_table = {f.table.table: f for f in found.findings if f.table}
    assert set(by_table) == {"old", "comp"}
    for name, finding in by_table.items():
        assert (finding.level, finding.code) == ("error", "unsupported_type")
        remedy = finding.remedy.split(" with ")[0].replace("…", f"{mariadb_db}.{name}")
        mariadb.execute("SET GLOBAL mysql56_temporal_format = ON", remedy)
    assert _read(room, "old", "comp").findings == []


def test_an_unknown_type_is_refused_by_name() -> None:
    facts = ColumnFacts("x", "roaringbitmap", None, None, "", True, "", "")
    refused = column_from_facts(facts)
    assert isinstance(refused, Unsupported)
    assert "roaringbitmap" in refused.reason


def test_views_and_tables_that_are_gone_are_left_out(room: Room) -> None:
    room.execute("CREATE TABLE a (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT * FROM a")
    with closing(room.source()) as source:
        assert source.list_tables() == [room.table("a")]
        assert set(source.read_schemas([room.table("a"), room.table("gone")])) == {room.table("a")}
        assert source.read_schemas([room.table("v")]) == {}


def test_hundreds_of_tables_take_three_queries(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute(
        *(f"CREATE TABLE t{n} (id INT PRIMARY KEY, v INT) ENGINE = MEMORY" for n in range(300))
    )
    with closing(mysql_family.connect_cdc()) as connection:
        tables = list_tables(connection, TablePatterns((f"{family_db}.t*",)))
        before = _questions(connection)
        began = time.perf_counter()
        found = read_schemas(connection, tables)
        took = time.perf_counter() - began
        assert _questions(connection) - before == 3 + 1
    assert len(found.schemas) == 300
    assert all(
        s.key == ("id",) and s.arrow().field("v").type == pa.int32() for s in found.schemas.values()
    )
    assert took < 5


def _questions(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
        return int(cursor.fetchone()[1])


def _read(room: Room, *names: str) -> Any:
    with closing(room.server.connect()) as connection:
        return read_schemas(connection, [room.table(name) for name in names])
