"""Every feature of routes and transforms on a table of its own, and what the server makes of it.

In: nothing. Out: `FEATURES` with the rules and routes they need. What a target must be is said in
the source server's SQL, and where it has no words for it, in Python that shares no code with ours.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from cdc_assets.engine.routing import RouteRule
from cdc_assets.engine.transforms.rule import Mask, RowRule, TransformRule

Row: TypeAlias = dict[str, Any]
COLUMNS: Mapping[str, str] = {
    "id": "INT PRIMARY KEY",
    "code": "INT NOT NULL UNIQUE",
    "a": "INT",
    "s": "VARCHAR(30)",
    "d": "DECIMAL(12,2)",
    "t": "DATETIME(3)",
    "mail": "VARCHAR(40)",
    "tel": "VARCHAR(20)",
    "bin": "VARBINARY(8)",
}
VALUES: Mapping[str, Callable[[Random], str]] = {
    "a": lambda r: r.choice(("NULL", str(r.randrange(-3, 20)))),
    "s": lambda r: r.choice(("NULL", "'ä'", "'bc'", "'Longer'", "''", "'17'", "'-4'")),
    "d": lambda r: r.choice(("NULL", str(r.randrange(-(10**6), 10**6) / 100))),
    "t": lambda r: f"'2026-0{r.randrange(1, 9)}-11 12:00:00.{r.randrange(1000):03}'",
    "mail": lambda r: r.choice(("NULL", "'a.b@c.de'", "'nobody'", "'\"a@b\"@ü.org'")),
    "tel": lambda r: r.choice(("NULL", "'+49 171-123'", "'12'", "'ask Bob'")),
    "bin": lambda r: r.choice(("NULL", "x'00ff10'", "''", "x'8081828384858687'")),
}
"""What random changes put into the columns beside `id` and `code`."""
FUNCTIONS = """
import pyarrow as pa
import pyarrow.compute as pc
from cdc_assets.engine.transforms.python_functions import arrow_function

@arrow_function(pa.string(), pa.string(), pa.int32())
def starred(text: pa.StringArray, count: pa.Int32Array) -> pa.StringArray:
    return pc.binary_join_element_wise(text, pc.binary_repeat("*", pc.abs(count)), "")
"""
FUNCTIONS_FILE = "my_functions.py"
"""Its path is put into the rules by `rules_for`."""


def _same(row: Row) -> Row:
    return row


@dataclass(frozen=True)
class Feature:
    """One feature.

    Args:
        tables: The tables with it, all of which end in its targets.
        rule: What is done to their rows.
        select: The same in the server's words, after `SELECT`; `{table}` is the table's name.
        where: Which rows are in the target.
        finish: What the server has no words for, row by row.
        targets: Names of the targets; `{db}` is the database.
        deleted: The column that says a row was deleted.
        aside: Which of the source's rows are set aside.
    """

    tables: tuple[str, ...]
    rule: TransformRule | None = None
    select: str = "*"
    where: str = "TRUE"
    finish: Callable[[Row], Row] = _same
    targets: tuple[str, ...] = ()
    deleted: str = ""
    aside: str = "FALSE"


def feature(table: str, select: str = "*", where: str = "TRUE", **more: Any) -> Feature:
    """A feature of one table; what is no field of `Feature` is one of its rule."""
    mine = {k: more.pop(k) for k in ("finish", "targets", "deleted", "aside") if k in more}
    rule = TransformRule((f"*.{table}",), **more) if more else None
    mine.setdefault("targets", (f"{{db}}.{table}",))
    return Feature((table,), rule, select, where, **mine)


def _masked(row: Row) -> Row:
    keep = 1 + 2
    s, tel, a = row["s"], row["tel"], row["a"]
    if s is not None:
        row["s"] = s[0] + "#" * (len(s) - keep) + s[-2:] if len(s) > keep else "#" * len(s)
    if row["mail"] is not None:
        row["mail"] = re.sub(".*@", "***@", row["mail"]) if "@" in row["mail"] else "***"
    if tel is not None:
        digits = len(re.findall(r"\d", tel))
        hidden = digits - 2 if digits > 2 else digits
        row["tel"] = re.sub(r"\d", "*", tel, count=hidden) if hidden else "***"
    if a is not None:
        row["a"] = hmac.new(b"key", str(a).encode(), "sha256").hexdigest()
    if row["d"] is not None:
        row["d"] = hashlib.sha256(b"salt" + f"{row['d']:.2f}".encode()).hexdigest()
    return row


def _masked_key(row: Row) -> Row:
    return row | {"id": hmac.new(b"key", str(row["id"]).encode(), "sha256").hexdigest()}


ROUTES = (
    RouteRule(("*.fanned",), "dw.fanned_one", shard=(("shard", "{table}"),)),
    RouteRule(("*.fanned",), "dw.fanned_two", shard=(("shard", "{table}"),)),
    RouteRule(("*.routed_?",), "dw.by_sign_{2}"),
    RouteRule((r"/(?P<where>\w+)\.coded_(?P<kind>[a-z]+)_v\d/",), "dw.{where}_{kind}"),
    RouteRule(("*.part_*",), "dw.parts", shard=(("part", "{2}"),), shard_in_key=True),
)
FEATURES = (
    feature("plain"),
    feature("filtered", "*", "a > 5 AND s IS NOT NULL", filter="a > 5 AND s IS NOT NULL"),
    feature(
        "computed",
        "id number, UPPER(s) u, a + 1 b, d * 2 twice, DATE_FORMAT(t, '%Y-%m') month, "
        "IFNULL(s, 'none') s, 'computed' origin",
        projection=(
            "id AS number",
            "upper(s) AS u",
            "a + 1 AS b",
            "d * 2 AS twice",
            "DATE_FORMAT(t, '%Y-%m') AS month",
            "IFNULL(s, 'none') AS s",
            "__table__ AS origin",
        ),
        partition_keys=("month",),
    ),
    feature(
        "replaced",
        "id, code, a, UPPER(s) s, d, t, mail, tel, bin, a * 2 twice",
        projection=("*", "UPPER(s) AS s", "a * 2 AS twice"),
    ),
    feature("other_key", "code, s, a", projection=("code", "s", "a"), primary_keys=("code",)),
    feature("kept", "*, FALSE gone", deleted="gone", soft_delete="gone"),
    feature(
        "composed",
        "code, CONCAT(s, '!') s, a, FALSE gone",
        "a > 3",
        deleted="gone",
        filter="a > 3",
        projection=("code", "CONCAT(s, '!') AS s", "a"),
        primary_keys=("code",),
        soft_delete="gone",
    ),
    feature(
        "masked",
        "id, code, a, s, d, CAST(NULL AS DATETIME(3)) t, mail, tel, LEFT(bin, 2) bin",
        finish=_masked,
        masks=(
            Mask("s", "partial", keep_first=1, keep_last=2, character="#"),
            Mask("mail", "email"),
            Mask("tel", "phone", keep_last=2),
            Mask("a", "hmac", salt="key"),
            Mask("d", "hash", salt="salt"),
            Mask("t", "redact"),
            Mask("bin", "truncate", length=2),
        ),
    ),
    feature(
        "masked_more",
        "id, code, a, IF(s IS NULL, NULL, 'fixed') s, IF(mail IS NULL, NULL, '***') mail, "
        "IF(bin IS NULL, NULL, CAST('' AS BINARY)) bin",
        masks=(Mask("s", "fixed", value="fixed"), Mask("mail", "redact"), Mask("bin", "redact")),
        exclude=("d", "t*"),
    ),
    feature(
        "masked_key",
        "id, code, a, s",
        finish=_masked_key,
        masks=(Mask("id", "hmac", salt="key"),),
        exclude=("d", "t", "mail", "tel", "bin"),
    ),
    feature(
        "called",
        "id, CONCAT(s, REPEAT('*', ABS(a))) stars, UPPER(CONCAT(s, '**')) more",
        projection=("id", "starred(s, a) AS stars", "UPPER(starred(s, CAST(2 AS INT))) AS more"),
        functions=FUNCTIONS_FILE,
    ),
    feature(
        "failing",
        "id, CAST(s AS SIGNED) n",
        aside="s IS NOT NULL AND NOT s REGEXP '^-?[0-9]+$'",
        projection=("id", "CAST(s AS SIGNED) AS n"),
    ),
    feature(
        "skipping",
        "*",
        "(a IS NULL OR a BETWEEN 0 AND 15) AND (s IS NULL OR s REGEXP '^[A-Za-z0-9-]*$')",
        rules=(
            RowRule("range", "a", min="0", max="15", on_fail="skip"),
            RowRule("letters", "s", regex="^[A-Za-z0-9-]*$", on_fail="skip"),
        ),
    ),
    feature(
        "refusing",
        aside="CHAR_LENGTH(s) NOT BETWEEN 1 AND 3 OR mail IS NULL OR code % 5 = 0",
        rules=(
            RowRule("short", "s", min_length=1, max_length=3),
            RowRule("mail", "mail", not_null=True),
            RowRule("fives", expression="code % 5 <> 0"),
        ),
    ),
    feature("fanned", "*, 'fanned' shard", targets=("dw.fanned_one", "dw.fanned_two")),
    feature("routed_x", targets=("dw.by_sign_x",)),
    feature("coded_people_v3", targets=("dw.{db}_people",)),
    Feature(("part_1", "part_2"), select="*, '{table}' part", targets=("dw.parts",)),
)
