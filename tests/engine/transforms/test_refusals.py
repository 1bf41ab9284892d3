"""What is not part of the language is refused by name when the rule is compiled, never guessed."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError
from tests.engine.transforms.columns import transform_of

REFUSED = {
    # unknown things, with what is near
    "uper(s)": ("there is no function uper", "did you mean UPPER"),
    "frobnicate(s)": ("there is no function frobnicate", "docs/expressions.md"),
    "st": ("there is no column st", "did you mean"),
    "t.s": ("columns are named without their table", ""),
    "s, i": ("it is not one expression", ""),
    "s +": ("it cannot be read", ""),
    "'open": ("it cannot be read", ""),
    "": ("", ""),
    "1; DROP TABLE t": ("it cannot be read", ""),
    "s FROM t": ("it is not one expression", ""),
    "s LIMIT 1": ("it cannot be read", ""),
    "@a": ("not part of the language", ""),
    "?": ("not part of the language", ""),
    "i & 1": ("not part of the language", ""),
    "_latin1'x'": ("not part of the language", ""),
    "s COLLATE utf8mb4_bin = 'a'": ("COLLATE has no effect", "LOWER"),
    # more than one row
    "COUNT(*)": ("COUNT is an aggregate", "in the target"),
    "SUM(i)": ("SUM is an aggregate", ""),
    "MAX(DISTINCT i)": ("MAX is an aggregate", ""),
    "SUM(i) OVER ()": ("no window functions", ""),
    "(SELECT 1)": ("no subqueries", ""),
    "EXISTS (SELECT 1)": ("no subqueries", ""),
    "i IN (SELECT 1)": ("no subqueries", ""),
    # not the same at a replay
    "NOW()": ("NOW is not deterministic: a replay", "__loaded_at__"),
    "CURRENT_TIMESTAMP": ("CURRENT_TIMESTAMP is not deterministic", "__loaded_at__"),
    "CURDATE()": ("CURDATE is not deterministic", "__commit_ts__"),
    "UUID()": ("UUID is not deterministic", "MD5"),
    "RAND()": ("RAND is not deterministic", ""),
    "DATABASE()": ("DATABASE is not deterministic", "__database__"),
    "LAST_INSERT_ID()": ("LAST_INSERT_ID is not deterministic", "session"),
    # meanings that differ
    "s || s2": ("|| is OR in MySQL and concatenation in Flink", "CONCAT"),
    "s = 5": ("mixes text and int64", "CAST"),
    "i = s": ("mixes int32 and text", "CAST"),
    "i = '5'": ("mixes int32 and text", "CAST"),
    "x = s": ("mixes binary and text", "CAST"),
    "f = d": ("mixes double and decimal128(10, 2)", "CAST"),
    "f + b": ("mixes double and int64", "CAST"),
    "IFNULL(i, 'none')": ("IFNULL mixes int32 and text", "CAST"),
    "IF(i > 0, s, 1)": ("IF mixes text and int64", ""),
    "CASE WHEN i > 0 THEN day ELSE s END": ("CASE mixes date32[day] and text", ""),
    "day = 'soon'": ("'soon' is not written as a date32[day]", "2026-01-31"),
    "day = '2026-02-30'": ("is not written as", ""),
    "tm > '1 hour'": ("is not written as a duration[us]", "12:30:00"),
    "s + 1": ("+ calculates with numbers, not with text", "CAST"),
    "day + 1": ("+ calculates with numbers, not with date32[day]", "INTERVAL"),
    "day - at": ("- calculates with numbers", ""),
    "CONCAT(s, f)": ("argument 2 of CONCAT is double, and servers differ", "CAST"),
    "CONCAT(s, at)": ("argument 2 of CONCAT is timestamp[us]", "DATE_FORMAT"),
    "s AND i": ("text is not a condition", "compare it"),
    "CAST(at AS SIGNED)": ("timestamp[us] is never a whole number", "UNIX_TIMESTAMP"),
    "CAST(i AS DATE)": ("int32 is never a DATE", "FROM_UNIXTIME"),
    "CAST(s AS JSON)": ("there is no cast to JSON", "known are"),
    "CAST(i AS DECIMAL(39, 2))": ("up to 38 digits", ""),
    # digits that would be lost
    "wide + 1": ("column wide is decimal256(65, 30), which no expression can read", "as it is"),
    "e * e * e * e * e": ("40 digits behind the point", "CAST"),
    "e * e / e": ("/ of these decimals needs more than 38 digits", "CAST"),
    "IFNULL(e, 99999999999999999999999999999999999999)": ("no type holds both", ""),
    "0.1234567890123456789012345678901234567891": ("more than 38 digits", ""),
    # functions that take something else
    "UPPER(s, s2)": ("UPPER takes 1 arguments, not 2", ""),
    "LEFT(s)": ("LEFT takes 2 arguments", ""),
    "SUBSTRING(s, 1, s2)": ("argument 3 of SUBSTRING is text, not a whole number", "CAST"),
    "ROUND(d, i)": ("argument 2 of ROUND is int32, not a whole literal", "type"),
    "DATE_FORMAT(at, s)": (
        "argument 2 of DATE_FORMAT is text, not a text literal",
        "compiled once",
    ),
    "DATE_FORMAT(at, '%D')": ("the pattern %D has no equal", "%e"),
    "DATE_FORMAT(at, 'QQ')": ("the pattern letters QQ", "yyyy"),
    "DATE_FORMAT(at, '%Y%')": ("ends inside a code", ""),
    "YEAR(i)": ("argument 1 of YEAR is int32, not a date", "STR_TO_DATE"),
    "YEAR(tm)": ("YEAR of a TIME", ""),
    "WEEK(day, 0)": ("mode 3", "WEEK(x, 3)"),
    "SHA2(s, 512)": ("256 bits only", ""),
    "TRIM('ab' FROM s)": ("TRIM takes away one character", "REGEXP_REPLACE"),
    "TIMESTAMPDIFF(FORTNIGHT, day, at)": ("FORTNIGHT is no unit of time", "MONTH"),
    "day + INTERVAL 1.5 DAY": ("INTERVAL takes whole numbers", ""),
    "day + INTERVAL d DAY": ("INTERVAL takes whole numbers", ""),
    "INTERVAL 1 DAY": ("an INTERVAL is only added", ""),
    "s + INTERVAL 1 DAY": ("argument 1 of INTERVAL is text, not a date", ""),
    "JSON_EXTRACT(j, '$.*')": ("$.* is no JSON path of names and positions", "several values"),
    "j->'$[*]'": ("no JSON path of names and positions", ""),
    "SPLIT_INDEX(s, ',', -1)": ("SPLIT_INDEX counts from 0", ""),
    "REGEXP_REPLACE(s, 'a', '$x')": ("$ in '$x' names no group", "$1"),
    "REGEXP_REPLACE(s, 'a', s2)": ("argument 3 of REGEXP_REPLACE is text, not a text literal", ""),
    "s REGEXP 'a('": ("it fails whatever the row", "pattern"),
    "f DIV 2": ("DIV divides whole numbers and decimals", "FLOOR"),
    "UPPER(DISTINCT s)": ("UPPER takes", ""),
}


@pytest.mark.parametrize("text", sorted(REFUSED))
def test_what_is_refused_and_what_to_write_instead(text: str) -> None:
    message, remedy = REFUSED[text]
    with pytest.raises(ConfigError) as error:
        transform_of("id", f"{text} AS v")
    assert message in error.value.message
    assert error.value.remedy
    assert remedy in error.value.remedy
    assert error.value.where == "shop.yaml:3"
    assert f"`{text} AS v`" in error.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i > 0 AS x", "a condition has no name"),
        ("s", "text is not a condition"),
        ("i >", "it cannot be read"),
        ("SUM(i) > 0", "SUM is an aggregate"),
        ("_cdc_op = 0", "there is no column _cdc_op"),
        ("i > 0; DROP TABLE t", "it is not one expression"),
        ("i > 0 LIMIT 1", "it is not one expression"),
        ("i > 0 INTO OUTFILE 'x'", "it "),
    ],
)
def test_filters_are_refused_the_same_way(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        transform_of("*", filter=text)
    assert error.value.message.startswith(f"filter `{text}`: ")


def test_refusals_show_no_part_of_the_parsers_own_output(capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("replace", "COMMENT ON x", "CALL y", "(s"):
        with pytest.raises(ConfigError) as error:
            transform_of("id", f"{text} AS v")
        assert "\x1b" not in str(error.value)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_division_inside_divisions_without_end_is_refused() -> None:
    text = "i"
    for _ in range(12):
        text = f"CAST({text} / y AS DECIMAL(10, 2))"
    with pytest.raises(ConfigError, match="it becomes too long"):
        transform_of("id", f"{text} AS v")
