"""Partial JSON updates arrive as the whole values the server shows."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.binlog.json_diff import apply_diffs, parse_path
from resources.mysql.binlog.json_dom import Node, Scalar, json_bytes, parse_json
from resources.mysql.binlog.json_value import BadJson, json_text
from tests.mysql.binlog.log import Log, folded

DOCUMENT = {
    "a": 1,
    "list": [1, 2.5, {"x": [True, None, "é"]}, [], {}],
    "long": "x" * 300,
    'k"ey.with [odd]': {"deep": {"er": [0, [1, [2, [3]]]]}},
    "ü": "ü",
    "big": 18446744073709551615,
    "pad": ["y" * 50] * 20,
}
UPDATES = (
    "JSON_SET(d, '$.a', 2)",
    "JSON_SET(d, '$.a', 'a longer value than before', '$.b', CAST('2020-01-02' AS DATE))",
    "JSON_REPLACE(d, '$.list[2].x[0]', JSON_OBJECT('n', 1.25, 'm', CAST(1.50 AS DECIMAL(9,2))))",
    "JSON_REMOVE(d, '$.list[0]')",
    "JSON_REMOVE(d, '$.\"k\\\\\"ey.with [odd]\".deep', '$.a')",
    "JSON_SET(d, '$.list[2]', CAST('[1,[2]]' AS JSON), '$.list[9]', 'end')",
    "JSON_SET(d, '$.\"ü\"', CAST(x'00ff' AS BINARY(2)))",
    "JSON_ARRAY_INSERT(d, '$.pad[3]', -7)",
    "JSON_SET(d, '$.long', REPEAT('z', 70000))",
    "JSON_REPLACE(d, '$.pad[1]', JSON_OBJECT())",
    "JSON_SET(d, '$.x', CAST('03:04:05.5' AS TIME(6)), '$.a', 3)",
    "d",
)

scalars = st.one_of(
    st.integers(0, 2).map(lambda v: Scalar(4, bytes((v,)))),
    st.binary(min_size=2, max_size=2).map(lambda v: Scalar(5, v)),
    st.binary(min_size=4, max_size=4).map(lambda v: Scalar(7, v)),
    st.binary(min_size=8, max_size=8).map(lambda v: Scalar(9, v)),
    st.text("aé\n", max_size=9).map(lambda t: Scalar(12, bytes((len(t.encode()),)) + t.encode())),
)
trees: st.SearchStrategy[Node] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=4).map(str.encode), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(trees)
def test_a_tree_survives_being_written_and_read(tree: Node) -> None:
    assert parse_json(json_bytes(tree)) == tree
    assert json.loads(json_text(json_bytes(tree))) == plain(tree)


def plain(tree: Node) -> Any:
    """A tree as Python has it, scalars through their own text."""
    if isinstance(tree, Scalar):
        return json.loads(json_text(bytes((tree.kind,)) + tree.data))
    if isinstance(tree, dict):
        return {key.decode(): plain(value) for key, value in tree.items()}
    return [plain(value) for value in tree]


@given(trees, st.binary(max_size=40))
def test_damaged_diffs_end_in_an_error_or_a_value(tree: Node, diffs: bytes) -> None:
    try:
        parse_json(apply_diffs(json_bytes(tree), diffs))
    except BadJson:
        return


@given(trees, st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_values_end_in_an_error_or_a_value(tree: Node, at: int, byte: int) -> None:
    data = bytearray(json_bytes(tree))
    data[at % len(data)] = byte
    try:
        parse_json(bytes(data))
    except BadJson:
        return


def test_paths_of_every_form_are_read() -> None:
    assert parse_path(b'$.a[3]."b c"."q\\"[].".d') == [b"a", 3, b"b c", b'q"[].', b"d"]
    for bad in (b"a", b"$x", b"$[x]", b"$[1", b'$."open'):
        with pytest.raises(BadJson):
            parse_path(bad)


def test_partial_updates_give_the_servers_values(mysql_log: Log) -> None:
    log = mysql_log
    log.run("CREATE TABLE t (id INT PRIMARY KEY, n INT, d JSON, v VARCHAR(9), e JSON)")
    start = log.position()
    document = json.dumps(DOCUMENT)
    with closing(log.server.connect(database=log.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET SESSION binlog_row_value_options = 'PARTIAL_JSON'")
        for number, update in enumerate(UPDATES):
            cursor.execute(
                "INSERT INTO t VALUES (%s, 1, %s, 'v', '[1, 2]'), (%s, NULL, %s, NULL, NULL)",
                (2 * number, document, 2 * number + 1, document),
            )
            cursor.execute(f"UPDATE t SET d = {update}, n = n + 1 WHERE id >= %s", (2 * number,))
            cursor.execute(
                "UPDATE t SET e = JSON_SET(e, '$[1]', id), d = JSON_SET(d, '$.z', 1) "
                "WHERE id >= %s",
                (2 * number,),
            )
        connection.commit()
        cursor.execute("SELECT id, n, CAST(d AS CHAR), v, CAST(e AS CHAR) FROM t ORDER BY id")
        expected: list[tuple[Any, ...]] = list(cursor.fetchall())
    table = folded(log.read(start), "t", ("id",))
    assert table is not None
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
