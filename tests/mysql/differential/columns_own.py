"""JSON, geometry, vectors, addresses: types only some servers have. See `columns`."""

from __future__ import annotations

import ipaddress
import json
import struct
import uuid
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.mysql.differential.columns import AS_TEXT, ColumnCase, decimal, duration_text
from tests.mysql.differential.columns_text import literal, utf8

_finite = st.floats(allow_nan=False, allow_infinity=False)


def _double(value: float) -> str:
    word = repr(value)
    return word if "e" in word else f"{word}e0"


def _decimal(digits: int, scale: int) -> str:
    """Any DECIMAL there is: 65 digits, up to 30 of them behind the point."""
    text = f"{abs(digits):0{scale + 1}d}"
    whole, fraction = (text[:-scale], text[-scale:]) if scale else (text, "")
    precision = max(1, len(whole.lstrip("0")) + scale)
    sign = "-" if digits < 0 else ""
    return f"CAST('{sign}{whole}.{fraction}' AS DECIMAL({min(65, precision)},{scale}))"


_leaves = st.one_of(
    st.sampled_from(("CAST('null' AS JSON)", "TRUE", "FALSE", "NULL", "CAST('0.0' AS JSON)")),
    st.integers(-(2**63), 2**64 - 1).map(str),
    st.sampled_from((15, 16, 31, 32, 63)).flatmap(
        lambda n: st.sampled_from((str(2**n), str(2**n - 1), str(-(2**n)), str(-(2**n) + 1)))
    ),
    _finite.map(_double),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(literal),
    st.builds(_decimal, st.integers(-(10**65) + 1, 10**65 - 1), st.integers(0, 30)),
    st.builds(_decimal, st.integers(-(10**9), 10**9), st.integers(0, 30)),
    st.dates().map(lambda day: f"DATE'{day}'"),
    st.datetimes().map(lambda at: f"TIMESTAMP'{at.isoformat(' ')}'"),
    st.integers(-(838 * 3600) * 10**6, 838 * 3600 * 10**6).map(
        lambda us: f"TIME'{duration_text(us)}'"
    ),
    st.binary(max_size=90).map(lambda data: f"x'{data.hex()}'"),
    st.integers(1901, 2155).map(lambda value: f"CAST({value} AS YEAR)"),
    st.sampled_from(("ST_GeomFromText('POINT(1 2)')", "b'101'")),
)
_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.lists(inner, max_size=4).map(lambda parts: f"JSON_ARRAY({', '.join(parts)})")
    objects = st.dictionaries(_keys, inner, max_size=4).map(
        lambda parts: f"JSON_OBJECT({', '.join(f'{literal(k)}, {v}' for k, v in parts.items())})"
    )
    return arrays | objects


_documents = st.recursive(_leaves, _containers, max_leaves=10)
_JSON_EDGES = (
    "'null'", "'true'", "'[]'", "'{}'", "'\"\"'", "'0'", "'-0.0'", "'18446744073709551616'",
    "CAST(CONCAT(REPEAT('[', 99), '1', REPEAT(']', 99)) AS JSON)",
    "CAST(CONCAT(REPEAT('{\"a\":', 99), '1', REPEAT('}', 99)) AS JSON)",
    "CAST(CONCAT('[', REPEAT('1,', 33000), '2]') AS JSON)",
    "CAST(CONCAT('[', REPEAT('70000,', 9000), '2]') AS JSON)",
    "JSON_OBJECT('k', REPEAT('x', 70000), 'l', JSON_ARRAY(-70000, 70000, TRUE, 1.5e0))",
    "JSON_OBJECT(REPEAT('k', 65535), 1, '', 2)",
    "JSON_ARRAY(REPEAT('a', 127), REPEAT('b', 128), REPEAT('c', 16383), REPEAT('d', 16384))",
    "JSON_ARRAY(REPEAT(x'00', 57), REPEAT(x'ff', 58), x'', CAST(REPEAT('z', 20000) AS BINARY))",
    "JSON_ARRAY(CAST(REPEAT('9', 35) AS DECIMAL(35,0)), CAST(REPEAT('7', 65) AS DECIMAL(65,0)))",
    "JSON_ARRAY(CAST('99999999999999999999999999999999999.999999999999999999999999999999' AS "
    "DECIMAL(65,30)), CAST(0 AS DECIMAL(1,0)), CAST(-0.5 AS DECIMAL(1,1)))",
    "JSON_ARRAY(TIME'838:59:59', TIME'-838:59:59', TIME'-00:00:00.000001', DATE'0000-00-00')",
    "JSON_ARRAY(1e15,1e16,123456789012345680e0,1e-5,-0e0,1e-14,1e-15,1e300,5e-324,1e20,1.5e20)",
)  # fmt: skip


def json_document() -> ColumnCase:
    return ColumnCase(
        ddl="JSON",
        arrow=pa.large_string(),
        literals=_documents.map(_as_document),
        edges=_JSON_EDGES,
        printed="HEX(CAST({c} AS CHAR))",
        parse=utf8,
        family="json",
    )


def _as_document(expression: str) -> str:
    """A bare leaf is no document yet; an array of one is stored as that leaf by JSON_EXTRACT."""
    if expression.startswith("JSON_"):
        return expression
    return f"JSON_EXTRACT(JSON_ARRAY({expression}), '$[0]')"


_plain_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | _finite | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def json_text() -> ColumnCase:
    """MariaDB's JSON: a LONGTEXT with a check."""
    edges = ('{"b": 1,  "a": [1, 2.50]}', "null", '"é"')
    return ColumnCase(
        ddl="JSON",
        arrow=pa.large_string(),
        literals=_plain_json.map(lambda value: literal(json.dumps(value))),
        edges=tuple(map(literal, edges)),
        printed="HEX({c})",
        parse=utf8,
        family="text",
    )


_coordinate = st.integers(-90, 90).map(str) | st.floats(-89, 89).map(repr)
_points = st.tuples(_coordinate, _coordinate).map(" ".join)


def _lines(least: int) -> st.SearchStrategy[str]:
    return st.lists(_points, min_size=least, max_size=4).map(lambda p: f"({','.join(p)})")


_rings = st.lists(_points, min_size=3, max_size=4).map(lambda p: f"({','.join([*p, p[0]])})")
_polygons = st.lists(_rings, min_size=1, max_size=2).map(lambda rings: f"({','.join(rings)})")
_joined = {
    "POINT": _points.map(lambda p: f"({p})"),
    "LINESTRING": _lines(2),
    "POLYGON": _polygons,
    "MULTIPOINT": _lines(1),
    "MULTILINESTRING": st.lists(_lines(2), min_size=1, max_size=2).map(
        lambda p: f"({','.join(p)})"
    ),
    "MULTIPOLYGON": st.lists(_polygons, min_size=1, max_size=2).map(lambda p: f"({','.join(p)})"),
}
_shapes = st.sampled_from(tuple(_joined)).flatmap(lambda w: _joined[w].map(lambda body: w + body))
_collections = st.lists(_shapes, max_size=3).map(
    lambda parts: f"GEOMETRYCOLLECTION({','.join(parts)})" if parts else "GEOMETRYCOLLECTION EMPTY"
)
_bodies = {
    **{word: body.map(lambda b, w=word: w + b) for word, body in _joined.items()},
    "GEOMETRYCOLLECTION": _collections,
    "GEOMETRY": _shapes | _collections,
}
_SRIDS = (0, 3857, 4326)


def _geometry_of(text: str) -> tuple[int, bytes]:
    """SRID and WKB by the server's own functions, against the stored bytes as they are."""
    stored, srid, wkb = text.split("/")
    data = bytes.fromhex(stored)
    assert (int.from_bytes(data[:4], "little"), data[4:].hex()) == (int(srid), wkb.lower())
    return int(srid), data[4:]


def geometry(word: str, server: str, srid: int | None) -> ColumnCase:
    """A geometry column; MySQL may bind it to one SRID."""
    axes = ", 'axis-order=long-lat'" if server == "mysql" else ""
    bound = f" SRID {srid}" if srid is not None and server == "mysql" else ""
    ids = st.sampled_from(_SRIDS) if srid is None else st.just(srid)
    edge = {"GEOMETRY": "POINT(1 2)", "GEOMETRYCOLLECTION": "GEOMETRYCOLLECTION(POINT(1 2))"}
    body = edge.get(word) or f"{word}{_EDGE[word]}"
    some = _SRIDS if srid is None else (srid,)
    return ColumnCase(
        ddl=word + bound,
        arrow=pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())]),
        literals=st.builds(lambda wkt, i: f"ST_GeomFromText('{wkt}', {i})", _bodies[word], ids),
        edges=tuple(f"ST_GeomFromText('{body}', {i})" for i in some),
        printed=f"CONCAT(HEX({{c}}), '/', ST_SRID({{c}}), '/', HEX(ST_AsWKB({{c}}{axes})))",
        parse=_geometry_of,
        family="geometry",
    )


_EDGE = {
    "POINT": "(1.5 -2)",
    "LINESTRING": "(0 0,1 2)",
    "POLYGON": "((0 0,1 0,1 1,0 0))",
    "MULTIPOINT": "(1 2,3 4)",
    "MULTILINESTRING": "((0 0,1 1),(2 2,3 3))",
    "MULTIPOLYGON": "(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))",
}


def geometries(server: str) -> st.SearchStrategy[ColumnCase]:
    srids = st.none() | st.sampled_from(_SRIDS)
    return st.builds(geometry, st.sampled_from(tuple(_bodies)), st.just(server), srids)


def _floats(text: str) -> tuple[str, ...]:
    data = bytes.fromhex(text)
    return tuple(data[i : i + 4].hex() for i in range(0, len(data), 4))


def vector(size: int) -> ColumnCase:
    single = st.floats(width=32, allow_nan=False, allow_infinity=False)
    edges = ([0.0], [-0.0] * min(size, 2), [3.4028234663852886e38] * size, [1e-45] * size)
    return ColumnCase(
        ddl=f"VECTOR({size})",
        arrow=pa.list_(pa.float32()),
        literals=st.lists(single, min_size=1, max_size=min(size, 9)).map(_vector),
        edges=tuple(map(_vector, edges)),
        printed="HEX({c})",
        parse=_floats,
        family="vector",
    )


def _vector(values: list[float]) -> str:
    return f"x'{struct.pack(f'<{len(values)}f', *values).hex()}'"


def uuid_column() -> ColumnCase:
    # MariaDB stores versions 1 to 5 and the others in different byte orders.
    edges = (
        "6ccd780c-baba-1026-9564-5b8c656024db",
        "019f0000-0000-7abc-8def-000000000001",
        str(uuid.UUID(int=0)),
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    )
    return _printable("UUID", st.uuids().map(str), edges)


def inet6() -> ColumnCase:
    words = (
        *("::", "::1", "fe80::1:2:3:4", "::1.2.3.4", "::ffff:1.2.3.4", "1:0:0:2:0:0:0:3"),
        *("1:0:2:3:4:5:6:7", "0:1::", "0:0:1:0:0:1:0:0", "1:2:3:4:5:6:7:0", "::ffff:0:0"),
    )
    groups = st.lists(st.sampled_from((0, 0, 1, 0xFFFF, 0xAB)), min_size=8, max_size=8)
    texts = groups.map(lambda g: ":".join(f"{word:x}" for word in g))
    return _printable("INET6", texts, words)


def inet4() -> ColumnCase:
    addresses = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
    return _printable("INET4", addresses, ("0.0.0.0", "255.255.255.255", "10.0.0.0"))


def _printable(word: str, values: st.SearchStrategy[str], edges: tuple[str, ...]) -> ColumnCase:
    return ColumnCase(
        ddl=word,
        arrow=pa.string(),
        literals=values.map(lambda value: f"'{value}'"),
        edges=tuple(f"'{value}'" for value in edges),
        printed=AS_TEXT,
        parse=str,
        family=word.lower(),
    )


def own(server: str) -> st.SearchStrategy[ColumnCase]:
    """Columns only this server has, or has in a way of its own."""
    if server == "mysql":
        vectors = st.sampled_from((1, 3, 100, 16383)).map(vector)
        return st.just(json_document()) | vectors | geometries(server)
    addresses = st.sampled_from((uuid_column(), inet6(), inet4(), json_text()))
    return addresses | geometries(server)


def fixed_cases(server: str) -> list[ColumnCase]:
    """Columns for the table of all edges."""
    shapes = [geometry(word, server, None) for word in _bodies]
    if server == "mysql":
        bound = [geometry("POINT", server, srid) for srid in _SRIDS]
        return [*shapes, *bound, json_document(), vector(3), vector(16383), decimal(20, 5)]
    return [*shapes, uuid_column(), inet6(), inet4(), json_text()]
