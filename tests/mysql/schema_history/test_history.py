"""What is known of shapes where reading goes on: on another server, after a lost connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.ddl import statement_notices
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.binlog.table_map import TableMap, WireColumn
from resources.mysql.binlog.wire_types import WireType
from resources.mysql.schema_history.apply import Shapes, apply_statement
from resources.mysql.schema_history.history import SchemaHistory, UndecodableTableError
from resources.mysql.schema_history.shape import TableShape

KIND = ServerKind("mysql", 90704)
TABLE = TableId("db", "t")
ONE, TWO = ServerIdentity("mysql", "one"), ServerIdentity("mysql", "two")
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
CREATE = "CREATE TABLE t (id INT PRIMARY KEY, {} INT)"


def _at(offset: int, gtids: str = "", identity: ServerIdentity = ONE) -> BinlogPosition:
    return BinlogPosition("binlog.000001", offset, gtids, identity)


def _shape(column: str) -> TableShape:
    shapes = Shapes(KIND, charsets={"db": "utf8mb4"})
    (change,) = apply_statement(Query("db", CREATE.format(column)), shapes, lambda _: True).tables
    assert change.after is not None
    return change.after


class Catalog:
    """A catalog that may change, and how often it was read."""

    def __init__(self, column: str, position: BinlogPosition) -> None:
        self.column, self.position, self.reads = column, position, 0

    def read(self, tables: Sequence[TableId]) -> Iterator[tuple[TableShape, BinlogPosition]]:
        for _ in tables:
            self.reads += 1
            yield _shape(self.column), self.position


def _history(catalog: Catalog, kept: Mapping[TableId, str], start: BinlogPosition) -> SchemaHistory:
    history = SchemaHistory(KIND, TABLE.__eq__, "db.*", kept, catalog.read)
    history.begin(start, [TABLE], lambda: {"db": "utf8mb4"})
    return history


def _kept(history: SchemaHistory) -> dict[TableId, str]:
    return {record.table: record.text for record in history.take_records() if record.text}


def _names(history: SchemaHistory, offset: int) -> tuple[str, ...]:
    columns = (WireColumn(WireType.LONG, 0, False), WireColumn(WireType.LONG, 0, True))
    table_map = TableMap(7, TABLE, columns, (), named=False)
    return history.name_map(table_map, f"binlog.000001:{offset}")[1].names


def _follow(history: SchemaHistory, sql: str, offset: int) -> bool:
    """Take a statement; returns whether it asks for the table to be read again."""
    return any(e.rewrites for e in history.follow(Query("db", sql), f"binlog.000001:{offset}", []))


def test_a_kept_shape_is_not_read_again_and_a_lost_one_is() -> None:
    catalog = Catalog("a", _at(100))
    first = _history(catalog, {}, _at(50))
    assert _names(first, 60) == ("id", "a")
    assert not _follow(first, "ALTER TABLE t RENAME COLUMN a TO b", 150)
    second = _history(catalog, _kept(first), _at(150))
    assert (_names(second, 160), catalog.reads) == (("id", "b"), 1)
    assert not _follow(second, "ALTER TABLE t SOMETHING NEW", 170)
    catalog.column, catalog.position = "c", _at(200)
    third = _history(catalog, _kept(second), _at(170))
    assert (_names(third, 180), catalog.reads) == (("id", "c"), 2)
    assert _follow(third, "ALTER TABLE t RENAME COLUMN b TO c", 190), "180 was read as it is now"


def test_a_shape_lost_while_reading_is_known_from_the_catalogs_position_on() -> None:
    catalog = Catalog("a", _at(100))
    history = _history(catalog, {}, _at(100))
    _follow(history, "ALTER TABLE t SOMETHING NEW", 150)
    catalog.column, catalog.position = "c", _at(200)
    with pytest.raises(UndecodableTableError, match=r"from binlog\.000001:200 on only"):
        _names(history, 180)
    assert _names(history, 210) == ("id", "c")


@pytest.mark.parametrize(("gtids", "known"), [(f"{UUID}:1-9", True), (f"{UUID}:1-4", False)])
def test_another_server_must_have_what_the_catalog_covered(gtids: str, known: bool) -> None:
    before = Catalog("a", _at(100, f"{UUID}:1-7"))
    kept = _kept(_history(before, {}, _at(50, f"{UUID}:1-4")))
    there = Catalog("b", _at(70, f"{UUID}:1-9", TWO))
    history = _history(there, kept, _at(30, gtids, TWO))
    assert there.reads == (0 if known else 1)
    assert _names(history, 80) == ("id", "a" if known else "b")


def test_a_lost_connection_takes_back_what_comes_again() -> None:
    history = _history(Catalog("a", _at(100)), {}, _at(100))
    assert _names(history, 120) == ("id", "a")
    _follow(history, "ALTER TABLE t RENAME COLUMN a TO b", 150)
    history.restart(_at(120))
    assert _names(history, 130) == ("id", "a")
    _follow(history, "ALTER TABLE t RENAME COLUMN a TO b", 150)
    history.restart(replace(_at(150)))
    assert _names(history, 160) == ("id", "b")


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SET STATEMENT max_statement_time=10 FOR ALTER TABLE t RENAME COLUMN a TO b", "b"),
        ("/*!40101 */ ALTER TABLE t RENAME COLUMN a TO b", "b"),
        ("SET STATEMENT sql_mode='' FOR ALTER TABLE \"t\" RENAME COLUMN a TO b", ""),
        ("ALTER TABLE [t] RENAME COLUMN [a] TO [b]", ""),
        ("ALTER TABLE [db].[t] RENAME COLUMN a TO b", ""),
        ("ALTER TABLE .t RENAME COLUMN a TO b", ""),
        ("CREATE INDEX i ON .t (a)", ""),
        ("DROP TABLE [t]", ""),
        ("RENAME TABLE t TO [x]", ""),
        ("RENAME TABLE [x] TO t", ""),
    ],
)
def test_no_way_to_write_a_statement_hides_its_table(sql: str, name: str) -> None:
    """A name looked over would leave the shape before the statement, and rows under its names."""
    catalog = Catalog("a", _at(100))
    history = _history(catalog, {}, _at(100))
    catalog.column, catalog.position = "c", _at(900)
    _follow(history, sql, 300)
    if name:
        assert _names(history, 400) == ("id", name)
    else:
        with pytest.raises(UndecodableTableError):
            _names(history, 400)


def test_renames_ignore_case_where_the_server_does() -> None:
    shapes = Shapes(KIND, {TABLE: _shape("a"), TableId("db", "u"): _shape("b")}, fold_case=True)
    swap = Query("db", "RENAME TABLE t TO x, U TO T, X TO u")
    changes = {c.table: c for c in apply_statement(swap, shapes, lambda _: True).tables if c.after}
    shown = {t.table: c.after and c.after.schema.names for t, c in changes.items()}
    assert shown == {"t": ("id", "b"), "u": ("id", "a")}


@pytest.mark.parametrize("fold", [False, True])
def test_a_drop_in_another_case_is_one_where_the_server_ignores_case(fold: bool) -> None:
    catalog = Catalog("a", _at(100))

    def wanted(table: TableId) -> bool:
        return str(table).lower() == "db.t"

    history = SchemaHistory(KIND, wanted, "db.*", {}, catalog.read, fold)
    history.begin(_at(100), [TABLE], lambda: {"db": "utf8mb4"})
    query = Query("db", "DROP TABLE T")
    words = statement_notices(query, wanted, lambda: {TABLE})
    (effect,) = history.follow(query, "binlog.000001:150", words)
    assert (effect.table, effect.kind) == (TABLE, "drop" if fold else "statement")


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE T RENAME COLUMN a TO b",
        "DROP TABLE Db.t",
        "RENAME TABLE T TO x",
        "RENAME TABLE x TO y, T TO t2, y TO T",
        "DROP INDEX i ON T",
    ],
)
@pytest.mark.parametrize("both", [False, True])
def test_log_files_of_a_server_that_ignores_case(sql: str, both: bool) -> None:
    """Files do not say whether it does: a shape is lost unless the other spelling is a table."""
    history = SchemaHistory(KIND, TABLE.__eq__, "", {}, None)
    if both:
        history = SchemaHistory(KIND, lambda _: True, "", {}, None)
    history.begin(_at(4), (), lambda: {"db": "utf8mb4", "Db": "utf8mb4"})
    _follow(history, CREATE.format("a"), 100)
    if both:
        _follow(history, "CREATE TABLE T (id INT PRIMARY KEY, a INT, KEY i (a))", 200)
        _follow(history, "CREATE TABLE Db.t (id INT PRIMARY KEY, a INT)", 250)
    _follow(history, sql, 300)
    if both:
        assert _names(history, 400) == ("id", "a")
    else:
        with pytest.raises(UndecodableTableError):
            _names(history, 400)
