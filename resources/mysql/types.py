"""MySQL-family column types as Arrow types, by the table in docs/types.md: exact or refused.

In: rows of information_schema.COLUMNS. Out: `Column` values equal, name by name and type by type,
to those the binlog's table-map metadata gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from resources.model.table import Column
from resources.mysql.binlog.charsets import text_decoder

_SIGNED = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "mediumint": pa.int32(),
    "int": pa.int32(),
    "bigint": pa.int64(),
}
_UNSIGNED = {
    "tinyint": pa.uint8(),
    "smallint": pa.uint16(),
    "mediumint": pa.uint32(),
    "int": pa.uint32(),
    "bigint": pa.uint64(),
}
_PLAIN = {
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "time": pa.duration("us"),
    "char": pa.string(),
    "varchar": pa.string(),
    "tinytext": pa.string(),
    "text": pa.string(),
    "mediumtext": pa.string(),
    "longtext": pa.large_string(),
    "binary": pa.binary(),
    "varbinary": pa.binary(),
    "tinyblob": pa.binary(),
    "blob": pa.binary(),
    "mediumblob": pa.binary(),
    "longblob": pa.large_binary(),
}
GEOMETRY = pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())])
_GEOMETRY_NAMES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"}
    | {"multipolygon", "geometrycollection", "geomcollection"}
)
_KINDS: dict[str, tuple[pa.DataType, str]] = {
    "bit": (pa.uint64(), "bit"),
    "year": (pa.int16(), "year"),
    "enum": (pa.string(), "enum"),
    "set": (pa.string(), "set"),
    "json": (pa.large_string(), "json"),
    "vector": (pa.list_(pa.float32()), "vector"),
    "uuid": (pa.string(), "uuid"),
    "inet4": (pa.string(), "inet"),
    "inet6": (pa.string(), "inet"),
    **dict.fromkeys(_GEOMETRY_NAMES, (GEOMETRY, "geometry")),
}
_GENERATED = re.compile(r"\b(VIRTUAL|STORED|PERSISTENT) GENERATED\b", re.IGNORECASE)
_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_LABELS = re.compile(rf"\w+\({_LABEL.pattern}(,{_LABEL.pattern})*\).*", re.DOTALL)
_ESCAPED = re.compile(r"''|\\(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r"}


@dataclass(frozen=True)
class ColumnFacts:
    """One row of information_schema.COLUMNS.

    Args:
        name: COLUMN_NAME.
        column_type: COLUMN_TYPE, e.g. `decimal(10,2) unsigned`.
        precision: NUMERIC_PRECISION.
        scale: NUMERIC_SCALE.
        charset: CHARACTER_SET_NAME, empty if the column has none.
        nullable: IS_NULLABLE.
        extra: EXTRA.
        comment: COLUMN_COMMENT.
    """

    name: str
    column_type: str
    precision: int | None
    scale: int | None
    charset: str
    nullable: bool
    extra: str
    comment: str


@dataclass(frozen=True)
class Unsupported:
    """A column no exact Arrow type exists for, or whose log images cannot be read.

    Args:
        column: Its name.
        reason: Why.
        remedy: What makes it readable.
    """

    column: str
    reason: str
    remedy: str


def column_from_facts(facts: ColumnFacts) -> Column | Unsupported:
    """Return the column, or why there is none.

    Source: docs/types.md; MySQL reference manual, "The INFORMATION_SCHEMA COLUMNS Table".
    """
    if refused := _refusal(facts):
        return refused
    name = _type_name(facts.column_type)
    found = _arrow_type(name, facts)
    if found is None:
        reason = f"type {name} has no exact counterpart"
        return Unsupported(
            facts.name, reason, "exclude the table, or keep the value in another type"
        )
    arrow, kind = found
    text = pa.types.is_string(arrow) or pa.types.is_large_string(arrow)
    return Column(
        name=facts.name,
        type=arrow,
        source_type=facts.column_type,
        nullable=facts.nullable,
        kind=kind,
        labels=parse_labels(facts.column_type) if kind in ("enum", "set") else (),
        charset=facts.charset if text and kind not in ("json", "uuid", "inet") else "",
        generated=_GENERATED.search(facts.extra) is not None,
        invisible="INVISIBLE" in facts.extra.upper().split(),
        comment=facts.comment,
    )


def parse_labels(column_type: str) -> tuple[str, ...]:
    r"""Return the labels of an ENUM or SET from its COLUMN_TYPE text, in index order.

    The server prints a quote as two, and NUL, newline, carriage return and backslash with a
    backslash, whatever the `sql_mode`. OceanBase escapes nothing; a label there that holds
    `','` cannot be told from two.

    Args:
        column_type: e.g. `enum('a','it''s','back\\slash')`.
    """
    body = column_type[column_type.index("(") + 1 :]
    if not _LABELS.fullmatch(column_type):
        # OceanBase prints labels as they are, quotes included.
        return tuple(body[1 : body.rindex("'")].split("','"))
    return tuple(_ESCAPED.sub(_unescape, match[1]) for match in _LABEL.finditer(body))


def _unescape(match: re.Match[str]) -> str:
    character = match[1]
    return "'" if character is None else _ESCAPES.get(character, character)


def _type_name(column_type: str) -> str:
    match = re.match(r"[a-z0-9_]+", column_type.lower())
    return match[0] if match else column_type.lower()


def _arrow_type(name: str, facts: ColumnFacts) -> tuple[pa.DataType, str] | None:
    if name in _SIGNED:
        unsigned = "unsigned" in facts.column_type.lower()
        return (_UNSIGNED if unsigned else _SIGNED)[name], "plain"
    if name == "decimal" and facts.precision is not None:
        return decimal_type(facts.precision, facts.scale or 0), "plain"
    if name in _PLAIN:
        return _PLAIN[name], "plain"
    return _KINDS.get(name)


def decimal_type(precision: int, scale: int) -> pa.DataType:
    """Return decimal128 up to 38 digits, decimal256 beyond (MySQL allows 65)."""
    build = pa.decimal128 if precision <= 38 else pa.decimal256
    return build(precision, scale)


def _refusal(facts: ColumnFacts) -> Unsupported | None:
    lowered = facts.column_type.lower()
    if "compressed*/" in lowered.replace(" ", ""):
        plain = lowered.split("/*")[0].strip()
        remedy = f"ALTER TABLE … MODIFY `{facts.name}` {plain}"
        return Unsupported(facts.name, "MariaDB COMPRESSED column: its log images differ", remedy)
    if "/* mariadb-5.3 */" in lowered or "/* 5.5 binary format */" in lowered:
        remedy = "ALTER TABLE … FORCE with mysql56_temporal_format = ON (MySQL: any rebuild)"
        return Unsupported(facts.name, "temporal column in the format before MySQL 5.6", remedy)
    if facts.column_type.startswith("VECTOR"):  # as OceanBase alone spells it
        remedy = "keep the value in a VARBINARY, or exclude the table"
        return Unsupported(facts.name, "OceanBase sends a VECTOR with six digits", remedy)
    if facts.charset and text_decoder(facts.charset) is None:
        remedy = f"ALTER TABLE … MODIFY `{facts.name}` {lowered} CHARACTER SET utf8mb4"
        return Unsupported(facts.name, f"character set {facts.charset} cannot be decoded", remedy)
    return None
