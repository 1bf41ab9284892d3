"""Row rules as conditions: what a row must be to reach the target.

In: rules and output columns. Out: one condition per rule, true where the row passes.
"""

from __future__ import annotations

from cdc_assets.engine.transforms import conditions
from cdc_assets.engine.transforms.functions import call_function
from cdc_assets.engine.transforms.outputs import OutputScope, placed, read_condition
from cdc_assets.engine.transforms.rule import RowRule, TransformRule
from cdc_assets.engine.transforms.typed import BOOL, INT64, TEXT, Typed, derive, quote_text
from resources.errors import ConfigError


def compile_row_rule(rule: RowRule, owner: TransformRule, scope: OutputScope) -> Typed:
    """Return the condition of a rule; NULL passes all but `not_null`.

    Raises:
        ConfigError: It names no such column, says nothing, or does not fit the column.
    """
    where = rule.where or owner.where
    what = f"rule {rule.name}"
    parts = [read_condition(rule.expression, what, where, scope)] if rule.expression else []
    if rule.column is not None:
        parts += placed(where, what, rule.column, lambda: _of_column(rule, where, scope))
    if not parts:
        raise ConfigError(
            f"rule {rule.name} says nothing",
            where=where,
            remedy="give it not_null, min, max, min_length, max_length, regex or expression",
        )

    def build() -> Typed:
        passed = [conditions.truth(p) for p in parts]
        sql = " AND ".join(f"coalesce({p.sql}, TRUE)" for p in passed)
        return derive(f"({sql})", BOOL, *passed, nullable=False)

    return placed(where, what, rule.expression or str(rule.column), build)


def _of_column(rule: RowRule, where: str, scope: OutputScope) -> list[Typed]:
    value = scope.column(rule.column or "")
    if value is None:
        raise ConfigError(
            f"rule {rule.name} is about {rule.column}, which is no output column",
            where=where,
            remedy="output columns are " + ", ".join(scope.names()),
        )
    parts: list[Typed] = []
    if rule.not_null:
        parts.append(derive(f"({value.sql} IS NOT NULL)", BOOL, value, nullable=False))
    for sign, limit in ((">=", rule.min), ("<=", rule.max)):
        if limit:
            bound = read_condition(limit, f"rule {rule.name}", where, scope)
            parts.append(conditions.compare(sign, value, bound))
    for sign, count in ((">=", rule.min_length), ("<=", rule.max_length)):
        if count is not None:
            size = call_function("CHAR_LENGTH", [value])
            limit_of = Typed(f"CAST({count} AS BIGINT)", INT64, False, constant=count)
            parts.append(conditions.compare(sign, size, limit_of))
    if rule.regex:
        pattern = Typed(quote_text(rule.regex), TEXT, False, constant=rule.regex)
        parts.append(call_function("REGEXP_LIKE", [value, pattern]))
    return parts
