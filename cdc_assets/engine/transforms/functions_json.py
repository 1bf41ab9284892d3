"""Functions of JSON, as MySQL's.

In: calls. Out: typed SQL. JSON that a function takes out of a document is printed without spaces,
where MySQL puts one behind commas and colons.
"""

from __future__ import annotations

import re

from cdc_assets.engine.transforms.functions import Call, function
from cdc_assets.engine.transforms.typed import (
    BOOL,
    INT64,
    LONG_TEXT,
    TEXT,
    Refused,
    Typed,
    derive,
    quote_text,
)

_PATH = re.compile(r"""\$(\.[A-Za-z_]\w*|\."[^"\\]*"|\[\d+\])*""")


def json_path(path: str) -> str:
    """Return a path as an SQL literal.

    Raises:
        Refused: It may mean several values, or is no path.
    """
    if not _PATH.fullmatch(path):
        raise Refused(
            f"{path} is no JSON path of names and positions",
            "write $.a.b[0]; paths with * or ** give several values",
        )
    return quote_text(path)


@function("JSON_EXTRACT", args=(2, 2))
def _extract(call: Call) -> Typed:
    return extract(call.text(0), call.words(1))


def extract(value: Typed, path: str) -> Typed:
    """Return what is at a path, as JSON."""
    sql = f"CAST(json_extract({value.sql}, {json_path(path)}) AS VARCHAR)"
    return derive(sql, LONG_TEXT, value, nullable=True, kind="json")


def unquoted(value: Typed, path: str) -> Typed:
    """Return what is at a path, strings without their quotes; a JSON null is the text null."""
    quoted = json_path(path)
    sql = (
        f"CASE WHEN json_type({value.sql}, {quoted}) = 'NULL' THEN 'null' "
        f"ELSE json_extract_string({value.sql}, {quoted}) END"
    )
    return derive(sql, TEXT, value, nullable=True)


@function("JSON_VALUE", args=(2, 2))
def _value(call: Call) -> Typed:
    value, path = call.text(0), json_path(call.words(1))
    # json_extract_string gives NULL for a JSON null, as JSON_VALUE does and `->>` does not.
    return derive(f"json_extract_string({value.sql}, {path})", TEXT, value, nullable=True)


@function("JSON_UNQUOTE", args=(1, 1))
def _unquote(call: Call) -> Typed:
    value = call.text(0)
    sql = (
        f"CASE WHEN starts_with({value.sql}, '\"') "
        f"THEN json_extract_string({value.sql}, '$') ELSE {value.sql} END"
    )
    return derive(sql, TEXT, value)


@function("JSON_VALID", args=(1, 1))
def _valid(call: Call) -> Typed:
    value = call.text(0)
    return derive(f"json_valid({value.sql})", BOOL, value)


@function("JSON_LENGTH", args=(1, 2))
def _length(call: Call) -> Typed:
    value = call.text(0)
    path = json_path(call.words(1)) if len(call.args) > 1 else "'$'"
    kind = f"json_type({value.sql}, {path})"
    sql = (
        f"CASE {kind} WHEN 'ARRAY' THEN CAST(json_array_length({value.sql}, {path}) AS BIGINT) "
        f"WHEN 'OBJECT' THEN CAST(len(json_keys({value.sql}, {path})) AS BIGINT) "
        f"ELSE CASE WHEN {kind} IS NOT NULL THEN 1 END END"
    )
    return derive(f"CAST({sql} AS BIGINT)", INT64, value, nullable=True)
