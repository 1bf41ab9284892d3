"""Tables, rows and changes drawn from column cases, as the statements that make them.

In: column cases. Out: `TableCase`; its text is the SQL, so that a shrunk failure is a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from resources.mysql.identifiers import quote_identifier
from tests.mysql.differential.columns import ColumnCase

TABLE = "t"
NAMES = ("a b", "back`tick", "50%s", "ü名é", "select", "semi;colon", "it's", 'say "hi"')
_KEYS = ("TINYINT UNSIGNED", "INT", "MEDIUMINT UNSIGNED", "BIGINT", "BIGINT UNSIGNED")
_GENERATED = (
    "BIGINT AS (n * 2) VIRTUAL",
    "VARCHAR(30) AS (CONCAT('row ', n)) STORED",
    "INT AS (n IS NULL) STORED",
    "DECIMAL(30,10) AS (n / 3) VIRTUAL",
)
_MOVED = 100


@dataclass(frozen=True)
class Placed:
    """A column case in a table.

    Attributes:
        name: The column's name.
        case: Its type and values.
        nullable: Whether it takes NULL.
        invisible: Whether `SELECT *` leaves it out.
    """

    name: str
    case: ColumnCase
    nullable: bool = True
    invisible: bool = False

    @property
    def quoted(self) -> str:
        return quote_identifier(self.name)

    @property
    def ddl(self) -> str:
        # Without NULL, the first TIMESTAMP of a table would follow the clock on MariaDB.
        # MariaDB makes NULL of shapes it does not take.
        nullable = self.nullable or self.invisible or self.case.family == "geometry"
        null = "NULL" if nullable else "NOT NULL"
        if null == "NOT NULL" and self.case.family == "timestamp":
            null += " DEFAULT '2001-01-01'"
        return f"{self.quoted} {self.case.ddl} {null}{' INVISIBLE' * self.invisible}"


@dataclass(frozen=True)
class Change:
    """An update of one row: new literals by column index; `move` changes its key."""

    row: int
    values: dict[int, str]
    move: bool = False


@dataclass(frozen=True)
class TableCase:
    """A table and what happens to it.

    Attributes:
        key: Type of the column `id`, which counts up.
        columns: The others.
        rows: A literal per column and row.
        changes: Updates, after all rows are in.
        deleted: Rows that are deleted at last.
        generated: Definitions of generated columns.
        together: All rows in one statement and all changes in one transaction.
        compressed: Whether the server compresses what it logs.
    """

    key: str
    columns: tuple[Placed, ...]
    rows: tuple[tuple[str, ...], ...]
    changes: tuple[Change, ...] = ()
    deleted: tuple[int, ...] = ()
    generated: tuple[str, ...] = ()
    together: bool = True
    compressed: bool = False
    name: str = field(default=TABLE)

    @property
    def create(self) -> str:
        generated = [f"g{i} {text}" for i, text in enumerate(self.generated)]
        parts = [f"id {self.key} AUTO_INCREMENT PRIMARY KEY", *(c.ddl for c in self.columns)]
        parts += ["n INT"] * bool(generated)
        body = ", ".join([*parts, *generated])
        return f"CREATE TABLE {self.name} ({body}) CHARACTER SET utf8mb4"

    @property
    def inserts(self) -> list[str]:
        names, rows = [c.quoted for c in self.columns], list(self.rows)
        if self.generated:
            names.append("n")
            rows = [(*row, str(i) if i % 3 else "NULL") for i, row in enumerate(rows)]
        head = f"INSERT INTO {self.name} ({', '.join(['id', *names])}) VALUES "
        values = [f"({', '.join([str(i), *row])})" for i, row in enumerate(rows, 1)]
        return [head + ", ".join(values)] if self.together and rows else [head + v for v in values]

    @property
    def updates(self) -> list[str]:
        out = []
        for change in self.changes:
            sets = [f"{self.columns[i].quoted} = {text}" for i, text in change.values.items()]
            sets += [f"id = id + {_MOVED}"] * change.move
            where = f"WHERE id = {change.row + 1}"
            out.append(f"UPDATE {self.name} SET {', '.join(sets)} {where}")
        return ["BEGIN", *out, "COMMIT"] if self.together else out

    @property
    def deletes(self) -> list[str]:
        ids = [f"{row + 1}, {row + 1 + _MOVED}" for row in self.deleted]
        return [f"DELETE FROM {self.name} WHERE id IN ({', '.join(ids)})"] if ids else []

    def __str__(self) -> str:
        flags = f"together={self.together} compressed={self.compressed}"
        statements = [self.create, *self.inserts, *self.updates, *self.deletes]
        return f"-- {flags}\n" + ";\n".join(statements) + ";\n"


@st.composite
def table_cases(
    draw: st.DrawFn, cases: st.SearchStrategy[ColumnCase], most_columns: int, most_rows: int
) -> TableCase:
    """Tables of a few columns and rows, some of which are changed and deleted."""
    columns = tuple(
        Placed(name, draw(cases), draw(st.integers(0, 3)) > 0, draw(st.integers(0, 7)) == 7)
        for name in _names(draw(st.integers(1, most_columns)), draw(st.integers(0, 4)))
    )
    rows = tuple(
        tuple(draw(_cell(column)) for column in columns)
        for _ in range(draw(st.integers(1, most_rows)))
    )
    some_rows = st.lists(st.integers(0, len(rows) - 1), unique=True, max_size=4)
    changes = []
    for row in draw(some_rows):
        picked = draw(st.lists(st.integers(0, len(columns) - 1), unique=True, max_size=3))
        values = {i: draw(_cell(columns[i])) for i in picked}
        move = draw(st.booleans())
        if values or move:
            changes.append(Change(row, values, move))
    return TableCase(
        key=draw(st.sampled_from(_KEYS)),
        columns=columns,
        rows=rows,
        changes=tuple(changes),
        deleted=tuple(draw(some_rows)),
        generated=tuple(draw(st.lists(st.sampled_from(_GENERATED), max_size=2))),
        together=draw(st.booleans()),
        compressed=draw(st.booleans()),
    )


def _names(count: int, hostile: int) -> list[str]:
    plain = [f"c{i}" for i in range(count)]
    return [*NAMES[:hostile], *plain][:count]


def _cell(column: Placed) -> st.SearchStrategy[str]:
    values = column.case.literals | st.sampled_from(column.case.edges)
    return values | st.just("NULL") if column.nullable else values


def edge_table(cases: Sequence[ColumnCase]) -> TableCase:
    """One table with a column per case, whose rows go through all edges; half of it changes."""
    columns = tuple(
        Placed(NAMES[i] if i < len(NAMES) else f"c{i}", case, invisible=i % 11 == 5)
        for i, case in enumerate(cases)
    )
    count = max(len(case.edges) for case in cases) + 1

    def row(shift: int) -> tuple[str, ...]:
        cells = ((*case.edges, "NULL") for case in cases)
        return tuple(edges[(i + shift) % len(edges)] for i, edges in enumerate(cells))

    changes = tuple(
        Change(i, dict(enumerate(row(i + 1))), move=i % 4 == 0) for i in range(0, count, 2)
    )
    return TableCase(
        key="BIGINT UNSIGNED",
        columns=columns,
        rows=tuple(row(shift) for shift in range(count)),
        changes=changes,
        deleted=tuple(range(0, count, 3)),
        generated=_GENERATED,
    )


def compressed(case: TableCase) -> TableCase:
    """The same with a compressed log, each change on its own."""
    return replace(case, together=False, compressed=True)
