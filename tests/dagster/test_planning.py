"""What an edited pipeline file would do: every feed in exactly one place, and said in words."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.engine.routing import Route
from cdc_assets.planning import Facts, History, TargetShape, plan_file
from cdc_assets.planning_facts import compare_target
from cdc_assets.planning_words import plan_words
from resources.model.table import Column, TableSchema
from resources.model.table_id import TableId
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.memory import MemorySink

TABLES = [TableId("shop", name) for name in ("a", "b", "c", "d")]
CONFIGS: list[dict[str, Any]] = [{}, {"filter": "x"}, {"masks": [{"column": "m"}]}]


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    some = st.frozensets(st.sampled_from(TABLES))
    selected, loaded, left = draw(some), draw(some), draw(some)
    statuses = st.sampled_from(["live", "live", "stopped", "needs_snapshot"])
    known = {t: (draw(statuses), "because") for t in loaded}
    routes = {t: (Route(t, TableId("lake", t.table)),) for t in selected | loaded}
    configs = st.sampled_from(CONFIGS)
    feeds = {(t, str(routes[t][0].target)) for t in routes}
    kept_name = st.sampled_from(["lake", "old"])
    return Facts(
        selected=selected - left,
        known=known,
        loaded=loaded,
        chosen=loaded - left,
        routes=routes,
        kept={(t, f"{draw(kept_name)}.{t.table}"): draw(configs) for t in sorted(loaded)},
        wanted={feed: draw(configs) for feed in sorted(feeds)},
        whole=draw(some),
        history=draw(st.sampled_from(["snapshot", "log", "none"])),
    )


@given(facts())
def test_every_table_is_planned_once_and_named(facts: Facts) -> None:
    plan = plan_file(facts)
    new, edited = {p.table for p in plan.new}, {p.table for p in plan.edited}
    assert new == facts.selected - facts.loaded
    assert set(plan.left) == facts.loaded - facts.chosen
    assert not edited & (new | set(plan.left))
    for feed in plan.edited:
        kept = facts.kept.get((feed.table, str(feed.target)))
        assert kept != facts.wanted[feed.table, str(feed.target)]
        assert (feed.way in ("refold", "fill")) <= (feed.table in facts.whole)
        assert (feed.way == "fill") <= (kept is None)
        assert (feed.way == "reread") <= (facts.history == "snapshot")
        assert not (kept and feed.way == "refold" and "masks" in kept)
    for table in facts.loaded & facts.chosen - edited:
        name = f"lake.{table.table}"
        assert facts.kept[table, name] == facts.wanted[table, name]
    words = plan_words("shop", plan)
    for table in new | edited | set(plan.left) | set(plan.gone):
        assert f"`{table}`" in words
    assert ("Nothing changes" in words) == plan.changes_nothing


def edited(config: dict[str, Any], history: History = "snapshot", whole: bool = False) -> str:
    table = TABLES[0]
    shape = TargetShape((("id", "int64"),), (("id", "int64"), ("c", "string")), ("ALTER … ADD c",))
    found = Facts(
        selected=frozenset([table]),
        known={table: ("live", "")},
        loaded=frozenset([table]),
        chosen=frozenset([table]),
        routes={table: (Route(table, table),)},
        kept={(table, str(table)): {}},
        wanted={(table, str(table)): config},
        whole=frozenset([table] if whole else []),
        shapes={(table, str(table)): shape},
        history=history,
    )
    return plan_words("shop", plan_file(found))


def test_an_edit_says_what_is_read_again_what_is_folded_again_and_what_cannot_be() -> None:
    assert "**read again**" in edited({"filter": "x"})
    assert "shop_refold" in edited({"filter": "x"}, whole=True)
    assert "**read again**" in edited({"masks": ["m"]}, whole=True)
    assert "**cannot be filled again**" in edited({"filter": "x"}, history="log")
    assert "shop_refold" in edited({"filter": "x"}, history="log", whole=True)
    assert "`ALTER … ADD c`" in edited({"filter": "x"})
    assert "Nothing changes" in edited({})


@pytest.mark.parametrize(
    ("shared", "ddl"),
    [(True, ["amount", "new"]), (False, ["id", "amount", "new", "extra"])],
)
def test_a_plan_narrows_and_drops_no_column_of_a_shared_target(
    shared: bool, ddl: list[str]
) -> None:
    target = TargetId("dw", "orders")
    there = [("id", pa.decimal128(20)), ("amount", pa.int32()), ("extra", pa.string())]
    wanted = [("id", pa.int32()), ("amount", pa.int64()), ("new", pa.string())]
    with MemorySink("plan of a shared target") as sink:
        sink.drop_table(target)
        sink.create_table(TargetTable(target, table_of(there)))
        route = Route(TABLES[0], TableId("dw", "orders"), shared=shared)
        shape = compare_target(sink, route, table_of(wanted))
    assert len(shape.ddl) == len(ddl)
    for statement, column in zip(shape.ddl, ddl, strict=True):
        assert column in statement


def table_of(columns: list[tuple[str, pa.DataType]]) -> TableSchema:
    return TableSchema(TABLES[0], tuple(Column(*column) for column in columns), ("id",))
