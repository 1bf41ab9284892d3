"""A mask that hides nothing is told before its column is stored in clear."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.engine.transforms.rule import Mask, TransformRule
from cdc_assets.protection import unmatched
from resources.model.table import Column, TableSchema
from resources.model.table_id import TableId

NAMES = ["id", "email", "Phone", "note"]


def table(name: str, columns: list[str]) -> TableSchema:
    return TableSchema(TableId("shop", name), tuple(Column(c, pa.string()) for c in columns), ())


@given(
    st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=3),
    st.sets(st.sampled_from([*NAMES, "emial", "phone"])),
    st.lists(st.sampled_from([*NAMES, "EMAIL", "tokn", "*_token"]), unique=True),
)
def test_what_no_table_of_a_rule_has_is_named_at_its_key(
    tables: list[set[str]], masks: set[str], exclude: list[str]
) -> None:
    schemas = [table(f"t{number}", sorted(names)) for number, names in enumerate(tables)]
    there = {name.lower() for names in tables for name in names}
    rule = TransformRule(
        source=("shop.*",),
        masks=tuple(Mask(name, "redact") for name in sorted(masks)),
        exclude=tuple(exclude),
    )
    found = unmatched(rule, [s.table for s in schemas], {s.table: s for s in schemas})
    wanted = {("mask", name) for name in masks if name.lower() not in there}
    wanted |= {
        ("exclude", number)
        for number, name in enumerate(exclude)
        if name.lower() not in there and "*" not in name
    }
    assert {path for path, _ in found} == wanted


def test_a_slip_of_the_pen_is_told_with_the_column_that_was_meant() -> None:
    schema = table("users", ["id", "email"])
    rule = TransformRule(source=("shop.*",), masks=(Mask("emial", "redact"),))
    ((_, words),) = unmatched(rule, [schema.table], {schema.table: schema})
    assert words.endswith("column `emial`, so nothing is hidden by it; did you mean `email`?")
    assert unmatched(rule, [], {}) == []  # no table yet: nothing can be said
