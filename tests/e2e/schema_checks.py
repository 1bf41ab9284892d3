"""What a target must be after a schema change under each policy.

In: what the source and the target have in the end, and what they had before. Out: an assertion that
names the table, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import pyarrow as pa

from cdc_assets.engine.schema_policy import PolicyWord
from tests.e2e.schema_cases import SchemaCase

Rows: TypeAlias = dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class End:
    """How one table ended.

    Args:
        table: Its name.
        case: What was done to it.
        word: Its policy.
        state: The pipeline's word for it.
        source: The source's rows by key, none if the table is gone.
        before: The same before the change.
        target: The target's rows by key; None if there is no target.
        columns: The target's columns.
        aside: Keys of the rows set aside.
    """

    table: str
    case: SchemaCase
    word: PolicyWord
    state: str
    source: Rows
    before: Rows
    target: Rows | None
    columns: frozenset[str]
    aside: frozenset[int]

    @property
    def rows(self) -> Rows:
        assert self.target is not None, f"{self.table} has no target"
        return self.target


def by_key(rows: list[dict[str, Any]], table: str) -> Rows:
    """Rows by their key at the end; no key may be there twice."""
    found = {(r["id"], r["a"]) if r.get("b") == "second of 1" else r["id"]: r for r in rows}
    assert len(found) == len(rows), f"{table} has a key twice"
    return found


def target_of(found: pa.Table | None, table: str) -> tuple[Rows | None, frozenset[str]]:
    """Rows and columns of a target as `End` has them."""
    if found is None:
        return None, frozenset()
    return by_key(found.to_pylist(), table), frozenset(found.column_names)


def follows(end: End) -> None:
    """The target is exactly the source."""
    if end.case.dropped:
        assert (end.state, end.target) == ("dropped", None), end.table
        return
    assert end.state == "live", f"{end.table}: {end.state}"
    if end.case.name != "made_anew":
        assert end.columns == set(next(iter(end.source.values()))), end.table
    assert end.rows == end.source, end.table


def loses_nothing(end: End) -> None:
    """The target has everything of the source, and what the source had before."""
    name, rows = end.case.name, end.rows
    if name == "to_text":  # no type holds INT and VARCHAR
        assert (end.state, rows) == ("held", end.before), end.table
        return
    if end.case.dropped:
        assert (end.state, rows) == ("dropped", end.before), end.table
        return
    assert end.state == "live", f"{end.table}: {end.state}"
    assert set(end.case.gone) <= end.columns, end.table
    assert rows.keys() == end.source.keys(), end.table
    assert {k: _like(row, end.source[k]) for k, row in rows.items()} == end.source, end.table
    if name == "drop":
        assert [rows[k]["a"] for k in (1, 2, 4)] in ([10, 20, None], [None, 20, None]), end.table
    if name == "rename":
        assert rows[1]["b"] == "x1", end.table


def stays(end: End) -> None:
    """The target keeps its shape; rows that it cannot hold are set aside."""
    if end.case.name in ("made", "arrived"):
        state = "new" if end.case.name == "made" else "needs_snapshot"
        assert (end.state, end.target) == (state, None), f"{end.table}: {end.state}"
        return
    if end.case.dropped:
        assert (end.state, end.rows) == ("dropped", end.before), end.table
        return
    assert end.state == "live", f"{end.table}: {end.state}"
    assert not set(end.case.new) & end.columns, end.table
    assert set(end.case.gone) <= end.columns, end.table
    assert bool(end.aside) == (end.case.name in ("widen", "to_text")), f"{end.table}: {end.aside}"
    kept = end.case.kept or end.source.keys()
    assert end.rows.keys() - end.aside == kept - end.aside, end.table
    for key in end.source.keys() & kept - end.aside:
        row = end.rows[key]
        common = end.columns & set(end.source[key])
        assert _like(row, common) == _like(end.source[key], common), end.table


def waits(state: str) -> Callable[[End], None]:
    """The target is as it was before the change, and the table is in that state."""

    def check(end: End) -> None:
        if end.case.event is None:  # there is nothing to decide
            follows(end)
            return
        assert end.state == state, f"{end.table}: {end.state}"
        assert (end.target or {}) == end.before, end.table

    return check


CHECKS: Mapping[PolicyWord, Callable[[End], None]] = MappingProxyType(
    {
        "evolve": follows,
        "try_evolve": follows,
        "lenient": loses_nothing,
        "ignore": stays,
        "exception": waits("stopped"),
        "hold": waits("held"),
    }
)


def _like(row: dict[str, Any], names: Any) -> dict[str, Any]:
    return {name: row[name] for name in names}
