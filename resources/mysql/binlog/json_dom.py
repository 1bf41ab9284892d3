"""Binary JSON as a tree that can be changed, and back to bytes.

In: bytes of a JSON value. Out: a tree of objects, arrays and scalars kept as their bytes; the
bytes of such a tree, in the server's own layout.
Source: mysql-server sql-common/json_binary.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from resources.mysql.binlog.json_value import BadJson

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = 0, 1, 2, 3
_STRING, _OPAQUE = 0x0C, 0x0F
_SIZES = {4: 1, 5: 2, 6: 2, 7: 4, 8: 4, 9: 8, 10: 8, 11: 8}
"""Bytes of the scalars of one size: literals, integers, doubles."""
_INLINE_SMALL, _INLINE_LARGE = frozenset({4, 5, 6}), frozenset({4, 5, 6, 7, 8})
_SMALL_LIMIT = 0xFFFF
_MAX_DEPTH = 101


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts.

    Args:
        kind: Its type byte.
        data: Its bytes.
    """

    kind: int
    data: bytes


Node: TypeAlias = "Scalar | list[Node] | dict[bytes, Node]"
"""A JSON value; an object's keys are UTF-8."""


def parse_json(data: bytes) -> Node:
    """Return the tree of a JSON value.

    Args:
        data: Type byte and value; empty is the JSON literal null, as the server reads it.

    Raises:
        BadJson: The bytes are damaged.
    """
    if not data:
        return Scalar(4, b"\0")
    return _Reader(data).value(data[0], 1, 0)


class _Reader:
    """Reads values out of one piece of bytes.

    Args:
        data: The bytes. Every value costs at least one of them in an honest document, which
            bounds how many are read from a hostile one.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = len(data)

    def value(self, kind: int, pos: int, depth: int) -> Node:
        """Return the value of a type at a place."""
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            raise BadJson("JSON nested too deeply")
        if kind <= _LARGE_ARRAY:
            return self._container(kind, pos, depth)
        if kind in _SIZES:
            return Scalar(kind, self._take(pos, _SIZES[kind]))
        if kind in (_STRING, _OPAQUE):
            size, begin = self._size(pos + (kind == _OPAQUE))
            return Scalar(kind, self._take(pos, begin + size - pos))
        raise BadJson(f"unknown JSON type {kind}")

    def _container(self, kind: int, pos: int, depth: int) -> Node:
        large = kind in (_LARGE_OBJECT, _LARGE_ARRAY)
        width, inline = (4, _INLINE_LARGE) if large else (2, _INLINE_SMALL)
        count = self._uint(pos, width)
        keyed = kind <= _LARGE_OBJECT
        entries = pos + 2 * width + (count * (width + 2) if keyed else 0)
        if entries + count * (width + 1) > len(self._data):
            raise BadJson("a JSON container larger than its bytes")
        values: list[Node] = []
        for entry in range(entries, entries + count * (width + 1), width + 1):
            child = self._data[entry]
            offset = 0 if child in inline else self._uint(entry + 1, width)
            if child not in inline and offset < 2 * width:
                raise BadJson("a JSON value that contains itself")
            at = entry + 1 if child in inline else pos + offset
            values.append(self.value(child, at, depth + 1))
        if not keyed:
            return values
        heads = range(pos + 2 * width, entries, width + 2)
        keys = [
            self._take(pos + self._uint(head, width), self._uint(head + width, 2)) for head in heads
        ]
        return dict(zip(keys, values, strict=True))

    def _uint(self, pos: int, width: int) -> int:
        return int.from_bytes(self._take(pos, width), "little")

    def _take(self, pos: int, size: int) -> bytes:
        if pos + size > len(self._data):
            raise BadJson("a JSON value larger than its bytes")
        return self._data[pos : pos + size]

    def _size(self, pos: int) -> tuple[int, int]:
        size = 0
        for index in range(5):
            byte = self._take(pos + index, 1)[0]
            size |= (byte & 0x7F) << 7 * index
            if not byte & 0x80:
                return size, pos + index + 1
        raise BadJson("a JSON length of more than five bytes")


def json_bytes(node: Node) -> bytes:
    """Return type byte and value of a tree."""
    kind, data = _encode(node)
    return bytes((kind,)) + data


def _encode(node: Node) -> tuple[int, bytes]:
    if isinstance(node, Scalar):
        return node.kind, node.data
    keys: list[bytes] | None = None
    if isinstance(node, dict):
        # The server looks keys up by length first, then by bytes.
        keys = sorted(node, key=lambda key: (len(key), key))
        values = [_encode(node[key]) for key in keys]
    else:
        values = [_encode(child) for child in node]
    for large in (False, True):
        data = _layout(keys, values, large)
        if large or len(data) <= _SMALL_LIMIT:
            break
    return (_SMALL_OBJECT if keys is not None else _SMALL_ARRAY) + large, data


def _layout(keys: list[bytes] | None, values: Sequence[tuple[int, bytes]], large: bool) -> bytes:
    """Return a container's bytes: counts, key entries, value entries, keys, values."""
    width, inline = (4, _INLINE_LARGE) if large else (2, _INLINE_SMALL)
    limit = (1 << 8 * width) - 1
    at = 2 * width + len(values) * (width + 1) + (len(values) * (width + 2) if keys else 0)
    heads: list[bytes] = []
    for key in keys or ():
        heads.append(min(at, limit).to_bytes(width, "little") + len(key).to_bytes(2, "little"))
        at += len(key)
    tails: list[bytes] = []
    for kind, data in values:
        if kind in inline:
            heads.append(bytes((kind,)) + data.ljust(width, b"\0"))
        else:
            heads.append(bytes((kind,)) + min(at, limit).to_bytes(width, "little"))
            tails.append(data)
            at += len(data)
    sizes = len(values).to_bytes(4, "little")[:width] + min(at, limit).to_bytes(width, "little")
    return b"".join([sizes, *heads, *(keys or ()), *tails])
