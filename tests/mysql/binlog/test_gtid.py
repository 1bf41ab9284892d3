"""GTID sets: text, algebra and binary form, against each other and against the server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError
from resources.mysql.binlog.cursor import Cursor
from resources.mysql.binlog.gtid import Gtid, GtidSet, decode_set

A = "0a9ba2a5-e4d0-11f1-904f-02fc00000001"
B = "ffffffff-e4d0-11f1-904f-02fc00000002"

sources = st.sampled_from([A, B, f"{A}:blue", f"{A}:red", f"{B}:blue"])
numbers = st.integers(1, 30)
gtids = st.builds(Gtid, sources, numbers)


def of(members: set[Gtid]) -> GtidSet:
    result = GtidSet("mysql")
    for gtid in members:
        result = result.add(gtid)
    return result


def members(gtid_set: GtidSet) -> set[Gtid]:
    return {
        Gtid(source, number)
        for source, spans in gtid_set.intervals.items()
        for low, high in spans
        for number in range(low, high + 1)
    }


@given(st.sets(gtids), st.sets(gtids))
def test_algebra_is_that_of_sets(left: set[Gtid], right: set[Gtid]) -> None:
    assert members(of(left)) == left
    assert members(of(left).union(of(right))) == left | right
    assert members(of(left).subtract(of(right))) == left - right
    assert of(left).contains(of(right)) == (right <= left)
    assert (of(left) == of(right)) == (left == right)


@given(st.sets(gtids))
def test_text_and_binary_forms_round_trip(some: set[Gtid]) -> None:
    assert GtidSet.parse(str(of(some)), "mysql") == of(some)
    assert decode_set(Cursor(of(some).encode())) == of(some)


@settings(deadline=None, max_examples=20)
@given(st.sets(gtids, min_size=1))
def test_the_server_prints_the_same_text(mysql: Any, some: set[Gtid]) -> None:
    text = str(of(some))
    shuffled = ",".join(f"{g.source.upper()}:{g.number}" for g in some)
    printed = mysql.execute(f"SELECT GTID_SUBTRACT('{shuffled}', '')")[0][0]
    assert printed.replace("\n", "") == text == str(GtidSet.parse(shuffled, "mysql"))


def test_written_forms() -> None:
    text = f"{A}:1-5:7 , {A}:blue:3-4:6,\n{A}:6"
    assert str(GtidSet.parse(text, "mysql")) == f"{A}:1-7:blue:3-4:6"
    assert str(GtidSet.parse(f"{A}:TAG:1", "mysql")) == f"{A}:tag:1"
    assert not GtidSet.parse(" \n", "mysql")


@pytest.mark.parametrize("text", ["x", A, f"{A}:0", f"{A}:1-x", f"{A}:blue", "1-2-3", f"{A}:a-b:1"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        GtidSet.parse(text, "mysql")


def test_mariadb_positions() -> None:
    start = GtidSet.parse("1-7-10,0-1-5", "mariadb")
    assert str(start) == "0-1-5,1-7-10"
    later = start.add(Gtid("0", 6, 2)).add(Gtid("3", 1, 9))
    assert str(later) == "0-2-6,1-7-10,3-9-1"
    assert later.contains(start) and not start.contains(later)
    assert str(start.union(GtidSet.parse("0-9-4,2-1-1", "mariadb"))) == "0-1-5,1-7-10,2-1-1"
    with pytest.raises(ConfigError):
        GtidSet.parse("0-1", "mariadb")
