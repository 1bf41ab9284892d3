"""Whether the change log has the columns that the rules of a pipeline file read.

In: schema versions as they are stored. Out: why a version is not enough. With `keep: needed` the
rules of the time of capture decided what was stored; rules that were edited since may read more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_assets.engine.type_mapping import mapped_schema
from resources.errors import ConfigError
from resources.model.table import TableId, TableSchema

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import EngineOptions, Pipeline


def why_lacking(options: EngineOptions, schema: TableSchema) -> str:
    """Return what a stored schema version lacks for the rules of its table; empty for nothing.

    Args:
        options: With the rules.
        schema: The version, as the change log has it.
    """
    if not schema.partial:
        return ""
    rule = options.transforms.rule(schema.table)
    if rule is None or rule.reads_all:
        return "columns were left out of the change log (keep: needed) that the rules want now"
    mapped = mapped_schema(schema, options.type_mapping)
    try:
        options.transforms.transform(mapped, options.appends(schema.table))
    except ConfigError as error:
        return f"the change log has not all columns of the rules (keep: needed): {error.message}"
    return ""


def log_has_columns(pipeline: Pipeline, table: TableId) -> bool:
    """Return whether every version of a table in the change log has what its rules read."""
    versions = pipeline.log.segments.list_schemas(table)
    return not any(why_lacking(pipeline.options, schema) for schema in versions)
