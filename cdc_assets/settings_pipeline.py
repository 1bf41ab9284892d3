"""The `pipeline`, `dirty_data` and `rate` sections of a pipeline file.

In: what the file says. Out: immutable settings in plain units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.settings_evolution import SchemaChanges, SchemaChangesOrWord
from cdc_assets.settings_route import SOURCE, TargetTemplate, split_target
from cdc_assets.settings_types import (
    Count,
    Duration,
    Kind,
    LocalPath,
    Part,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Section,
    TablePattern,
)

TypeMapping = Annotated[
    Literal[
        "tinyint1-to-bool",
        "bigint-unsigned-to-bigint",
        "char-to-string",
        "longtext-to-bytes",
        "to-string",
        "to-nullable",
    ],
    Kind("name"),
]
"""Names of Paimon's options of the same meaning."""


_LAGGING_SINKS = 30 * 86400.0


class Retention(Part):
    """How long things are kept."""

    change_log: PositiveDuration = 7 * 86400.0
    """Age at which closed windows of the change log are deleted, once every table applied them."""
    lagging: PositiveDuration | None = None
    """Age at which they are deleted though a table or a sink did not take them: it has to be
    loaded again then, and says so. Left out, they are kept as long as the only sink needs them,
    and for 30 days where there are several."""

    @model_validator(mode="after")
    def _check_lagging(self) -> Retention:
        if self.lagging is not None and self.lagging < self.change_log:
            raise PydanticCustomError(
                "lagging", "must not be less than `change_log`", {"at": ("lagging",)}
            )
        return self

    def longest(self, *, several: bool) -> float | None:
        """Return the age in seconds that no window outlives; None if there is none.

        Args:
            several: Whether several sinks share the change log.
        """
        if self.lagging is not None or not several:
            return self.lagging
        return max(self.change_log, _LAGGING_SINKS)


class PipelineOptions(Part):
    """How the pipeline runs."""

    window: Literal["day", "hour"] = "day"
    """Length of a partition of the change log and of the tables, in UTC commit time."""
    commit_interval: PositiveDuration = 10.0
    """Time after which what was captured is committed while a run follows."""
    segment_rows: PositiveCount = 1_000_000
    """Rows after which what was captured is committed."""
    segment_bytes: PositiveSize = 256_000_000
    """Bytes after which what was captured is committed."""
    apply_rows: PositiveCount = 1_000_000
    """Changes of one table that are reduced and merged at once."""
    follow_for: Duration = 0.0
    """How long a run keeps following after it has caught up; 0 ends it there."""
    report_interval: PositiveDuration = 60.0
    """A run logs at most one materialization per table in this time."""
    retention: Annotated[Retention, Section] = Retention()
    """How long things are kept."""
    schema_changes: SchemaChangesOrWord = SchemaChanges()
    """What becomes of a change of a table's shape: a policy for everything (`lenient` if left
    out), or a section."""
    match_routes: Literal["first", "all"] = "first"
    """Whether a table takes the first route that means it, or all of them."""
    target: TargetTemplate = "{database}.{table}"
    """Name of the targets of tables that no route means: `{database}.ods_{table}`; `{source}` is
    the name of the source, in a file with `sources`."""
    type_mapping: tuple[TypeMapping, ...] = ()
    """Other types than the source's own: `tinyint1-to-bool`, `bigint-unsigned-to-bigint` (a value
    that does not fit is a dirty row), `to-nullable`, `char-to-string`, `to-string`,
    `longtext-to-bytes`."""
    keep: Literal["all", "needed"] = "all"
    """What the change log has of rows: all columns but excluded ones, so that a later edit of a
    transform can be folded again, or only those that transforms and keys need."""
    reread: bool = True
    """Whether a table whose rows changed without row events is read again by the run that finds
    it; else it waits for its snapshot."""
    on_purged: Literal["fail", "resnapshot"] = "fail"
    """When the server has deleted log that was not read yet: fail with the remedy, or load the
    affected tables again."""
    memory: PositiveSize = 256_000_000
    """Bound of what a run buffers before it spills."""
    change_log: LocalPath | None = None
    """Folder or fsspec URL of the change log; `.cdc/<name>` if left out."""
    sensor_interval: Annotated[PositiveDuration, Field(ge=5)] = 30.0
    """How often the sensors look at the source; Dagster's daemon wakes every 5 seconds."""
    append: tuple[TablePattern, ...] = ()
    """Tables kept as append-only change logs (every change is a row) in place of merged rows."""

    def templates_for(self, source: str) -> tuple[str, str]:
        """Return templates of namespace and name of a target that no route names.

        Args:
            source: Which of `sources` the table is on, empty in a file with one source.
        """
        return split_target(self.target.replace(SOURCE, source))


class DirtyData(Part):
    """Rows that cannot be decoded, converted or written."""

    max_rows: Count = 1000
    """Open dirty rows of a table after which it stops."""
    max_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of a run's rows of a table after which it stops; `null` for no limit."""
    min_rows: Count = 10_000
    """Rows before the share is judged."""
    keep: PositiveDuration = 30 * 86400.0
    """Age at which dirty rows are deleted."""
    zero_dates: Literal["null", "dirty"] = "dirty"
    """`0000-00-00` and impossible dates: written as NULL, or set aside as dirty rows."""
    image: bool = True
    """Whether the row's own bytes are kept with it; without them it cannot be replayed."""

    @model_validator(mode="before")
    @classmethod
    def _read_null(cls, data: object) -> object:
        """Take YAML's bare `zero_dates: null` for the word."""
        if isinstance(data, dict) and "zero_dates" in data and data["zero_dates"] is None:
            return {**data, "zero_dates": "null"}
        return data


class Rate(Part):
    """Limits of what is read from the source server."""

    rows_per_second: Annotated[float, Field(gt=0)] | None = None
    """Rows per second; no limit if left out."""
    bytes_per_second: PositiveSize | None = None
    """Bytes per second; no limit if left out."""
