"""What every state database does with schema changes and the shapes of feeds."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select, update

from resources.model.table import TableSchema
from resources.stores import tables
from resources.stores.database import StateDatabase
from resources.stores.feeds import FeedShape, FeedStore
from resources.stores.schema_changes import SchemaChange, SchemaChangeStore
from resources.stores.table_states import TableStateStore
from tests.contracts.store_case import StoreCase
from tests.stores.samples import ORDERS, PIPELINE, USERS, schema_of

TARGET = "lake.orders"


def change(seq: int = 7, column: str = "price", /, **changes: object) -> SchemaChange:
    plain = SchemaChange(
        ORDERS, TARGET, seq, "alter_column_type", column, "ALTER TABLE orders …", "binlog.1:4",
        "int (int32)", "text (string)", "lossy", "hold", 'ALTER TABLE "orders" …', "no type",
        "held",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


class StoreSchemaChanges(StoreCase):
    def test_a_change_is_recorded_once(self, db: StateDatabase) -> None:
        store = SchemaChangeStore(db, PIPELINE)
        both = [change(), change(7, "name"), change(7, "price", event="rename_column")]
        first = store.record(both)
        assert store.record(both) == first
        assert len({one.id for one in first}) == 3
        plain = replace(first[0], id=0, first_seen_us=0)
        assert (plain, first[0].first_seen_us > 0) == (change(), True)
        assert store.list() == first
        assert SchemaChangeStore(db, "other").list() == []

    def test_an_undecided_change_follows_the_plan(self, db: StateDatabase) -> None:
        store = SchemaChangeStore(db, PIPELINE)
        (held,) = store.record([change()])
        (applied,) = store.record([change(state="applied", policy="evolve", target_ddl="other")])
        assert (applied.id, applied.state, applied.policy) == (held.id, "applied", "evolve")
        assert store.held() == []

    def test_a_decision_stays(self, db: StateDatabase) -> None:
        store = SchemaChangeStore(db, PIPELINE)
        first, second = store.record([change(), change(8, state="refused")])
        assert store.decide(first.id, "replaced", "Ada", "known", "ALTER …")
        assert not store.decide(first.id, "skipped", "Bob", "too late")
        assert store.decide(second.id, "applied", "Ada", "fine")
        (again,) = store.record([change(state="held")])
        assert (again.state, again.decided_by, again.reason) == ("replaced", "Ada", "known")
        assert (again.replacement, again.decided_us is not None) == ("ALTER …", True)
        assert store.decisions(ORDERS, TARGET, 7) == {("alter_column_type", "price"): "replaced"}
        assert store.decisions(ORDERS, TARGET, 8) == {("alter_column_type", "price"): "applied"}
        assert store.decisions(ORDERS, "elsewhere", 7) == {}
        assert not SchemaChangeStore(db, "other").decide(first.id, "applied", "Eve", "")

    def test_what_a_policy_did_is_no_decision(self, db: StateDatabase) -> None:
        store = SchemaChangeStore(db, PIPELINE)
        (applied,) = store.record([change(state="applied")])
        assert store.decisions(ORDERS, TARGET, 7) == {}
        assert not store.decide(applied.id, "skipped", "Ada", "it is done")
        assert store.fail(applied.id, "the sink refused it")
        assert not store.fail(applied.id, "twice")
        (failed,) = store.list(states=("failed",))
        assert failed.why == "the sink refused it"

    def test_held_changes_come_in_log_order(self, db: StateDatabase) -> None:
        store = SchemaChangeStore(db, PIPELINE)
        store.record(
            [change(9), change(2, "b"), change(5, table=USERS), change(1, state="ignored")]
        )
        assert [(one.table, one.seq) for one in store.held()] == [
            (ORDERS, 2), (USERS, 5), (ORDERS, 9),
        ]  # fmt: skip
        assert [one.seq for one in store.held(ORDERS)] == [2, 9]
        assert [one.seq for one in store.list(ORDERS)] == [1, 2, 9]

    def test_hostile_words_are_kept(self, db: StateDatabase) -> None:
        store = SchemaChangeStore(db, PIPELINE)
        words = "é 😀 ' \" ` \\ %s \n"
        (kept,) = store.record([change(7, words, statement=words + "\0", after=words)])
        assert (kept.column, kept.statement, kept.after) == (words, words + "\\x00", words)
        cased = store.record([change(7, "PRICE"), change(7, "price"), change(7, "price ")])
        assert len({one.id for one in cased}) == 3

    def test_a_feed_has_the_shape_saved_last(self, db: StateDatabase) -> None:
        store = FeedStore(db, PIPELINE)
        assert store.load(ORDERS, TARGET) is None
        first = FeedShape(ORDERS, TARGET, schema_of(ORDERS), 1)
        second = FeedShape(
            ORDERS, TARGET, schema_of(ORDERS, "name", "é"), 9, frozenset({"b", "a"}),
            frozenset({"c"}), frozenset({"d"}), '{"filter": "é"}',
        )  # fmt: skip
        for shape in (first, second, second):
            store.save(shape)
            assert store.load(ORDERS, TARGET) == shape
        other = replace(first, target="lake." + "x" * 300)
        users = FeedShape(USERS, TARGET, schema_of(USERS), 3)
        store.save(other)
        store.save(users)
        assert list(store.all()) == [second, users, other]
        assert list(FeedStore(db, "other").all()) == []
        assert store.configs() == {
            (ORDERS, TARGET): '{"filter": "é"}', (USERS, TARGET): "", (ORDERS, other.target): "",
        }  # fmt: skip
        store.forget(ORDERS, TARGET)
        assert list(store.all()) == [users, other]

    def test_a_feed_keeps_every_word_of_its_schema(self, db: StateDatabase) -> None:
        store = FeedStore(db, PIPELINE)
        plain = schema_of(ORDERS)
        columns = tuple(replace(c, comment="b", kind="enum", labels=("x",)) for c in plain.columns)
        schema = TableSchema(ORDERS, columns, ("id",), "comment")
        store.save(FeedShape(ORDERS, TARGET, schema, 1))
        loaded = store.load(ORDERS, TARGET)
        assert loaded is not None
        assert loaded.schema == schema

    def test_version_two_gets_them_and_keeps_what_it_has(self, url: str, db: StateDatabase) -> None:
        TableStateStore(db, PIPELINE).set(ORDERS, "stopped", "why", 7)
        with db.begin() as conn:
            tables.schema_changes.drop(conn)
            tables.feeds.drop(conn)
            conn.execute(update(tables.state_version).values(version=2))
        newer = StateDatabase(url)
        try:
            SchemaChangeStore(newer, PIPELINE).record([change()])
            FeedStore(newer, PIPELINE).save(FeedShape(ORDERS, TARGET, schema_of(ORDERS), 1))
            state = TableStateStore(newer, PIPELINE).get(ORDERS)
            assert state is not None
            assert (state.status, state.reason, state.seq) == ("stopped", "why", 7)
            with newer.read() as conn:
                assert conn.scalar(select(tables.state_version.c.version)) == tables.SCHEMA_VERSION
        finally:
            newer.close()
