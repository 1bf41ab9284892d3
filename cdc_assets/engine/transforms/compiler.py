"""A rule and a table's schema become a plan: output columns, key, filter and row rules.

In: a rule and a schema. Out: everything `Transform` needs, checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdc_assets.engine.transforms.conditions import truth
from cdc_assets.engine.transforms.metadata import METADATA
from cdc_assets.engine.transforms.outputs import (
    Output,
    OutputScope,
    placed,
    read_condition,
    read_outputs,
)
from cdc_assets.engine.transforms.program import Program, SourceScope, is_column, metadata_of
from cdc_assets.engine.transforms.python_functions import load_functions
from cdc_assets.engine.transforms.row_rules import compile_row_rule
from cdc_assets.engine.transforms.rule import RowRule, TransformRule
from cdc_assets.engine.transforms.typed import BOOL, Typed
from resources.errors import ConfigError
from resources.model.table import Column, TableSchema


@dataclass(frozen=True)
class Plan:
    """A compiled rule.

    Args:
        rule: The rule.
        schema: What comes out.
        outputs: Output columns but the soft-delete flag, in order.
        computed: Indices of the outputs that the program computes, in the program's order.
        filtered: Whether the program computes the filter, after the outputs.
        rules: Row rules the program computes, last.
        program: The expressions.
        key: Indices of the outputs that are the key.
        needed: Source columns anything reads.
        watched: Source columns whose change changes the output key beside the source's key.
        first: The filter alone, where it can be judged before anything else is computed: the key
            is not computed, and nothing is called twice.
        passed: What becomes of rows that passed it.
    """

    rule: TransformRule
    schema: TableSchema
    outputs: tuple[Output, ...]
    computed: tuple[int, ...]
    filtered: bool
    rules: tuple[RowRule, ...]
    program: Program
    key: tuple[int, ...]
    needed: frozenset[str]
    watched: frozenset[str]
    first: Program | None = None
    passed: Plan | None = None


def compile_plan(rule: TransformRule, schema: TableSchema) -> Plan:
    """Compile a rule for a table.

    Raises:
        ConfigError: What cannot be compiled, with its place.
    """
    scope = SourceScope(schema, load_functions(rule.functions, rule.where))
    outputs = read_outputs(rule, scope)
    key = _key(rule, schema, outputs)
    outputs = [
        replace(o, column=replace(o.column, nullable=False)) if i in key else o
        for i, o in enumerate(outputs)
    ]
    _check_partition_keys(rule, outputs)
    where_true = _filter(rule, scope)
    over = OutputScope(scope, outputs)
    conditions = [compile_row_rule(r, rule, over) for r in rule.rules]
    computed = tuple(i for i, o in enumerate(outputs) if o.value.column is None)
    columns = [outputs[i].value for i in computed]
    program = Program(scope, [*columns, *([where_true] if where_true else []), *conditions])
    _check(rule, scope, outputs, where_true, program)
    reads = [*(o.value for o in outputs), *conditions, *([where_true] if where_true else [])]
    key_reads = _columns(outputs[i].value for i in key)
    plan = Plan(
        rule,
        TableSchema(
            schema.table,
            _with_flag(rule, outputs),
            tuple(outputs[i].column.name for i in key),
            schema.comment,
        ),
        tuple(outputs),
        computed,
        where_true is not None,
        rule.rules,
        program,
        key,
        _columns(reads) | frozenset(schema.key),
        key_reads - frozenset(schema.key),
    )
    if where_true is None or set(key) & set(computed):
        return plan
    first = Program(scope, [where_true])
    passed = replace(plan, filtered=False, program=Program(scope, [*columns, *conditions]))
    return plan if first.calls else replace(plan, first=first, passed=passed)


def lineage(plan: Plan) -> dict[str, frozenset[str]]:
    """Return the source columns each output column is made of."""
    found = {o.column.name: _columns([o.value]) for o in plan.outputs}
    if plan.rule.soft_delete:
        found[plan.rule.soft_delete] = frozenset()
    return found


def _filter(rule: TransformRule, scope: SourceScope) -> Typed | None:
    if not rule.filter.strip():
        return None
    where = rule.place(rule.filter)
    condition = read_condition(rule.filter, "filter", where, scope)
    return placed(where, "filter", rule.filter, lambda: replace(truth(condition), column=None))


def _key(rule: TransformRule, schema: TableSchema, outputs: Sequence[Output]) -> tuple[int, ...]:
    if not rule.primary_keys:
        return _source_key(rule, schema, outputs)
    places = {o.column.name: i for i, o in enumerate(outputs)}
    found = []
    for name in rule.primary_keys:
        if name not in places:
            raise ConfigError(
                f"primary_keys names {name}, which is no output column of {schema.table}",
                where=rule.where,
                remedy="output columns are " + ", ".join(places),
            )
        _check_stable(rule, outputs[places[name]])
        found.append(places[name])
    return tuple(found)


def _source_key(
    rule: TransformRule, schema: TableSchema, outputs: Sequence[Output]
) -> tuple[int, ...]:
    places: dict[str, int] = {}
    for i, output in enumerate(outputs):
        if output.source is not None:
            places.setdefault(output.source, i)
    missing = [k for k in schema.key if k not in places]
    if missing:
        raise ConfigError(
            f"the projection of {schema.table} leaves out its key: {', '.join(missing)}",
            where=rule.where,
            remedy=f"add {', '.join(missing)}, or name other primary_keys",
        )
    return tuple(places[k] for k in schema.key)


def _check_stable(rule: TransformRule, output: Output) -> None:
    """Refuse a key made of what differs from change to change of one row."""
    for read in output.value.inputs:
        name = metadata_of(read)
        if name is not None and not METADATA[name].stable:
            raise ConfigError(
                f"the key column {output.column.name} reads {name}, which is another for every "
                "change of a row",
                where=rule.place(output.text),
                remedy="make keys of columns, __database__, __table__, __source__ or __pipeline__",
            )


def _check_partition_keys(rule: TransformRule, outputs: Sequence[Output]) -> None:
    names = [o.column.name for o in outputs]
    for name in rule.partition_keys:
        if name not in names:
            raise ConfigError(
                f"partition_keys names {name}, which is no output column",
                where=rule.where,
                remedy="output columns are " + ", ".join(names),
            )


def _with_flag(rule: TransformRule, outputs: Sequence[Output]) -> tuple[Column, ...]:
    columns = tuple(o.column for o in outputs)
    if not rule.soft_delete:
        return columns
    if rule.soft_delete.lower() in {c.name.lower() for c in columns}:
        raise ConfigError(
            f"soft_delete names {rule.soft_delete}, which the table has already",
            where=rule.where,
            remedy="name the flag otherwise, e.g. _deleted",
        )
    return (*columns, Column(rule.soft_delete, BOOL, nullable=False))


def _check(
    rule: TransformRule,
    scope: SourceScope,
    outputs: Sequence[Output],
    where_true: Typed | None,
    program: Program,
) -> None:
    """Let DuckDB bind everything; if it refuses, find the expression."""
    if program.check() is None:
        return
    singles = [(o.text, "projection", o.value) for o in outputs if o.value.column is None]
    if where_true is not None:
        singles.append((rule.filter, "filter", where_true))
    for text, what, value in singles:
        reason = Program(scope, [value]).check()
        if reason is not None:
            raise ConfigError(
                f"{what} `{text}`: it fails whatever the row: {reason}",
                where=rule.place(text),
                remedy="mend the literal or pattern in it",
            )
    raise ConfigError(
        f"a row rule fails whatever the row: {program.check()}",
        where=rule.where,
        remedy="mend the literal or pattern in it",
    )


def _columns(values: object) -> frozenset[str]:
    reads = [v.inputs for v in values]  # type: ignore[attr-defined]
    return frozenset(k for k in frozenset[str]().union(*reads) if is_column(k))
