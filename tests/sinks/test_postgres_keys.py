"""Primary keys of loads into PostgreSQL: made once, and nothing they refuse goes unnoticed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.errors import DirtyRowError, TerminalError
from resources.model.table import Column
from resources.sinks.contract import TargetTable
from resources.sinks.postgres_keys import check_repeats
from tests.contracts.sink_steps import FEED, TARGET, fence, load, rows_of, target_of
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.sinks.test_postgres_tables import Place
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, arrow_values, comparable

CODES = target_of(Column("code", pa.string()), key=("code",))
_KEYS = "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p' AND conrelid IN "
_OPTIONS = "SELECT reloptions FROM pg_class WHERE relkind = 'r' AND relname "
_LOADS = "(SELECT oid FROM pg_class WHERE relname LIKE '\\_cdc\\_load%')"


@pytest.fixture
def place(room: Room, request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(room, request.node.name)
    with place.sink:
        yield place


def codes(*values: str) -> pa.Table:
    return pa.table({"code": pa.array(values, pa.string())})


def test_a_load_gets_its_key_and_upkeep_when_its_chunks_are_in(place: Place) -> None:
    place.sink.begin_load(TARGET, "a", FEED)
    place.sink.load_chunk(TARGET, "a", 1, [rows_of({5: "five", 4: "four"})])
    assert place.run(_KEYS + _LOADS) == []
    assert place.run(_OPTIONS + "LIKE '\\_cdc\\_load%'") == [(["autovacuum_enabled=false"],)]
    for _ in range(2):
        assert place.sink.finish_load(TARGET, "a", fence(10, 20), 20) == 2
        assert place.run(_KEYS + "('shop.orders'::regclass)") == [("shop.orders",)]
        assert place.run(_OPTIONS + "= 'orders'") == [(None,)]


def test_a_part_with_one_key_twice_is_refused(place: Place) -> None:
    """Also where the table is not there yet, and another one stands in for it."""
    target = target_of(Column("id", pa.int64()), Column("v", pa.string()))
    names = [c.name for c in target.schema.columns]
    rows = pa.table([pa.array([3, 1, 3, 2], pa.int64()), ["a", "b", "c", "d"]], names=names)
    place.sink.begin_load(target, "a", FEED)
    with pytest.raises(DirtyRowError, match="two rows have one key"):
        place.sink.load_chunk(target, "a", 1, [rows])
    assert place.sink.loaded_chunks(target.id, "a") == {}
    assert [r.index for r in place.sink.find_rejected(target, rows)] == [2]
    good = rows.filter(pa.array([True, True, False, True]))
    assert place.sink.load_chunk(target, "a", 1, [good]) == 3
    assert place.sink.finish_load(target, "a", fence(None, 20), 20) == 3


def test_chunks_with_one_key_leave_the_live_table_as_it_is(place: Place) -> None:
    before = place.rows()
    place.sink.begin_load(TARGET, "a", FEED)
    for chunk in (1, 2):
        place.sink.load_chunk(TARGET, "a", chunk, [rows_of({5: "five", chunk: "one"})])
    for _ in range(2):
        with pytest.raises(TerminalError, match=r"two rows of the load have one key \(id\)"):
            place.sink.finish_load(TARGET, "a", fence(10, 20), 20)
    assert place.rows() == before
    assert load(place.sink, TARGET, "b", [rows_of({5: "five"})], fence(10, 20)) == 1


def test_keys_too_long_for_an_index_are_refused_with_their_chunk(place: Place) -> None:
    """The server packs values: of two keys of one length, one fits and the other does not."""
    letters = random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000)
    long, packed = "".join(letters), "x" * 9000
    place.sink.begin_load(CODES, "a", FEED)
    rows = codes("a", packed, long)
    with pytest.raises(DirtyRowError, match="too long for its index"):
        place.sink.load_chunk(CODES, "a", 1, [codes("b"), rows])
    assert [r.index for r in place.sink.find_rejected(CODES, rows)] == [2]
    assert place.sink.load_chunk(CODES, "a", 1, [codes("b"), codes("a", packed)]) == 3
    assert place.sink.finish_load(CODES, "a", fence(None, 20), 20) == 3
    found = place.sink.read_table(CODES.id)
    assert comparable(found) == comparable(codes("b", "a", packed))


def test_a_load_begun_with_its_key_is_finished(place: Place) -> None:
    """As releases before this one have begun it."""
    place.sink.begin_load(TARGET, "a", FEED)
    ((shadow,),) = place.run("SELECT shadow FROM _cdc.loads WHERE load_id = 'a'")
    place.run(f'ALTER TABLE _cdc."{shadow}" ADD PRIMARY KEY (id)')
    place.sink.load_chunk(TARGET, "a", 1, [rows_of({5: "five"})])
    assert place.sink.finish_load(TARGET, "a", fence(10, 20), 20) == 1
    assert place.rows() == [(5, "five")]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_repeats_are_found_in_keys_of_all_types(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from((*COLUMN_TYPES, *WIDE_DECIMALS)), min_size=1))
    types = [t for t in types if not pa.types.is_nested(t) and not pa.types.is_floating(t)][:2]
    columns = [Column(f"k{i}", t) for i, t in enumerate(types)]
    if not columns:
        return
    row = st.tuples(*(st.none() | arrow_values(t) for t in types))
    values = data.draw(st.lists(row, max_size=12))
    values += data.draw(st.lists(st.sampled_from(values), max_size=1)) if values else []
    arrays = [pa.array([v[i] for v in values], t) for i, t in enumerate(types)]
    rows = pa.table(arrays, names=[c.name for c in columns])
    target: TargetTable = target_of(*columns, key=tuple(c.name for c in columns))
    known = [tuple(r.values()) for r in rows.to_pylist() if None not in r.values()]
    if len(set(known)) == len(known):
        check_repeats(target, rows)
        return
    with pytest.raises(DirtyRowError):
        check_repeats(target, rows)
