"""Masks and excluded columns that no table has: most are slips of the pen that leave a value clear.

In: the rules of a pipeline file and the tables they mean. Out: warnings with file and line. They
are no errors, since a mask may be written before its column is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cdc_assets.settings import PipelineSettings
from resources.model.table import TableSchema
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.transforms.rule import TransformRule


def find_unprotected(settings: PipelineSettings, pipeline: Pipeline) -> list[str]:
    """Return warnings about masks and excluded columns that none of their rule's tables has.

    Args:
        settings: The pipeline's.
        pipeline: The opened pipeline; the source is asked for columns if a rule hides any.

    Raises:
        ConfigError: A regular expression of a rule is none.
        TransientError: The source cannot be reached.
    """
    rules = pipeline.options.transforms.rules
    if not any(rule.masks or rule.exclude for rule in rules):
        return []
    tables = pipeline.source.list_tables()
    meant = {
        number: [table for table in tables if rule.applies(table)]
        for number, rule in enumerate(rules)
        if rule.masks or rule.exclude
    }
    wanted = sorted({table for found in meant.values() for table in found})
    schemas = pipeline.source.read_schemas(wanted) if wanted else {}
    return [
        f"{settings.where('transform', number, *path)}: {words}"
        for number, found in meant.items()
        for path, words in unmatched(rules[number], found, schemas)
    ]


def unmatched(
    rule: TransformRule, tables: Sequence[TableId], schemas: Mapping[TableId, TableSchema]
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return what a rule hides that no table has, with the key it is written at.

    Patterns with wildcards are not among it: they are written to be wide.

    Args:
        rule: The rule.
        tables: Tables it means.
        schemas: The tables' columns; tables that are not there do not count.
    """
    names = sorted({name for table in tables if table in schemas for name in schemas[table].names})
    if not names:
        return []
    lowered = {name.lower() for name in names}
    hidden: list[tuple[tuple[str | int, ...], str]] = [
        (("mask", mask.column), mask.column) for mask in rule.masks
    ]
    hidden += [
        (("exclude", number), name)
        for number, name in enumerate(rule.exclude)
        if not set(name) & set("*?[")
    ]
    return [(path, _words(name, names)) for path, name in hidden if name.lower() not in lowered]


def _words(column: str, names: Sequence[str]) -> str:
    near = get_close_matches(column, names, n=1)
    question = f"; did you mean `{near[0]}`?" if near else ""
    return f"no table of this rule has a column `{column}`, so nothing is hidden by it{question}"
