"""Functions of text and binary, as MySQL's unless Flink alone has the name.

In: calls. Out: typed SQL. Positions and lengths count characters; comparison is by bytes, so
LOCATE, REPLACE and the like tell upper from lower case whatever the column's collation says.
"""

from __future__ import annotations

import re

from cdc_assets.engine.transforms.functions import (
    ANY_NUMBER,
    Builder,
    Call,
    function,
)
from cdc_assets.engine.transforms.typed import (
    BOOL,
    BYTES,
    INT64,
    TEXT,
    Refused,
    Typed,
    derive,
    is_bytes,
    quote_text,
)

_LONGEST = 4_294_967_295
"""Greatest length DuckDB's substring takes."""


def _of_text(sql: str) -> Builder:
    """Return a builder for a function of texts that gives text: `{0}`, `{1}` … in the SQL."""

    def build(call: Call) -> Typed:
        args = [call.text(i) for i in range(len(call.args))]
        return derive(sql.format(*(a.sql for a in args)), args[0].type, *args)

    return build


for _names, _count, _sql in (
    (("UPPER", "UCASE"), 1, "upper({0})"),
    (("LOWER", "LCASE"), 1, "lower({0})"),
    (("REVERSE",), 1, "array_to_string(list_reverse(string_split({0}, '')), '')"),
    (("REPLACE",), 3, "CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, {2}) END"),
):
    function(*_names, args=(_count, _count))(_of_text(_sql))


@function("CONCAT", args=(1, ANY_NUMBER))
def _concat(call: Call) -> Typed:
    args = [call.text(i) for i in range(len(call.args))]
    return derive("(" + " || ".join(a.sql for a in args) + ")", TEXT, *args)


@function("CONCAT_WS", args=(2, ANY_NUMBER))
def _concat_ws(call: Call) -> Typed:
    args = [call.text(i) for i in range(len(call.args))]
    sql = f"concat_ws({', '.join(a.sql for a in args)})"
    return derive(sql, TEXT, *args, nullable=args[0].nullable)


@function("TRIM", args=(1, 1))
def _trim(call: Call) -> Typed:
    return trim(call.text(0), "BOTH", None)


@function("LTRIM", args=(1, 1))
def _ltrim(call: Call) -> Typed:
    return trim(call.text(0), "LEADING", None)


@function("RTRIM", args=(1, 1))
def _rtrim(call: Call) -> Typed:
    return trim(call.text(0), "TRAILING", None)


def trim(value: Typed, side: str, cut: str | None) -> Typed:
    """Return text without a run of spaces, or of `cut`, at its sides.

    Args:
        value: The text.
        side: `BOTH`, `LEADING` or `TRAILING`.
        cut: What is taken away, as a whole; None for spaces.
    """
    if cut is not None and len(cut) != 1:
        raise Refused("TRIM takes away one character here", "use REGEXP_REPLACE for longer texts")
    name = {"BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}[side]
    return derive(f"{name}({value.sql}, {quote_text(cut or ' ')})", value.type, value)


@function("SUBSTRING", "SUBSTR", "MID", args=(2, 3))
def _substring(call: Call) -> Typed:
    text, start = call.text(0), call.whole(1)
    length = call.whole(2) if len(call.args) > 2 else None
    first, count = call.args[1].constant, call.args[2].constant if length is not None else 0
    if type(first) is int and type(count) is int and 0 < first <= _LONGEST:
        cut = "" if length is None else f", {min(max(count, 0), _LONGEST)}"
        return derive(f"substring({text.sql}, {first}{cut})", text.type, text)
    size = "" if length is None else f", least(greatest({length.sql}, 0), {_LONGEST})"
    begin = f"least(greatest({start.sql}, {-_LONGEST}), {_LONGEST})"
    # MySQL gives nothing at position 0 and for a start before the text, DuckDB goes on from there.
    sql = (
        f"CASE WHEN {start.sql} = 0 OR -({start.sql}) > length({text.sql}) THEN '' "
        f"ELSE substring({text.sql}, {begin}{size}) END"
    )
    parts = [p for p in (text, start, length) if p is not None]
    known = " AND ".join(f"{p.sql} IS NOT NULL" for p in parts if p.nullable)
    return derive(f"CASE WHEN {known} THEN {sql} END" if known else sql, text.type, *parts)


def _side(name: str) -> Builder:
    def build(call: Call) -> Typed:
        text, count = call.text(0), call.whole(1)
        size = f"least(greatest({count.sql}, 0), {_LONGEST})"
        known = f"{count.sql} IS NOT NULL"
        sql = f"CASE WHEN {known} THEN {name}({text.sql}, {size}) END"
        return derive(sql, text.type, text, count)

    return build


function("LEFT", args=(2, 2))(_side("left"))
function("RIGHT", args=(2, 2))(_side("right"))


def _pad(name: str) -> Builder:
    def build(call: Call) -> Typed:
        text, size, fill = call.text(0), call.whole(1), call.text(2)
        # MySQL gives NULL for a negative length; a length beyond 32 bits is a failed row.
        padded = f"{name}({text.sql}, CAST({size.sql} AS INTEGER), {fill.sql})"
        sql = f"CASE WHEN {size.sql} >= 0 THEN {padded} END"
        return derive(sql, TEXT, text, size, fill, nullable=True)

    return build


function("LPAD", args=(3, 3))(_pad("lpad"))
function("RPAD", args=(3, 3))(_pad("rpad"))


@function("REPEAT", args=(2, 2))
def _repeat(call: Call) -> Typed:
    text, count = call.text(0), call.whole(1)
    return derive(f"repeat({text.sql}, {count.sql})", TEXT, text, count)


@function("CHAR_LENGTH", "CHARACTER_LENGTH", args=(1, 1))
def _char_length(call: Call) -> Typed:
    value = call.text_or_bytes(0)
    name = "octet_length" if is_bytes(value.type) else "length"
    return derive(f"{name}({value.sql})", INT64, value)


@function("LENGTH", "OCTET_LENGTH", args=(1, 1))
def _length(call: Call) -> Typed:
    value = call.text_or_bytes(0)
    name = "octet_length" if is_bytes(value.type) else "strlen"
    return derive(f"{name}({value.sql})", INT64, value)


@function("LOCATE", args=(2, 3))
def _locate(call: Call) -> Typed:
    part, text = call.text(0), call.text(1)
    if len(call.args) == 2:
        return derive(f"instr({text.sql}, {part.sql})", INT64, part, text)
    start = call.whole(2)
    rest = f"substring({text.sql}, least(greatest({start.sql}, 1), {_LONGEST}))"
    found = f"instr({rest}, {part.sql})"
    outside = f"{start.sql} < 1 OR {start.sql} > length({text.sql}) + 1"
    sql = f"CASE WHEN {outside} OR {found} = 0 THEN 0 ELSE {found} + {start.sql} - 1 END"
    known = " AND ".join(f"{p.sql} IS NOT NULL" for p in (part, text, start))
    return derive(f"CASE WHEN {known} THEN {sql} END", INT64, part, text, start)


@function("INSTR", args=(2, 2))
def _instr(call: Call) -> Typed:
    return _locate(Call(call.name, (call.args[1], call.args[0])))


@function("SUBSTRING_INDEX", args=(3, 3))
def _substring_index(call: Call) -> Typed:
    text, mark, count = call.text(0), call.words(1), call.digits(2)
    if not mark:
        raise Refused("the second argument of SUBSTRING_INDEX is empty")
    parts = f"string_split({text.sql}, {quote_text(mark)})"
    kept = f"{parts}[1:{count}]" if count >= 0 else f"{parts}[{count}:]"
    if count == 0:
        kept = f"{parts}[1:0]"
    sql = f"array_to_string({kept}, {quote_text(mark)})"
    return derive(f"CASE WHEN {text.sql} IS NOT NULL THEN {sql} END", TEXT, text)


@function("SPLIT_INDEX", args=(3, 3))
def _split_index(call: Call) -> Typed:
    text, mark, index = call.text(0), call.words(1), call.digits(2)
    if index < 0:
        raise Refused("SPLIT_INDEX counts from 0")
    sql = f"string_split({text.sql}, {quote_text(mark)})[{index + 1}]"
    return derive(sql, TEXT, text, nullable=True)


@function("REGEXP_LIKE", args=(2, 2))
def _regexp_like(call: Call) -> Typed:
    text, pattern = call.text(0), call.text(1)
    return derive(f"regexp_matches({text.sql}, {pattern.sql})", BOOL, text, pattern)


@function("REGEXP_REPLACE", args=(3, 3))
def _regexp_replace(call: Call) -> Typed:
    text, pattern = call.text(0), call.text(1)
    sql = f"regexp_replace({text.sql}, {pattern.sql}, {_replacement(call.words(2))}, 'g')"
    return derive(sql, TEXT, text, pattern)


def _replacement(text: str) -> str:
    """Return what REGEXP_REPLACE puts in place: `$1` is a group, a backslash takes that away."""

    def part(found: re.Match[str]) -> str:
        if found[2]:
            return f"\\{found[2]}"
        if found[0] == "$":
            raise Refused(
                f"$ in {quote_text(text)} names no group", "write $1, or \\\\$ for a dollar"
            )
        plain = found[1] or found[0]
        return "\\\\" if plain == "\\" else plain

    return quote_text(re.sub(r"\\(.)|\$(\d)|.", part, text, flags=re.DOTALL))


@function("REGEXP_EXTRACT", args=(2, 3))
def _regexp_extract(call: Call) -> Typed:
    text, pattern = call.text(0), call.words(1)
    group = call.digits(2) if len(call.args) > 2 else 0
    quoted = quote_text(pattern)
    sql = (
        f"CASE WHEN regexp_matches({text.sql}, {quoted}) "
        f"THEN regexp_extract({text.sql}, {quoted}, {group}) END"
    )
    return derive(sql, TEXT, text, nullable=True)


@function("MD5", args=(1, 1))
def _md5(call: Call) -> Typed:
    value = call.text_or_bytes(0)
    return derive(f"md5({value.sql})", TEXT, value)


@function("SHA1", "SHA", args=(1, 1))
def _sha1(call: Call) -> Typed:
    value = call.text_or_bytes(0)
    return derive(f"sha1({value.sql})", TEXT, value)


@function("SHA256", args=(1, 1))
def _sha256(call: Call) -> Typed:
    value = call.text_or_bytes(0)
    return derive(f"sha256({value.sql})", TEXT, value)


@function("SHA2", args=(2, 2))
def _sha2(call: Call) -> Typed:
    if call.digits(1) not in (0, 256):
        raise Refused("SHA2 is there with 256 bits only", "SHA2(x, 256)")
    return _sha256(Call(call.name, call.args[:1]))


@function("HEX", args=(1, 1))
def _hex(call: Call) -> Typed:
    value = call.text_or_bytes(0) if not _is_whole(call) else call.whole(0)
    return derive(f"hex({value.sql})", TEXT, value)


@function("UNHEX", args=(1, 1))
def _unhex(call: Call) -> Typed:
    value = call.text(0)
    sql = f"CASE WHEN regexp_full_match({value.sql}, '[0-9A-Fa-f]*') THEN unhex({value.sql}) END"
    return derive(sql, BYTES, value, nullable=True)


def _is_whole(call: Call) -> bool:
    value = call.args[0]
    return value.type in (INT64,) or str(value.type).startswith(("int", "uint"))
