"""What the asset pages show: bounded, escaped, and without secrets; resources for users' assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets import plots
from cdc_assets.inventory import build_selector, load_inventory, save_inventory
from cdc_assets.metadata import (
    COMMENT_CHARACTERS,
    column_schema,
    cut,
    shortened,
    touched_table,
)
from cdc_assets.settings import load_pipelines
from cdc_assets.verdicts import broken_links
from resources import DirtyRowsResource, SinkResource
from resources.model.table import Column, TableSchema
from resources.model.table_id import TableId
from resources.sinks.contract import TargetId
from resources.stores.dirty_rows import DirtyStats
from tests.dagster.room import Room, run_sql
from tests.servers.base import CDC_PASSWORD

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


@given(st.text(max_size=2000))
def test_text_of_a_source_is_one_bounded_line_without_markup(text: str) -> None:
    shown = cut(text)
    assert len(shown) <= COMMENT_CHARACTERS
    assert not set(shown) & set("<>|`\n\r")


def test_a_long_gtid_set_is_cut_and_says_so() -> None:
    parts = ",\n".join(f"{i:032x}:1-9" for i in range(40))
    assert len(shortened(parts)) < 230
    assert "40 parts" in shortened(parts)
    assert shortened("a:1-5") == "a:1-5"


def test_touched_tables_are_listed_busiest_first_and_cut() -> None:
    counts = {f"d.t{i}": {"insert": i, "delete": 1} for i in range(80)}
    lines = touched_table(counts).splitlines()
    assert lines[2] == "| d.t79 | 79 | 0 | 1 |"
    assert len(lines) == 53
    assert "30 more" in lines[-1]


def dirty(table: str, error: str, count: int) -> DirtyStats:
    return DirtyStats(TableId("d", table), "apply", error, "c", count, count + 1, 10**15)


def test_dirty_rows_are_a_table_with_a_plot_and_without_matplotlib_a_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats = [dirty("a", "RejectedWrite", 2), dirty("b", "DirtyRowError", 7), dirty("c", "X", 0)]
    shown = plots.dirty_metadata(stats)
    table = shown["dirty rows"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [r.data["table"] for r in table.records] == ["d.b", "d.a"]
    assert {**table.records[0].data, "since": ""} == {
        "table": "d.b",
        "stage": "apply",
        "error": "DirtyRowError",
        "column": "c",
        "open": 7,
        "ever": 8,
        "since": "",
    }
    assert {c.name: c.type for c in table.schema.columns}["open"] == "int"
    assert "(data:image/png;base64,iVBOR" in str(shown["dirty rows plot"].value)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda _name: None)
    assert list(plots.dirty_metadata(stats)) == ["dirty rows"]
    assert plots.dirty_metadata([dirty("c", "X", 0)]) == {}


def test_the_dirty_rows_of_many_causes_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda _name: None)
    shown = plots.dirty_metadata([dirty(f"t{i}", "X", 1) for i in range(plots.LINES + 9)])
    assert len(shown["dirty rows"].records) == plots.LINES  # type: ignore[attr-defined]


def test_columns_show_both_types_and_a_comment_without_markup() -> None:
    column = Column("id", pa.int64(), source_type="int unsigned", comment="<b>\nnumber")
    schema = TableSchema(TableId("d", "t"), (column,), ("id",))
    (shown,) = column_schema(schema).columns
    assert shown.type == "int unsigned"
    assert shown.description == "Arrow int64 · source int unsigned · &lt;b&gt; number"
    (shown,) = column_schema(schema, {"id": frozenset({"id"})}).columns
    assert shown.description == "Arrow int64 · source int unsigned · &lt;b&gt; number"
    (shown,) = column_schema(schema, {"id": frozenset({"b", "a"})}).columns
    assert shown.description == "Arrow int64 · from a, b · source int unsigned · &lt;b&gt; number"


def test_links_between_segments_are_compared() -> None:
    @dataclass
    class Link:
        number: int
        start: str
        end: str

    whole = [Link(4, "a", "b"), Link(5, "b", "c"), Link(6, "c", "d")]
    assert broken_links(whole) == []  # type: ignore[arg-type]
    assert len(broken_links([whole[0], whole[2]])) == 1  # type: ignore[list-item]
    assert len(broken_links([whole[0], Link(5, "x", "c"), whole[2]])) == 1  # type: ignore[list-item]


def test_the_inventory_adds_up_and_forgets_what_the_patterns_drop(room: Room) -> None:
    content: dict[str, Any] = {
        "name": "inv",
        "source": {"type": "mysql", "host": "h", "user": "u", "tables": ["d.*", "e.one"]},
        "sink": {"type": "memory"},
    }
    room.write(content)
    (settings,) = load_pipelines(room.pipelines)
    a, b, other = TableId("d", "a"), TableId("d", "b"), TableId("f", "x")
    assert save_inventory(settings, [b, other], ["2026-02-02"]) == [b]
    assert save_inventory(settings, [a, b], ["2026-02-01", "2026-02-03"]) == [a]
    assert load_inventory(settings).tables == (a, b, TableId("e", "one"))
    assert load_inventory(settings).first_window == "2026-02-01"
    content["source"]["exclude"] = ["*.b"]
    room.write(content)
    (settings,) = load_pipelines(room.pipelines)
    assert load_inventory(settings).tables == (a, TableId("e", "one"))
    assert [t for t in (a, b, other) if build_selector(settings)(t)] == [a]


def test_no_event_holds_the_password_and_users_assets_read_targets_and_dirty_rows(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (3, 'cat')")
    seen: list[int] = []

    @dg.asset
    def mart(sink: SinkResource, dirty: DirtyRowsResource) -> None:
        with sink.open() as tables, dirty.open() as rows:
            seen.append(tables.count_rows(TargetId(shop, "users")))
            seen.append(rows.count_open())

    resources = room.load().resources or {}
    chosen = {"sink": resources[f"{name}_sink"], "dirty": resources[f"{name}_dirty_rows"]}
    assert dg.materialize([mart], resources=chosen, instance=room.instance).success
    assert seen == [2, 0]
    result = room.execute(f"{name}_sync")
    assert result.success
    for run in room.instance.get_runs():
        text = "\n".join(str(event) for event in room.instance.all_logs(run.run_id))
        assert CDC_PASSWORD not in text + str(run)
