"""Conditions: comparisons, truth and their connections, as MySQL's with NULL as it is there.

In: operands with types. Out: typed SQL of truth values. Nothing is compared across types by a
guess: text meets a number or a date only as a literal that is written as one.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_assets.engine.transforms.typed import (
    BOOL,
    NULL,
    Refused,
    Typed,
    coerce,
    common,
    derive,
    is_number,
    words,
)

COMPARISONS = {
    "EQ": "=",
    "NEQ": "<>",
    "GT": ">",
    "GTE": ">=",
    "LT": "<",
    "LTE": "<=",
    "NullSafeEQ": "IS NOT DISTINCT FROM",
    "NullSafeNEQ": "IS DISTINCT FROM",
}
"""Signs by sqlglot's names of nodes."""


def compare(sign: str, left: Typed, right: Typed) -> Typed:
    """Return a comparison.

    Raises:
        Refused: No type holds both sides without loss.
    """
    type_ = common([left, right], f"the comparison by {_shown(sign)}")
    a, b = coerce(left, type_), coerce(right, type_)
    nullable = False if "DISTINCT" in sign else None
    return derive(f"({a.sql} {sign} {b.sql})", BOOL, left, right, nullable=nullable)


def among(value: Typed, options: Sequence[Typed]) -> Typed:
    """Return `value IN (options)`.

    Raises:
        Refused: No type holds all of them without loss.
    """
    type_ = common([value, *options], "IN")
    listed = ", ".join(coerce(o, type_).sql for o in options)
    return derive(f"({coerce(value, type_).sql} IN ({listed}))", BOOL, value, *options)


def truth(value: Typed) -> Typed:
    """Return whether a value is true: numbers are unless they are zero.

    Raises:
        Refused: It is no number.
    """
    if value.type in (BOOL, NULL):
        return value if value.type == BOOL else Typed("CAST(NULL AS BOOLEAN)", BOOL)
    if not is_number(value.type):
        raise Refused(
            f"{words(value.type)} is not a condition", "compare it, e.g. with = or IS NOT NULL"
        )
    return derive(f"({value.sql} <> 0)", BOOL, value)


def connect(word: str, left: Typed, right: Typed) -> Typed:
    """Return two conditions connected by `AND`, `OR` or `XOR`."""
    a, b = truth(left), truth(right)
    sign = "<>" if word == "XOR" else word
    return derive(f"({a.sql} {sign} {b.sql})", BOOL, a, b)


def _shown(sign: str) -> str:
    return "<=>" if sign == "IS NOT DISTINCT FROM" else sign
