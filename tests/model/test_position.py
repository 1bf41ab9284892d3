"""Positions survive being stored."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from resources.model.position import (
    BinlogPosition,
    PreparedTransaction,
    ServerIdentity,
    position_from_json,
)

names = st.text(max_size=12)
prepared = st.builds(
    PreparedTransaction,
    names,
    names,
    st.integers(4, 1 << 40),
    st.lists(st.tuples(names, names), max_size=2).map(tuple),
)
positions = st.builds(
    BinlogPosition,
    names,
    st.integers(4, 1 << 40),
    names,
    st.builds(ServerIdentity, st.sampled_from(["mysql", "mariadb"]), names),
    st.lists(prepared, max_size=2).map(tuple),
)


@given(positions)
def test_a_binlog_position_survives_its_json(position: BinlogPosition) -> None:
    assert position_from_json(json.loads(json.dumps(position.to_json()))) == position


def test_positions_stored_before_xa_was_known_are_read() -> None:
    stored = {"type": "binlog", "file": "f", "offset": 4, "gtid_set": "", "flavor": "mysql"}
    position = position_from_json({**stored, "uuid": "u"})
    assert position == BinlogPosition("f", 4, "", ServerIdentity("mysql", "u"))
