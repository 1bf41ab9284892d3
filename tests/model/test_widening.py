"""The lattice of column types: laws over every type, and the table of docs/types.md."""

from __future__ import annotations

import itertools
import re
from functools import cache

import pyarrow as pa
import pytest

from resources.model.table import Column
from resources.model.widening import describe, holds, same, widest
from tests.docs.pages import ROOT
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS

_KINDS = [
    Column("c", pa.int16(), kind="year"),
    Column("c", pa.uint64(), kind="bit"),
    Column("c", pa.large_string(), kind="json"),
    Column("c", pa.string(), kind="uuid"),
    Column("c", pa.string(), kind="inet"),
    Column("c", pa.string(), kind="enum"),
    *(Column("c", pa.string(), kind="enum", labels=tuple(labels)) for labels in ("a", "ab", "ac")),
    *(Column("c", pa.string(), kind="enum", labels=tuple(labels)) for labels in ("abc", "b")),
    *(Column("c", pa.string(), kind="set", labels=tuple(labels)) for labels in ("a", "ab")),
]
_MORE_TYPES = [
    *(pa.decimal128(*size) for size in ((1, 0), (3, 0), (5, 0), (10, 0), (19, 0), (20, 0))),
    *(pa.decimal128(*size) for size in ((3, 2), (10, 2), (12, 4), (38, 38))),
    *(pa.decimal256(*size) for size in ((76, 0), (76, 76), (39, 20), (76, 56))),
    *(pa.timestamp("s"), pa.timestamp("ns"), pa.duration("ms"), pa.time64("us")),
]
COLUMNS = [Column("c", t) for t in (*COLUMN_TYPES, *WIDE_DECIMALS, *_MORE_TYPES)] + _KINDS


def join(a: Column | None, b: Column | None) -> Column | None:
    return None if a is None or b is None else _joined(a, b)


_joined = cache(widest)


def form(column: Column | None) -> object:
    return None if column is None else (column.type, column.kind, column.labels)


def test_widest_does_not_depend_on_the_order_of_the_sources() -> None:
    for a, b in itertools.product(COLUMNS, repeat=2):
        assert form(join(a, b)) == form(join(b, a)), (a, b)
        assert form(join(a, a)) == form(a)
    for a, b, c in itertools.product(COLUMNS, repeat=3):
        assert form(join(join(a, b), c)) == form(join(a, join(b, c))), (a, b, c)


def test_widest_is_the_least_column_that_holds_both() -> None:
    held = {(form(a), form(b)): holds(a, b) for a in COLUMNS for b in COLUMNS}
    for a, b in itertools.product(COLUMNS, repeat=2):
        wide = join(a, b)
        assert wide is None or (holds(wide, a) and holds(wide, b))
        above = [c for c in COLUMNS if held[form(c), form(a)] and held[form(c), form(b)]]
        assert wide is not None or not above, (a, b, above[:1])
        assert all(wide is not None and holds(c, wide) for c in above), (a, b)
        assert (held[form(a), form(b)] and held[form(b), form(a)]) == same(a, b)


def test_a_column_keeps_its_name_and_what_still_is_true_of_it() -> None:
    small = Column("a", pa.int8(), "tinyint", nullable=False, comment="small")
    large = Column("b", pa.int64(), "bigint", nullable=True, comment="large")
    wide = widest(small, large)
    assert wide == Column("a", pa.int64(), "bigint", True, comment="large")
    short = Column("a", pa.string(), "varchar(5)", charset="latin1")
    long = Column("a", pa.string(), "text", charset="utf8mb4")
    assert widest(short, long) == Column("a", pa.string())
    assert widest(short, short) == short
    unsigned = Column("a", pa.uint64(), "bigint unsigned")
    assert widest(large, unsigned) == Column("b", pa.decimal128(20, 0), comment="large")


def test_describe_names_both_types() -> None:
    assert describe(Column("a", pa.int8(), "tinyint")) == "tinyint (int8)"
    assert describe(Column("a", pa.string(), kind="enum")) == "enum, string"


def rows_of_the_page() -> list[tuple[str, str, str]]:
    page = (ROOT / "docs/types.md").read_text(encoding="utf-8")
    section = page[page.index("## Widening") :].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|", section, re.MULTILINE)
    return [tuple(cell.strip("`") for cell in row) for row in rows if "`" in row[0]]  # type: ignore[misc]


_WORDS = {
    "timestamp": pa.timestamp("us"),
    "timestamp UTC": pa.timestamp("us", "UTC"),
    "year": Column("c", pa.int16(), kind="year"),
    "bit": Column("c", pa.uint64(), kind="bit"),
    "json": Column("c", pa.large_string(), kind="json"),
    "uuid": Column("c", pa.string(), kind="uuid"),
    "duration": pa.duration("us"),
}


def column_of(words: str) -> Column | None:
    if words == "none":
        return None
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", words):
        digits, scale = int(match[1]), int(match[2])
        made = pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
        return Column("c", made)
    if match := re.fullmatch(r"(enum|set)\((.*)\)", words):
        return Column("c", pa.string(), kind=match[1], labels=tuple(match[2].split(",")))
    known = _WORDS.get(words) or pa.type_for_alias(words)
    return known if isinstance(known, Column) else Column("c", known)


def test_the_page_has_its_table() -> None:
    assert len(rows_of_the_page()) > 25


@pytest.mark.parametrize(("left", "right", "wide"), rows_of_the_page())
def test_the_table_of_the_page_is_what_happens(left: str, right: str, wide: str) -> None:
    a, b = column_of(left), column_of(right)
    assert form(join(a, b)) == form(column_of(wide))
    assert form(join(b, a)) == form(column_of(wide))
