"""Types in the words of JDBC and MySQL, which messages tell them in.

In: columns. Out: `java.sql.Types` codes and names of MySQL types.
"""

from __future__ import annotations

import pyarrow as pa

from resources.model.table import Column

_CODES = {
    pa.bool_(): (-7, "tinyint(1)"),
    pa.int8(): (-6, "tinyint"),
    pa.int16(): (5, "smallint"),
    pa.int32(): (4, "int"),
    pa.int64(): (-5, "bigint"),
    pa.uint8(): (5, "tinyint unsigned"),
    pa.uint16(): (4, "smallint unsigned"),
    pa.uint32(): (-5, "int unsigned"),
    pa.uint64(): (3, "bigint unsigned"),
    pa.float32(): (7, "float"),
    pa.float64(): (8, "double"),
    pa.date32(): (91, "date"),
    pa.string(): (12, "text"),
    pa.large_string(): (12, "longtext"),
    pa.binary(): (2004, "blob"),
    pa.large_binary(): (2004, "longblob"),
}
_OTHER = (1111, "json")


def jdbc_type(type_: pa.DataType) -> int:
    """Return the code of `java.sql.Types` of an Arrow type."""
    return _known(type_)[0]


def source_type(column: Column) -> str:
    """Return a column's type in its source's words, else in MySQL's."""
    return column.source_type or _known(column.type)[1]


def _known(type_: pa.DataType) -> tuple[int, str]:
    t = pa.types
    if t.is_decimal(type_):
        return 3, f"decimal({type_.precision},{type_.scale})"
    if t.is_timestamp(type_):
        return 93, "datetime(6)" if type_.tz is None else "timestamp(6)"
    if t.is_duration(type_):
        return 92, "time(6)"
    return _CODES.get(type_, _OTHER)
