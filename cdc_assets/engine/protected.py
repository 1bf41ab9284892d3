"""Sees to it that a renamed column does not show what masks and exclusions hide.

In: statements and schemas as capture and copy meet them, before anything is stored. Out: nothing,
or an error that stops capture in front of the first row, until the pipeline file says what to do.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from resources.errors import ConfigError
from resources.model.change import TableNotice
from resources.model.table import TableId, TableSchema

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.transforms.rule import TransformRule


class Protection:
    """The columns a pipeline hides, followed through changes of their tables.

    Args:
        pipeline: The opened pipeline.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._told: dict[TableId, tuple[str, ...]] = {}
        self._seen: set[tuple[TableId, str]] = set()

    def check_statement(self, notice: TableNotice) -> None:
        """Look at what a statement made of a table.

        Raises:
            ConfigError: A hidden column has a new name that no rule hides.
        """
        if notice.shape is None:
            return
        rule = self._rule(notice.table)
        if rule is None:
            return
        self._told[notice.table] = notice.shape.names
        for name, origin in zip(notice.shape.names, notice.origins, strict=False):
            if origin and _hides(rule, origin) and not _hides(rule, name):
                raise _shown(rule, notice.table, origin, [name], notice.position)

    def check_schema(self, schema: TableSchema) -> None:
        """Look at a schema before its first rows are stored.

        Where no statement said what became of the columns, a masked one that is gone while others
        are new may be one of those. A polled table is followed by its key, which its position
        names in clear.

        Raises:
            ConfigError: It may; or the key of a polled table is masked.
        """
        seen = (schema.table, schema.fingerprint())
        if seen not in self._seen:
            self._check_unseen(schema)
            self._seen.add(seen)

    def _check_unseen(self, schema: TableSchema) -> None:
        rule = self._rule(schema.table)
        masker = self._pipeline.options.transforms.masker(schema)
        if self._pipeline.options.history == "log" and masker is not None and masker.hidden_key:
            raise ConfigError(
                f"{', '.join(masker.hidden_key)} of {schema.table} is masked, and its values are "
                "the position that a polled table is followed by",
                where=(rule.where if rule is not None else "") or str(schema.table),
                remedy="take the mask away, or read the table from the server's log",
            )
        if rule is None or self._told.get(schema.table) == schema.names:
            return
        known = self._pipeline.log.segments.list_schemas(schema.table)
        if known:
            before = {name.lower() for name in known[0].names}
            now = {name.lower() for name in schema.names}
            masked = {mask.column.lower() for mask in rule.masks}
            gone = sorted((masked & before) - now)
            new = [n for n in schema.names if n.lower() not in before and not _hides(rule, n)]
            if gone and new:
                raise _shown(rule, schema.table, gone[0], new, "a row without a statement")

    def _rule(self, table: TableId) -> TransformRule | None:
        rule = self._pipeline.options.transforms.rule(table)
        return rule if rule is not None and (rule.masks or rule.exclude) else None


def _hides(rule: TransformRule, column: str) -> bool:
    """Return whether a rule masks a column or leaves it out."""
    name = column.lower()
    return any(mask.column.lower() == name for mask in rule.masks) or any(
        fnmatchcase(name, pattern.lower()) for pattern in rule.exclude
    )


def _shown(
    rule: TransformRule, table: TableId, old: str, new: list[str], position: str
) -> ConfigError:
    names = ", ".join(new)
    return ConfigError(
        f"column {old} of {table}, which the pipeline hides, was renamed to {names} or is gone "
        f"while {names} is new (at {position}): nothing of it is stored",
        where=rule.where or str(table),
        remedy=f"name {names} under `mask` or `exclude` as well, beside {old}; if it may be seen, "
        f"and rows with {old} are all read, take {old} out of the rule",
    )
