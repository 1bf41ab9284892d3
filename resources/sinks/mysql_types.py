"""Arrow types in the MySQL family: exact or refused.

In: columns of a target. Out: column types in the words of the server's own catalog, and the
expressions that read the same Arrow values back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from resources.errors import ConfigError
from resources.model.table import Column
from resources.sinks.mysql_names import quote

_PLAIN = {
    pa.bool_(): "tinyint(1)",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.uint8(): "tinyint unsigned",
    pa.uint16(): "smallint unsigned",
    pa.uint32(): "int unsigned",
    pa.uint64(): "bigint unsigned",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("us"): "datetime(6)",
    pa.timestamp("us", tz="UTC"): "datetime(6)",
    pa.duration("us"): "time(6)",
    pa.string(): "longtext",
    pa.large_string(): "longtext",
    pa.binary(): "longblob",
    pa.large_binary(): "longblob",
}
_BACK = {name: type_ for type_, name in reversed(_PLAIN.items())} | {
    "mediumint": pa.int32(),
    "mediumint unsigned": pa.uint32(),
    "year": pa.int16(),
    "json": pa.large_string(),
    "timestamp(6)": pa.timestamp("us", tz="UTC"),
}
_TEXTS = re.compile(r"(var)?char\(\d+\)|(tiny|medium|long)?text")
_BYTES = re.compile(r"varbinary\(\d+\)|(tiny|medium|long)?blob")
_JSON = ("text", "json")
MAX_PRECISION, MAX_SCALE = 65, 30
KEY_BYTES = 3072
"""Bytes an index of InnoDB holds."""
_FIXED = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "float": 4, "double": 8, "date": 3}
_FIXED |= {"datetime(6)": 8, "timestamp(6)": 7, "time(6)": 6, "tinyint(1)": 1, "year": 1}


class MySQLTypes:
    """The types of one sink.

    Args:
        options: `{"json_columns": "json"}` gives JSON columns that type in place of text; the
            server then keeps their meaning, not their text.

    Raises:
        ConfigError: The options hold something else.
    """

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        given = dict(options or {})
        self._json = given.pop("json_columns", "text")
        if given or self._json not in _JSON:
            raise ConfigError(
                "the MySQL sink does not know these type settings",
                where=str(dict(options or {})),
                remedy=f"types: {{json_columns: <one of {', '.join(_JSON)}>}}",
            )

    def name(self, column: Column) -> str | None:
        """Return the type of a column that is no key, None where there is no exact one.

        Of what a MySQL-family source declares, that is taken over which no later change of the
        source can outgrow without another Arrow type: YEAR, BIT, TIMESTAMP, geometries.
        """
        type_ = column.type
        if column.kind == "json" and type_ in (pa.string(), pa.large_string()):
            return "json" if self._json == "json" else "longtext"
        if column.kind == "year" and type_ == pa.int16():
            return "year"
        if column.kind == "bit" and type_ == pa.uint64():
            return "bit(64)"
        if type_ == pa.timestamp("us", tz="UTC") and is_timestamp(column.source_type):
            return "timestamp(6)"
        if type_ in _PLAIN:
            return _PLAIN[type_]
        if pa.types.is_decimal(type_):
            fits = 0 <= type_.scale <= min(type_.precision, MAX_SCALE)
            fits = fits and type_.precision <= MAX_PRECISION
            return f"decimal({type_.precision},{type_.scale})" if fits else None
        if is_geometry(type_):
            return "geometry" if column.kind == "geometry" else "longblob"
        return "longblob" if type_ == pa.list_(pa.float32()) else None

    def names(self, columns: Mapping[str, Column], keys: tuple[str, ...]) -> dict[str, str | None]:
        """Return the types of columns by name; texts and bytes in a key share what an index holds.

        Args:
            columns: All columns.
            keys: Those of the key, none for an `append` target.
        """
        found = {name: self.name(column) for name, column in columns.items()}
        long = [k for k in keys if found.get(k) in ("longtext", "longblob", "json", "geometry")]
        if long:
            fixed = sum(_width(found[k] or "") for k in keys if k not in long)
            share = max(KEY_BYTES - fixed, 0) // len(long)
            for key in long:
                text = found[key] == "longtext"
                found[key] = f"varchar({share // 4})" if text else f"varbinary({share})"
        return found

    def same(self, one: pa.DataType, other: pa.DataType) -> bool:
        """Return whether two Arrow types are held alike."""
        name = self.name(Column("", one))
        alike = name is not None and name == self.name(Column("", other))
        return alike and _meaning(one) == _meaning(other)


def _meaning(type_: pa.DataType) -> str:
    """Return what tells types apart that columns of one type hold."""
    if pa.types.is_timestamp(type_):
        return str(type_.tz)
    return str(type_) if pa.types.is_nested(type_) else ""


def _width(name: str) -> int:
    if match := re.fullmatch(r"decimal\((\d+),\d+\)", name):
        return int(match[1]) // 9 * 4 + 8
    return _FIXED.get(name.removesuffix(" unsigned"), 8)


def is_timestamp(source_type: str) -> bool:
    """Return whether a MySQL-family source calls a column TIMESTAMP."""
    return re.fullmatch(r"timestamp(\(\d\))?", source_type.lower()) is not None


def is_geometry(type_: pa.DataType) -> bool:
    """Return whether a type is the struct of SRID and WKB that stands for a geometry."""
    return bool(type_ == pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())]))


def normal(column_type: str) -> str:
    """Return a catalog's type without the display widths that older servers give integers."""
    text = column_type.lower()
    if text == "tinyint(1)":
        return text
    text = re.sub(r"^(tinyint|smallint|mediumint|int|bigint)\(\d+\)", r"\1", text)
    return re.sub(r"^(float|double)\(\d+,\d+\)", r"\1", text).removesuffix(" zerofill")


def may_stand_for(type_: pa.DataType, name: str) -> bool:
    """Return whether a column of a MySQL type holds every value of an Arrow type as it is.

    Args:
        type_: An Arrow type.
        name: The column's type, `normal`.
    """
    t = pa.types
    if t.is_string(type_) or t.is_large_string(type_):
        # Texts as bytes: keys on servers without a collation that tells trailing spaces apart.
        return bool(_TEXTS.fullmatch(name) or name == "json" or re.match("varbinary", name))
    if t.is_binary(type_) or t.is_large_binary(type_) or type_ == pa.list_(pa.float32()):
        return bool(_BYTES.fullmatch(name))
    if is_geometry(type_):
        return bool(_BYTES.fullmatch(name)) or name == "geometry"
    if type_ == pa.timestamp("us", tz="UTC"):
        return name in ("datetime(6)", "timestamp(6)")
    if type_ == pa.uint64() and name == "bit(64)":
        return True
    if type_ == pa.int16() and name == "year":
        return True
    return MySQLTypes().name(Column("", type_)) == name


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a column not made by this sink; text where there is none."""
    if name in _BACK:
        return _BACK[name]
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)( unsigned)?", name):
        precision, scale = int(match[1]), int(match[2])
        return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    if name.startswith("bit"):
        return pa.uint64()
    if name.startswith(("datetime", "timestamp")):
        return pa.timestamp("us", tz="UTC" if name.startswith("timestamp") else None)
    if name.startswith("time"):
        return pa.duration("us")
    return pa.binary() if _BYTES.fullmatch(name) or name.startswith("binary") else pa.string()


def read_expression(name: str, type_: pa.DataType, prefix: str = "") -> str:
    """Return the SQL that reads a column in a form `read_values` takes without loss."""
    column = prefix + quote(name)
    if type_ == pa.float32():
        return f"{column} * 1e0"  # a FLOAT itself is printed with six digits
    if type_ == pa.uint64():
        return f"{column} + 0"
    return column


def read_values(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Return what `read_expression` read (bytes or text, or None) as an array of the type."""
    t = pa.types
    plain = [None if v is None else v if isinstance(v, bytes) else v.encode() for v in values]
    if t.is_binary(type_) or t.is_large_binary(type_):
        return pa.array(plain, type_)
    if is_geometry(type_):
        parts = [
            None if v is None else {"srid": int.from_bytes(v[:4], "little"), "wkb": v[4:]}
            for v in plain
        ]
        return pa.array(parts, type_)
    if type_ == pa.list_(pa.float32()):
        lists = [None if v is None else memoryview(v).cast("f").tolist() for v in plain]
        return pa.array(lists, type_)
    texts = pa.array([None if v is None else v.decode() for v in plain], pa.string())
    if t.is_duration(type_):
        return pa.array([_microseconds(v) for v in texts.to_pylist()], pa.int64()).cast(type_)
    if t.is_boolean(type_):
        return texts.cast(pa.int8()).cast(type_)
    if type_ == pa.float32():
        return texts.cast(pa.float64()).cast(type_, safe=False)
    if t.is_timestamp(type_):
        return texts.cast(pa.timestamp("us")).cast(type_)
    return texts.cast(type_)


def _microseconds(text: str | None) -> int | None:
    if text is None:
        return None
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole, _, part = seconds.partition(".")
    total = (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 10**6
    total += int(part.ljust(6, "0") or 0)
    return -total if text.startswith("-") else total
