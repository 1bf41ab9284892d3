"""The table of functions, and what a function is told of its call.

In: registrations by the `functions_*` modules. Out: typed SQL for a call, or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import pyarrow as pa

from cdc_assets.engine.transforms.arithmetic import as_decimal, whole
from cdc_assets.engine.transforms.typed import (
    BOOL,
    DATE,
    DOUBLE,
    NULL,
    STAMP,
    TEXT,
    UINT64,
    Refused,
    Typed,
    coerce,
    derive,
    is_bytes,
    is_number,
    is_text,
    is_time,
    storage_type,
    time_literal,
    words,
)

_AGGREGATES = frozenset(
    {
        *("ANY_VALUE", "AVG", "BIT_AND", "BIT_OR", "BIT_XOR", "COLLECT", "COUNT", "GROUP_CONCAT"),
        *("JSON_ARRAYAGG", "JSON_OBJECTAGG", "LISTAGG", "MAX", "MIN", "STD", "STDDEV", "SUM"),
        *("STDDEV_POP", "STDDEV_SAMP", "VARIANCE", "VAR_POP", "VAR_SAMP"),
    }
)
_UNSTABLE = {
    **dict.fromkeys(
        ("NOW", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "SYSDATE", "UTC_TIMESTAMP"),
        "the column __loaded_at__ has the time of the run, __commit_ts__ that of the change",
    ),
    **dict.fromkeys(
        ("CURDATE", "CURRENT_DATE", "CURTIME", "CURRENT_TIME", "UTC_DATE", "UTC_TIME"),
        "take it from the column __loaded_at__ or __commit_ts__",
    ),
    **dict.fromkeys(("DATABASE", "SCHEMA"), "the column __database__ has the database"),
    **dict.fromkeys(
        ("UUID", "UUID_SHORT", "RAND", "RAND_INTEGER", "RANDOM_BYTES"),
        "derive it from the key, e.g. by MD5",
    ),
    **dict.fromkeys(
        (
            *("LAST_INSERT_ID", "CONNECTION_ID", "USER", "CURRENT_USER", "SESSION_USER"),
            *("SYSTEM_USER", "VERSION", "FOUND_ROWS", "ROW_COUNT", "SLEEP", "GET_LOCK"),
        ),
        "it speaks of a session, and there is none here",
    ),
}


@dataclass(frozen=True)
class Call:
    """A call of a function.

    Args:
        name: As written.
        args: The arguments.
    """

    name: str
    args: tuple[Typed, ...]

    def text(self, i: int) -> Typed:
        """Return an argument as text (see `as_text`)."""
        return as_text(self.args[i], f"argument {i + 1} of {self.name}")

    def text_or_bytes(self, i: int) -> Typed:
        """Return an argument as text, binary as it is."""
        return self.args[i] if is_bytes(self.args[i].type) else self.text(i)

    def whole(self, i: int) -> Typed:
        """Return an argument as int64; of other numbers whole ones only."""
        value = self.args[i]
        if value.type == NULL:
            return replace(value, sql="CAST(NULL AS BIGINT)", type=pa.int64())
        if value.type == UINT64 or not (
            pa.types.is_integer(value.type) or pa.types.is_boolean(value.type)
        ):
            raise self.refused(i, "a whole number of at most 64 bits", "CAST(… AS SIGNED)")
        return whole(value)

    def number(self, i: int) -> Typed:
        """Return an argument that is a number."""
        value = self.args[i]
        if value.type == NULL:
            return replace(value, sql="CAST(NULL AS BIGINT)", type=pa.int64())
        if not is_number(value.type):
            raise self.refused(i, "a number", "CAST(… AS DECIMAL(p, s))")
        return whole(value) if value.type == BOOL else value

    def double(self, i: int) -> Typed:
        """Return an argument as DOUBLE, for functions whose result is one anyway."""
        value = self.number(i)
        return derive(f"CAST({value.sql} AS DOUBLE)", DOUBLE, value)

    def decimal(self, i: int) -> Typed:
        """Return an argument as DECIMAL."""
        return as_decimal(self.number(i))

    def moment(self, i: int) -> Typed:
        """Return an argument that is a date or timestamp; a text literal is read as one."""
        value = self.args[i]
        if isinstance(value.constant, str):
            return coerce(value, time_literal(value.constant, DATE))
        if value.type == NULL:
            return replace(value, sql="CAST(NULL AS TIMESTAMP)", type=STAMP)
        if not is_time(value.type):
            raise self.refused(i, "a date or timestamp", "STR_TO_DATE(text, format) or CAST")
        return value

    def words(self, i: int) -> str:
        """Return an argument that has to be a text literal."""
        value = self.args[i].constant
        if not isinstance(value, str):
            raise self.refused(i, "a text literal", "it is compiled once, so it cannot be a column")
        return value

    def digits(self, i: int) -> int:
        """Return an argument that has to be a whole literal."""
        value = self.args[i].constant
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refused(i, "a whole literal", "it decides on the result's type")
        return value

    def refused(self, i: int, wanted: str, remedy: str) -> Refused:
        """Return the refusal of an argument."""
        found = words(self.args[i].type)
        return Refused(f"argument {i + 1} of {self.name} is {found}, not {wanted}", remedy)


Builder = Callable[[Call], Typed]


@dataclass(frozen=True)
class _Entry:
    least: int
    most: int
    build: Builder


_FUNCTIONS: dict[str, _Entry] = {}


def function(*names: str, args: tuple[int, int]) -> Callable[[Builder], Builder]:
    """Register a function under its names, with the least and greatest number of arguments."""

    def register(build: Builder) -> Builder:
        for name in names:
            _FUNCTIONS[name] = _Entry(*args, build)
        return build

    return register


def known_functions() -> list[str]:
    """Return the names of all functions there are."""
    _load()
    return sorted(_FUNCTIONS)


def call_function(name: str, args: Sequence[Typed], own: Sequence[str] = ()) -> Typed:
    """Return the SQL of a call.

    Args:
        name: As written.
        args: The arguments.
        own: Names of the user's functions, for near matches.

    Raises:
        Refused: There is no such function, or it does not take such arguments.
    """
    _load()
    upper = name.upper()
    entry = _FUNCTIONS.get(upper)
    if entry is None:
        raise _unknown(name, upper, own)
    if not entry.least <= len(args) <= entry.most:
        wanted = f"{entry.least}" if entry.least == entry.most else f"{entry.least} or more"
        if entry.least < entry.most < _MANY:
            wanted = f"{entry.least} to {entry.most}"
        raise Refused(f"{name} takes {wanted} arguments, not {len(args)}")
    return entry.build(Call(name, tuple(args)))


_MANY = 1000
ANY_NUMBER = _MANY
"""Greatest number of arguments of functions that take any number."""


def unstable(name: str) -> Refused | None:
    """Return the refusal of a function that gives another value each time, None for others."""
    remedy = _UNSTABLE.get(name.upper())
    if remedy is None:
        return None
    return Refused(
        f"{name.upper()} is not deterministic: a replay would give another value", remedy
    )


def as_text(value: Typed, what: str) -> Typed:
    """Return a value as text where the text is the same in MySQL.

    Raises:
        Refused: It is a float, a timestamp or anything else whose text depends on more.
    """
    if value.type == NULL:
        return replace(value, sql="CAST(NULL AS VARCHAR)", type=TEXT)
    if is_text(value.type):
        return value
    if value.type == BOOL:
        return derive(f"CAST(CAST({value.sql} AS TINYINT) AS VARCHAR)", TEXT, value)
    t = pa.types
    if t.is_integer(value.type) or t.is_decimal(value.type) or value.type == DATE:
        return derive(f"CAST({value.sql} AS VARCHAR)", TEXT, value)
    remedy = "DATE_FORMAT(…) says how" if is_time(value.type) else "CAST(… AS …) says how"
    raise Refused(
        f"{what} is {words(value.type)}, and servers differ in writing it as text", remedy
    )


def as_storage(sql: str, type_: pa.DataType) -> str:
    """Return SQL cast to the DuckDB type of an Arrow type."""
    return f"CAST({sql} AS {storage_type(type_)})"


def _unknown(name: str, upper: str, own: Sequence[str]) -> Refused:
    found = unstable(name)
    if found is not None:
        return found
    if upper in _AGGREGATES:
        return Refused(
            f"{upper} is an aggregate: it speaks of many rows, a transform of one",
            "aggregate in the target",
        )
    near = get_close_matches(upper, [*_FUNCTIONS, *(n.upper() for n in own)], n=3, cutoff=0.7)
    hint = f"did you mean {', '.join(near)}?" if near else "docs/expressions.md lists the functions"
    return Refused(f"there is no function {name}", hint)


def _load() -> None:
    """Import the modules that register functions; they import this one."""
    from cdc_assets.engine.transforms import (  # noqa: F401
        functions_choice,
        functions_json,
        functions_number,
        functions_text,
        functions_time,
    )
