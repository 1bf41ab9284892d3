"""The `sink` section of a pipeline file.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cdc_assets.settings_types import (
    Duration,
    LocalPath,
    Part,
    PositiveCount,
    PositiveSize,
    Section,
)


class DuckDBTypes(Part):
    """What to do with values DuckDB cannot hold."""

    decimal_overflow: Literal["refuse", "text"] = "refuse"
    """A DECIMAL of more than 38 digits: refuse the table, or keep its values as text."""


class DuckDBSinkSettings(Part):
    """Tables in one DuckDB file; schemas are the source's databases."""

    type: Literal["duckdb"]
    """DuckDB."""
    path: LocalPath
    """The database file."""
    memory_limit: PositiveSize | None = None
    """Memory DuckDB may take; its own default if left out."""
    threads: PositiveCount | None = None
    """Threads DuckDB may use; its own default if left out."""
    lock_timeout: Duration = 30.0
    """How long to wait for another process that has the file open."""
    types: Annotated[DuckDBTypes, Section] = DuckDBTypes()
    """What to do with values DuckDB cannot hold."""


class MemorySinkSettings(Part):
    """Tables in this process only, for tests and trials."""

    type: Literal["memory"]
    """Memory of this process."""
