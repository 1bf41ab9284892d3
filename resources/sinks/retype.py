"""Which Arrow types hold the values of which others, whatever the engine.

In: a column's type and the one asked for. Out: whether every value fits, whether values may be
tried one by one, or neither. What is not named here needs a new snapshot load.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as t

from resources.errors import ConfigError, SchemaMismatch
from resources.sinks.contract import TargetId

_MANTISSA = {16: 11, 32: 24, 64: 53}
"""Bits of whole numbers that a float of so many bits holds exactly."""


def widens(old: pa.DataType, new: pa.DataType) -> bool:
    """Return whether the new type holds every value of the old one exactly.

    Whole numbers and decimals by range and scale, whole numbers into floats of enough mantissa
    and into text, float32 into float64, dates into timestamps, timestamps into finer units (none
    into nanoseconds, which reach to the year 2262 only).
    """
    if old == new:
        return True
    if not convertible(old, new):
        return False
    if is_exact(old) and is_exact(new):
        return _range_within(old, new)
    if is_exact(old) and t.is_floating(new):
        low, high, _ = _range(old)
        return bool(max(-low, high) <= 2 ** _MANTISSA[new.bit_width])
    if t.is_floating(old) and t.is_floating(new):
        return bool(old.bit_width < new.bit_width)
    if t.is_timestamp(old):
        return t.is_timestamp(new) and _is_finer(new, old)
    if t.is_date32(old):
        return bool(new.unit != "ns")
    return True


def convertible(old: pa.DataType, new: pa.DataType) -> bool:
    """Return whether values of the old type may be tried in the new one, each one checked."""
    if old == new:
        return True
    if is_exact(old):
        whole = t.is_integer(old)
        return is_exact(new) or (whole and (t.is_floating(new) or is_text(new)))
    if t.is_timestamp(old) and t.is_timestamp(new):
        return bool(old.tz == new.tz)
    plain = (t.is_date32(old) or _is_plain_time(old)) and (t.is_date32(new) or _is_plain_time(new))
    return (
        plain
        or (t.is_floating(old) and t.is_floating(new))
        or (is_text(old) and is_text(new))
        or (_is_bytes(old) and _is_bytes(new))
    )


def require_convertible(target: TargetId, name: str, old: pa.DataType, new: pa.DataType) -> None:
    """Refuse a change of type that no value can be carried through exactly.

    Raises:
        ConfigError: It is one.
    """
    if not convertible(old, new):
        raise cannot_convert(target, name, old, new)


def cannot_convert(target: TargetId, name: str, old: pa.DataType, new: pa.DataType) -> ConfigError:
    """Return the error of a change of type the sink cannot make in place."""
    return ConfigError(
        f"column {name!r} cannot be changed in place from {old} to {new}",
        where=str(target),
        remedy="materialize the table's snapshot partition: a load makes the column anew",
    )


def does_not_fit(
    target: TargetId, name: str, old: pa.DataType, new: pa.DataType, rows: int
) -> SchemaMismatch:
    """Return the error of values that the new type would change."""
    return SchemaMismatch(
        f"column {name!r} holds {rows} values of type {old} that {new} cannot hold exactly",
        where=str(target),
        remedy="choose a wider type, or mend the values on the source and snapshot the table again",
    )


def is_exact(type_: pa.DataType) -> bool:
    """Return whether a type is a whole number or a decimal."""
    return bool(t.is_integer(type_) or t.is_decimal(type_))


def is_text(type_: pa.DataType) -> bool:
    """Return whether a type is text of either offset width."""
    return bool(t.is_string(type_) or t.is_large_string(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(t.is_binary(type_) or t.is_large_binary(type_))


def _is_plain_time(type_: pa.DataType) -> bool:
    return bool(t.is_timestamp(type_)) and type_.tz is None


def _is_finer(new: pa.DataType, old: pa.DataType) -> bool:
    units = ["s", "ms", "us"]
    return old.unit in units and new.unit in units[units.index(old.unit) :]


def _range(type_: pa.DataType) -> tuple[int, int, int]:
    """Return the smallest and greatest value in units of 10 ** -scale, and the scale."""
    if t.is_decimal(type_):
        top = 10**type_.precision - 1
        return -top, top, type_.scale
    if t.is_signed_integer(type_):
        top = 2 ** (type_.bit_width - 1)
        return -top, top - 1, 0
    return 0, 2**type_.bit_width - 1, 0


def _range_within(old: pa.DataType, new: pa.DataType) -> bool:
    low, high, scale = _range(old)
    new_low, new_high, new_scale = _range(new)
    if new_scale < scale:
        return False
    factor = 10 ** (new_scale - scale)
    return bool(new_low <= low * factor and high * factor <= new_high)
