"""The transform rules of a pipeline: which one a table takes, compiled once per schema version.

In: rules of a pipeline file. Out: maskers for capture and copy, transforms for what follows. The
first rule whose pattern means a table is the one it takes, but masks and exclusions of every rule
that means it act: what one rule hides, no other shows. sqlglot and DuckDB are imported only where a
rule asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from resources.model.table import TableId, TableSchema

if TYPE_CHECKING:
    from cdc_assets.engine.transforms.mask import Masker
    from cdc_assets.engine.transforms.rule import TransformRule
    from cdc_assets.engine.transforms.transform import Transform


@dataclass(frozen=True)
class Transforms:
    """The rules, in the order of the file."""

    rules: tuple[TransformRule, ...] = ()
    _masks: dict[tuple[TableId, str], Masker | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    def rule(self, table: TableId) -> TransformRule | None:
        """Return the rule a table takes, None if no rule means it.

        It is the first one that does more than to hide columns, with what every rule hides.
        """
        found = [r for r in self.rules if r.applies(table)]
        if not found:
            return None
        return replace(
            next((r for r in found if _shapes(r)), found[0]),
            masks=tuple(mask for r in found for mask in r.masks),
            exclude=tuple(pattern for r in found for pattern in r.exclude),
        )

    def masker(self, schema: TableSchema) -> Masker | None:
        """Return what must act before anything of a table is stored, None for nothing.

        Raises:
            ConfigError: A mask does not fit the table's columns.
        """
        key = (schema.table, schema.fingerprint())
        if key not in self._masks:
            self._masks[key] = self._masker(schema)
        return self._masks[key]

    def transform(self, schema: TableSchema, append: bool) -> Transform | None:
        """Return the transform of a table's schema as the change log has it, None for nothing.

        Args:
            schema: The schema.
            append: Whether the target keeps every change as a row.

        Raises:
            ConfigError: An expression does not fit the table's columns.
        """
        rule = self.rule(schema.table)
        if rule is None or not _shapes(rule):
            return None
        from cdc_assets.engine.transforms.transform import compile_transform

        return compile_transform(rule, schema, append=append)

    def stored(self, schema: TableSchema) -> TableSchema:
        """Return the schema the change log has of a table: without what is masked or left out."""
        masker = self.masker(schema)
        return schema if masker is None else masker.schema

    def _masker(self, schema: TableSchema) -> Masker | None:
        found = [r for r in self.rules if (r.masks or r.exclude) and r.applies(schema.table)]
        if not found:
            return None
        from cdc_assets.engine.transforms.mask import compile_masks

        return compile_masks(found, schema)


def _shapes(rule: TransformRule) -> bool:
    """Return whether a rule does more than what acts before anything is stored."""
    return bool(
        rule.projection
        or rule.filter
        or rule.primary_keys
        or rule.partition_keys
        or rule.soft_delete
        or rule.rules
    )
