"""The Kafka sink on a real broker: what of the contract applies to a log of changes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, DirtyRowError, FencedOut, SchemaMismatch, TerminalError
from resources.failpoints import FailpointReached
from resources.model.change import CHANGE_FIELDS, RowKind
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Sink, TargetId, TargetTable, Watermark
from resources.sinks.kafka import KafkaSink
from tests.armed import armed
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import (
    FEED,
    HISTORY,
    PIPELINE,
    SCHEMA,
    STEPS,
    TARGET,
    WRITE_POINTS,
    changes_of,
    fence,
    keys_of,
    observe,
    rows_of,
)
from tests.sinks.kafka_room import Room, fold
from tests.sinks.kafka_room import room as room
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, comparable

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER
OTHER = Feed("other", SCHEMA.table)
LOAD_POINTS = (
    *("sink.load.after_begin", "sink.load.after_rows", "sink.load.after_mark"),
    *("sink.load.after_commit", "sink.finish.after_watermark", "sink.finish.after_commit"),
)
FORMATS = ("debezium-json", "canal-json")


def changes(first: int, *rows: tuple[RowKind, int, str | None]) -> pa.Table:
    """Rows of HISTORY, numbered from `first`."""
    seqs = range(first, first + len(rows))
    stamps = zip(CHANGE_FIELDS, ([r[0] for r in rows], seqs, seqs), strict=True)
    arrays = [pa.array(list(values), field.type) for field, values in stamps]
    columns = [pa.array([r[1] for r in rows]), pa.array([r[2] for r in rows], pa.string())]
    return pa.table([*columns, *arrays], schema=changes_of(1, []).schema)


class TestKafkaSink(SinkCase):
    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)

    @pytest.fixture(autouse=True)
    def _room(self, room: Room) -> None:
        self.room = room

    def open(self, place: str, **options: Any) -> KafkaSink:
        return self.room.open(place, **options)

    def test_it_says_what_it_can(self, sink: Sink) -> None:
        assert isinstance(sink, Sink)
        can = sink.capabilities
        assert (can.transactions, can.merge, can.append_loads) == (True, False, True)
        assert can.schema_changes == {"add", "drop", "rename", "retype"}
        plain = self.room.open("x", delivery="at_least_once")
        assert not plain.capabilities.transactions

    def test_merging_is_refused_with_what_to_do(self, sink: Sink) -> None:
        with pytest.raises(ConfigError, match=r'append: \["\*\.\*"\]'):
            sink.create_table(TARGET)
        with pytest.raises(ConfigError, match="cannot be merged into"):
            sink.merge(TARGET, rows_of({}), keys_of(), fence(None, 1))
        with pytest.raises(TerminalError, match="mode is append"):
            sink.merge(HISTORY, changes_of(1, []), keys_of(), fence(None, 1))
        assert [f.code for f in sink.check_table(TARGET)] == ["no_merge"]
        assert sink.check_table(HISTORY) == []

    def test_names_that_no_topic_can_have_are_found_before_start(self, sink: Sink) -> None:
        target = TargetTable(TargetId("shop", "bestellungen ü"), SCHEMA, "append")
        assert {f.code for f in sink.check_table(target)} == {"name_invalid"}
        with pytest.raises(ConfigError, match="cannot be the name of a topic"):
            sink.create_table(target)

    def test_a_table_is_made_filled_and_dropped(self, sink: Sink, place: str) -> None:
        for read in (sink.read_table, sink.count_rows):
            with pytest.raises(SchemaMismatch, match="does not exist"):
                read(HISTORY.id)
        with pytest.raises(SchemaMismatch, match="does not exist"):
            sink.append(HISTORY, changes_of(1, ["a"]), fence(None, 1))
        sink.create_table(HISTORY)
        sink.create_table(HISTORY)
        assert sink.read_schema(HISTORY.id) == changes_of(1, []).schema
        assert sink.read_watermark(HISTORY.id, FEED) is None
        assert sink.append(HISTORY, changes_of(1, ["a", "a"]), fence(None, 2)).upserted == 2
        sink.append(HISTORY, changes_of(3, []), fence(2, 3))
        assert sink.count_rows(HISTORY.id) == 2
        assert sink.read_watermark(HISTORY.id, FEED) == Watermark(3, 0, 1)
        sink.drop_table(HISTORY.id)
        sink.drop_table(HISTORY.id)
        assert observe(sink, HISTORY) == (None, None)
        sink.create_table(HISTORY)
        assert observe(sink, HISTORY) == ([], None)

    def test_other_columns_do_not_fit(self, sink: Sink) -> None:
        sink.create_table(HISTORY)
        wider = TableSchema(SCHEMA.table, (*SCHEMA.columns, Column("n", pa.int8())), ("id",))
        target = TargetTable(HISTORY.id, wider, "append")
        rows = changes_of(1, ["a"]).add_column(2, "n", pa.array([1], pa.int8()))
        with pytest.raises(SchemaMismatch, match=r"has the columns .*name.* on the source .*n "):
            sink.append(target, rows, fence(None, 1))
        with pytest.raises(SchemaMismatch, match="rows of shape"):
            sink.append(HISTORY, rows, fence(None, 1))
        assert [f.code for f in sink.check_table(target)] == ["schema_mismatch"]

    def test_writers_that_lost_write_nothing(self, sink: Sink) -> None:
        STEPS["append"].prepare(sink)
        sink.append(HISTORY, changes_of(11, ["c"]), fence(10, 20, token=7))
        before = observe(sink, HISTORY)
        for expected in (None, 10, 30):
            with pytest.raises((FencedOut, TerminalError)):
                sink.append(HISTORY, changes_of(21, ["lost"]), fence(expected, 25, token=9))
        with pytest.raises(FencedOut, match="token 7"):
            sink.append(HISTORY, changes_of(21, ["lost"]), fence(20, 25, token=6))
        with pytest.raises(TerminalError, match="cannot go back"):
            sink.append(HISTORY, changes_of(21, []), fence(20, 19, token=9))
        assert observe(sink, HISTORY) == before

    def test_each_feed_has_its_own_watermark_of_64_bits(self, sink: Sink) -> None:
        STEPS["append"].prepare(sink)
        top = 2**64 - 1
        sink.append(HISTORY, changes_of(1, ["x"]), fence(None, top, top, OTHER))
        assert sink.read_watermark(HISTORY.id, OTHER) == Watermark(top, 0, top)
        assert sink.list_watermarks(PIPELINE) == {(HISTORY.id, FEED.table): Watermark(10, 0, 1)}
        assert sink.list_feeds(HISTORY.id) == sorted([FEED, OTHER])

    def test_killed_between_any_two_statements(self, place: str) -> None:
        """Each write breaks off at its points; what was there or all of it is seen, then all."""
        step = STEPS["append"]
        for point in (*WRITE_POINTS, "sink.before_record"):
            there = f"{place}-{point}"
            with self.open(there) as sink:
                step.prepare(sink)
                with armed(f"{point}:raise"), pytest.raises(FailpointReached):
                    step.work(sink)
            with self.open(there) as sink:
                ids = sorted(r["id"] for r in sink.read_table(HISTORY.id).to_pylist())
                assert ids == ([1, 2, 11, 12, 13] if point == "sink.after_commit" else [1, 2])
                step.redo(sink)
                step.redo(sink)
                assert sink.count_rows(HISTORY.id) == 5, point
                assert sink.read_watermark(HISTORY.id, FEED) == Watermark(20, 0, 1)

    def test_columns_change_and_consumers_are_told(self, sink: Sink, place: str) -> None:
        STEPS["append"].prepare(sink)
        wanted = (
            AddColumn(Column("rank", pa.uint64())),
            RenameColumn("name", "label"),
            RetypeColumn(Column("id", pa.decimal128(20, 0))),
        )
        (said,) = sink.render_changes(HISTORY.id, wanted)
        for _ in range(2):
            sink.alter_table(HISTORY.id, wanted)
        schema = sink.read_schema(HISTORY.id)
        assert schema is not None
        assert schema.names[:3] == ["id", "label", "rank"]
        (message,) = self.room.messages(self.room.options(place)["schema_topic"])
        assert message.value["ddl"] == said
        (change,) = message.value["tableChanges"]
        assert [c["name"] for c in change["table"]["columns"]] == ["id", "label", "rank"]
        assert change["table"]["primaryKeyColumnNames"] == ["id"]
        with pytest.raises(SchemaMismatch):
            sink.alter_table(HISTORY.id, [RenameColumn("never", "there")])
        with pytest.raises(ConfigError):
            sink.execute(["ALTER TABLE x"])

    def test_canal_tells_changes_of_columns_in_the_table_s_own_topic(self, place: str) -> None:
        with self.open(place, format="canal-json", schema_topic=None) as sink:
            STEPS["append"].prepare(sink)
            sink.alter_table(HISTORY.id, [DropColumn("name")])
        last = self.room.messages(self.room.topic(place, HISTORY.id))[-1].value
        assert (last["isDdl"], last["type"], last["table"]) == (True, "ALTER", "orders_log")
        assert last["sql"] == "ALTER TABLE `shop`.`orders_log` DROP COLUMN `name`"

    @pytest.mark.parametrize("form", FORMATS)
    def test_rows_that_were_read_stand_in_front_of_changes(self, form: str, place: str) -> None:
        with self.open(place, format=form) as sink:
            self._load(sink, "first", {1: "one", 2: "two", 3: "three"}, None)
            assert sink.read_watermark(HISTORY.id, FEED) == Watermark(10, 15, 1)
            done = changes(11, (UB, 1, "one"), (UA, 1, "ONE"), (DEL, 2, "two"), (INS, 4, None))
            sink.append(HISTORY, done, fence(10, 20))
            topic = self.room.topic(place, HISTORY.id)
            assert _names(fold(self.room.messages(topic))) == {1: "ONE", 3: "three", 4: None}
            self._load(sink, "again", {4: "four"}, 20)
            assert _names(fold(self.room.messages(topic))) == {4: "four"}
            assert sink.read_watermark(HISTORY.id, FEED) == Watermark(10, 15, 1)

    def _load(self, sink: Sink, load_id: str, names: dict[int, str], after: int | None) -> None:
        sink.begin_load(HISTORY, load_id, FEED)
        rows = rows_of(dict(names))
        for number in range(2):
            part = rows.slice(number, 1 if number == 0 else None)
            for _ in range(2):  # a chunk that is in is left as it is
                assert sink.load_chunk(HISTORY, load_id, number, [part]) == part.num_rows
        with pytest.raises(TerminalError, match="begun by"):
            sink.begin_load(HISTORY, load_id, OTHER)
        for _ in range(2):
            assert sink.finish_load(HISTORY, load_id, fence(after, 10), 15) == len(names)

    @pytest.mark.parametrize("point", LOAD_POINTS)
    def test_a_load_broken_off_sends_every_row_once(self, point: str, place: str) -> None:
        with self.open(place) as sink, armed(f"{point}:raise"), pytest.raises(FailpointReached):
            self._load(sink, "a", {1: "one", 2: "two", 3: "three"}, None)
        with self.open(place) as sink:
            self._load(sink, "a", {1: "one", 2: "two", 3: "three"}, None)
        seen = self.room.messages(self.room.topic(place, HISTORY.id))
        assert sorted(m.value["after"]["id"] for m in seen) == [1, 2, 3]
        assert {m.value["op"] for m in seen} == {"r"}

    def test_a_truncated_table_is_told(self, sink: Sink, place: str) -> None:
        STEPS["append"].prepare(sink)
        sink.truncate(HISTORY, fence(10, 12))
        messages = self.room.messages(self.room.topic(place, HISTORY.id))
        assert messages[-1].value["op"] == "t"
        assert fold(messages) == {}
        assert sink.read_watermark(HISTORY.id, FEED) == Watermark(12, 0, 1)

    def test_a_message_too_long_is_a_dirty_row_and_both_images_of_it(self, place: str) -> None:
        with self.open(place, max_message_bytes=4000) as sink:
            sink.create_table(HISTORY)
            long = "x" * 4000
            rows = changes(1, (INS, 1, "a"), (UB, 2, "b"), (UA, 2, long), (INS, 3, long))
            with pytest.raises(DirtyRowError, match="4,000 bytes"):
                sink.append(HISTORY, rows, fence(None, 5))
            assert observe(sink, HISTORY) == ([], None)
            refused = sink.find_rejected(HISTORY, rows)
            assert [r.index for r in refused] == [1, 2, 3]
            sink.append(HISTORY, rows.slice(0, 1), fence(None, 5))
            assert sink.count_rows(HISTORY.id) == 1

    def test_partitions_tombstones_and_headers(self, place: str) -> None:
        with self.open(place, partitions=3, topic_config={"retention.ms": "-1"}) as sink:
            sink.create_table(HISTORY)
            rows = changes(1, *((INS, i, "a") for i in range(30)), (DEL, 7, "a"))
            sink.append(HISTORY, rows, fence(None, 40))
            seen = self.room.messages(self.room.topic(place, HISTORY.id))
            assert {m.partition for m in seen} == {0, 1, 2}
            sevens = [m for m in seen if m.key == {"id": 7}]
            assert len({m.partition for m in sevens}) == 1
            ops = [m.value and m.value["op"] for m in sevens]
            assert ops == ["c", "d", None]
            assert {m.headers["_cdc_seq"] for m in sevens} == {b"8", b"31"}
            topic = self.room.topic(place, HISTORY.id)
            assert sink._place.topics.setting(topic, "retention.ms") == "-1"
        with self.open(f"{place}-2", partitions=3, partitioning="single", tombstones=False) as sink:
            sink.create_table(HISTORY)
            sink.append(HISTORY, rows, fence(None, 40))
        seen = self.room.messages(self.room.topic(f"{place}-2", HISTORY.id))
        assert {m.partition for m in seen} == {0}
        assert [m.headers["_cdc_seq"] for m in seen] == [b"%d" % i for i in range(1, 32)]

    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    @pytest.mark.parametrize("form", FORMATS)
    def test_every_type_comes_back_as_it_went_in(
        self, form: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        columns = tuple(Column(f"c{i}", t) for i, t in enumerate(self.column_types))
        schema = TableSchema(TableId("shop", "t"), (Column("id", pa.int32()), *columns), ("id",))
        target = TargetTable(TargetId("shop", "t"), schema, "append")
        row = st.tuples(*(st.none() | self.values(c.type) for c in columns))
        drawn = data.draw(st.lists(row, min_size=1, max_size=6))
        numbers = list(range(len(drawn)))
        arrays = [
            pa.array(list(v), c.type)
            for v, c in zip(zip(*drawn, strict=True), columns, strict=True)
        ]
        stamps = ([0] * len(drawn), numbers, [n * 1000 for n in numbers])
        arrays += [pa.array(v, f.type) for v, f in zip(stamps, CHANGE_FIELDS, strict=True)]
        names = [*schema.names, *(f.name for f in CHANGE_FIELDS)]
        rows = pa.table([pa.array(numbers, pa.int32()), *arrays], names=names)
        there = str(tmp_path_factory.mktemp("types"))
        with self.open(there, format=form, schemas=form == "debezium-json") as sink:
            sink.create_table(target)
            sink.append(target, rows, fence(None, 9))
            read = sink.read_table(target.id)
        assert read.schema.types == rows.schema.types
        assert comparable(read) == comparable(rows)


def _names(rows: dict[str, dict[str, Any]]) -> dict[int, Any]:
    return {int(row["id"]): row["name"] for row in rows.values()}
