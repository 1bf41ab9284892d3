"""Partial JSON updates: what changed of a value, applied to the value it changed.

In: a JSON value and the diffs of a PARTIAL_UPDATE_ROWS event. Out: the new value's bytes.
Source: mysql-server sql-common/json_diff.cc (`apply_json_diffs`, `Json_diff::write_binary`),
sql-common/json_path.cc (text of paths).
"""

from __future__ import annotations

import json
from typing import TypeAlias

from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.json_dom import Node, json_bytes, parse_json
from resources.mysql.binlog.json_value import BadJson

_REPLACE, _INSERT, _REMOVE = range(3)

Leg: TypeAlias = "bytes | int"
"""One step of a path: a member's key or an array's index."""


def apply_diffs(before: bytes, diffs: bytes) -> bytes:
    """Return the value after its diffs, in order.

    Args:
        before: The value's bytes in the row's before-image.
        diffs: The diffs end to end, without their length.

    Raises:
        BadJson: The value is damaged, or a diff does not fit it.
    """
    root = [parse_json(before)]
    cursor = Cursor(diffs)
    try:
        while cursor.left:
            operation = cursor.uint(1)
            legs = [0, *parse_path(cursor.packed_bytes())]
            if operation > _REMOVE:
                raise BadJson(f"unknown operation {operation} of a JSON diff")
            value = None if operation == _REMOVE else parse_json(cursor.packed_bytes())
            _apply(_parent(root, legs[:-1]), legs[-1], operation, value)
    except Truncated as error:
        raise BadJson("a JSON diff ends too early") from error
    if not root:
        raise BadJson("a JSON diff removes the whole value")
    return json_bytes(root[0])


def _parent(root: Node, legs: list[Leg]) -> Node:
    """Return what the last leg of a path points into."""
    node = root
    for leg in legs:
        node = _step(node, leg)
    return node


def _step(node: Node, leg: Leg) -> Node:
    found: Node | None = None
    if isinstance(node, dict) and isinstance(leg, bytes):
        found = node.get(leg)
    elif isinstance(node, list) and isinstance(leg, int) and leg < len(node):
        found = node[leg]
    if found is None:
        raise BadJson("a JSON diff's path leads nowhere")
    return found


def _apply(parent: Node, leg: Leg, operation: int, value: Node | None) -> None:
    if isinstance(parent, list) and isinstance(leg, int):
        _apply_to_array(parent, leg, operation, value)
    elif isinstance(parent, dict) and isinstance(leg, bytes):
        if (leg in parent) == (operation == _INSERT):
            raise BadJson("a JSON diff's path leads nowhere")
        if value is None:
            del parent[leg]
        else:
            parent[leg] = value
    else:
        raise BadJson("a JSON diff's path leads nowhere")


def _apply_to_array(parent: list[Node], index: int, operation: int, value: Node | None) -> None:
    if operation == _INSERT and value is not None:
        parent.insert(index, value)
    elif index >= len(parent):
        raise BadJson("a JSON diff's path leads nowhere")
    elif value is None:
        del parent[index]
    else:
        parent[index] = value


def parse_path(text: bytes) -> list[Leg]:
    """Return the legs of a path as diffs write it: `$`, `.key`, `."any key"`, `[index]`.

    Raises:
        BadJson: The bytes are no such path.
    """
    if text[:1] != b"$":
        raise BadJson("a JSON path without $")
    legs: list[Leg] = []
    pos = 1
    while pos < len(text):
        if text[pos] == ord("["):
            end = text.find(b"]", pos)
            digits = text[pos + 1 : end]
            if end < 0 or not digits.isdigit():
                raise BadJson("a JSON path with a bad index")
            legs.append(int(digits))
            pos = end + 1
        elif text[pos : pos + 2] == b'."':
            end = _closing_quote(text, pos + 2)
            legs.append(_member(text[pos + 1 : end]))
            pos = end
        elif text[pos] == ord("."):
            end = pos + 1
            while end < len(text) and text[end] not in b".[":
                end += 1
            legs.append(text[pos + 1 : end])
            pos = end
        else:
            raise BadJson("a JSON path with an unknown leg")
    return legs


def _closing_quote(text: bytes, pos: int) -> int:
    """Return the place behind the quote that ends a quoted key."""
    while pos < len(text):
        if text[pos] == ord("\\"):
            pos += 2
        elif text[pos] == ord('"'):
            return pos + 1
        else:
            pos += 1
    raise BadJson("a JSON path with an open quote")


def _member(quoted: bytes) -> bytes:
    try:
        key = json.loads(quoted, strict=False)
    except ValueError as error:
        raise BadJson("a JSON path with a bad key") from error
    return str(key).encode("utf-8", "surrogatepass")
