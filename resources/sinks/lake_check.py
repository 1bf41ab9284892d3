"""What keeps a target from being held in a lake format, and whether a table there fits it.

In: targets and snapshots. Out: findings before anything is written, `SchemaMismatch` after.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.types as t

from resources.errors import ConfigError
from resources.model.source import Finding
from resources.sinks import shape
from resources.sinks.contract import TargetTable
from resources.sinks.lake_format import Snapshot
from resources.sinks.lake_types import LakeTypes


def lake_findings(
    target: TargetTable, types: LakeTypes, read: Callable[[], Snapshot | None]
) -> list[Finding]:
    """Return everything that keeps the target from being held exactly.

    Args:
        target: The target.
        types: How the format stores Arrow types.
        read: Reads the table as it is now; only asked where nothing else is wrong.
    """
    findings = shape.shape_findings(target, str.lower)
    findings += _type_findings(target, types) + _partition_findings(target)
    live = None if findings else read()
    if live is None:
        return findings
    wanted = shape.target_schema(target)
    if not _fits(live.schema, wanted, types):
        shown = shape.show_schema(live.schema), shape.show_schema(wanted)
        return [shape.misfit_finding(target, *shown)]
    if live.partition_by != target.partition_keys:
        message = (
            f"{target.id}: it is partitioned by {list(live.partition_by)}, "
            f"not by {list(target.partition_keys)}"
        )
        remedy = "set `partition_keys` to what it is, or drop the table and load it again"
        return [Finding("error", "partition_mismatch", message, remedy, target.schema.table)]
    return []


def check_fit(target: TargetTable, live: Snapshot, types: LakeTypes) -> None:
    """Refuse a table whose columns are not the target's, in whatever order.

    Raises:
        SchemaMismatch: Shows both shapes.
    """
    wanted = shape.target_schema(target)
    if not _fits(live.schema, wanted, types):
        raise shape.misfit(target.id, shape.show_schema(live.schema), shape.show_schema(wanted))


def require_types(target: TargetTable, types: LakeTypes) -> None:
    """Refuse a target that cannot be created.

    Raises:
        ConfigError: Names the first column at fault.
    """
    for finding in (*_type_findings(target, types), *_partition_findings(target)):
        raise ConfigError(finding.message, where=str(target.id), remedy=finding.remedy)


def can_partition(type_: pa.DataType) -> bool:
    """Return whether the values of a type can be those of a partition column."""
    return not (
        t.is_nested(type_) or t.is_floating(type_) or t.is_binary(type_) or t.is_large_binary(type_)
    )


def _fits(live: pa.Schema, wanted: pa.Schema, types: LakeTypes) -> bool:
    """Return whether files of one schema can hold rows of the other."""
    if set(live.names) != set(wanted.names):
        return False
    return all(_held_alike(live.field(f.name).type, f.type, types) for f in wanted)


def _held_alike(a: pa.DataType, b: pa.DataType, types: LakeTypes) -> bool:
    if t.is_decimal(a) or t.is_decimal(b):  # wide ones are text, whatever their scale
        return bool(a == b) or (types.stored(a) == types.stored(b) != pa.string())
    return bool(types.stored(a) == types.stored(b))


def _type_findings(target: TargetTable, types: LakeTypes) -> list[Finding]:
    findings = []
    for column in target.schema.columns:
        if types.stored(column.type) is None:
            message = (
                f"{target.id}: column {column.name!r} ({column.source_type or column.type}) "
                f"is Arrow {column.type}, which this lake format cannot hold exactly"
            )
            remedy = "exclude the column"
            if t.is_decimal(column.type):
                remedy = "set `types: {decimal_overflow: text}` on the sink, or exclude the column"
            findings.append(Finding("error", "type_refused", message, remedy, target.schema.table))
    return findings


def _partition_findings(target: TargetTable) -> list[Finding]:
    findings = []
    columns = {f.name: f.type for f in shape.target_schema(target)}
    for name in target.partition_keys:
        if name not in columns:
            message = f"{target.id}: the partition column {name!r} is not in the table"
        elif not can_partition(columns[name]):
            message = f"{target.id}: the partition column {name!r} is {columns[name]}"
        else:
            continue
        remedy = "partition by whole numbers, decimals, text, dates or times"
        findings.append(Finding("error", "partition_invalid", message, remedy, target.schema.table))
    return findings
