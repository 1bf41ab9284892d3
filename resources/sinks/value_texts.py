"""Single values as text that a server's own cast reads back exactly.

In: an Arrow scalar. Out: its digits, date or characters as SQL engines read them in a string.
"""

from __future__ import annotations

import pyarrow as pa

from resources.errors import ConfigError


def value_text(value: pa.Scalar) -> str:
    """Return a value as the text that `CAST('…' AS …)` reads.

    Args:
        value: A boolean, number, text, date or timestamp, not NULL.

    Raises:
        ConfigError: It is of another type.
    """
    t, arrow = pa.types, value.type
    if t.is_boolean(arrow):
        return "true" if value.as_py() else "false"
    if t.is_decimal(arrow):
        return format(value.as_py(), "f")
    if t.is_floating(arrow):
        return repr(value.as_py())
    if t.is_timestamp(arrow) or t.is_date32(arrow):
        return str(value.as_py().isoformat(*(" ",) * t.is_timestamp(arrow)))
    if t.is_integer(arrow) or t.is_string(arrow) or t.is_large_string(arrow):
        return str(value.as_py())
    raise ConfigError(
        f"a value of type {arrow} cannot be written into a statement",
        remedy="materialize the table's snapshot partition",
    )


def microseconds(value: pa.Scalar) -> int:
    """Return a duration's microseconds."""
    return int(value.cast(pa.duration("us")).value)


def hexadecimal(value: pa.Scalar) -> str:
    """Return the hexadecimal digits of a binary value."""
    return bytes(value.as_py()).hex()
