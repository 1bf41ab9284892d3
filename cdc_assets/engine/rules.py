"""The transform rules of a pipeline: which one a table takes, compiled once per schema version.

In: rules of a pipeline file. Out: maskers for capture and copy, transforms for what follows. The
first rule whose pattern means a table is the one it takes, but masks and exclusions of every rule
that means it act: what one rule hides, no other shows. sqlglot and DuckDB are imported only where a
rule asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from resources.errors import ConfigError
from resources.model.table import TableId, TableSchema

if TYPE_CHECKING:
    from cdc_assets.engine.transforms.mask import Masker
    from cdc_assets.engine.transforms.rule import TransformRule
    from cdc_assets.engine.transforms.transform import Transform
    from cdc_assets.engine.type_mapping import TypeMapping


@dataclass(frozen=True)
class Transforms:
    """The rules, in the order of the file.

    Args:
        rules: They.
        keep: Whether whole rows are stored, but for what is excluded, or the columns that
            something needs.
        type_mapping: The types in which expressions see columns.
    """

    rules: tuple[TransformRule, ...] = ()
    keep: Literal["all", "needed"] = "all"
    type_mapping: tuple[TypeMapping, ...] = ()
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
        """Return the schema the change log has of a table: as masks and exclusions leave it."""
        masker = self.masker(schema)
        return schema if masker is None else masker.schema

    def _masker(self, schema: TableSchema) -> Masker | None:
        found = [r for r in self.rules if (r.masks or r.exclude) and r.applies(schema.table)]
        narrow = self.keep == "needed" and any(_shapes(r) for r in self.rules)
        if not found and not narrow:
            return None
        from cdc_assets.engine.transforms.mask import compile_masks

        masker = compile_masks(found, schema)
        return self._narrowed(masker) if narrow else masker

    def _narrowed(self, masker: Masker) -> Masker:
        """Return a masker that leaves out what no rule needs, too.

        Where the rule does not fit the table, whole rows are stored: the table stops where it is
        merged, and all others go on.
        """
        from cdc_assets.engine.type_mapping import mapped_schema

        stored = masker.schema
        try:
            transform = self.transform(mapped_schema(stored, self.type_mapping), append=False)
        except ConfigError:
            return masker
        if transform is None or transform.needed >= set(stored.names):
            return masker
        columns = tuple(c for c in stored.columns if c.name in transform.needed)
        return replace(masker, schema=replace(stored, columns=columns, partial=True))


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
