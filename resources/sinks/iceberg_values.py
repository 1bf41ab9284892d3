"""Values of columns as Iceberg's manifests hold them: bounds, partitions, counts of a data file.

In: data files as the lake has them. Out: their entries in a manifest, and back. Table spec,
"Manifests" and "Appendix D: Single-value serialization": https://iceberg.apache.org/spec
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from pyiceberg.conversions import from_bytes, to_bytes
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    PrimitiveType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from resources.sinks.lake_format import DataFile

_LONGEST = 256
"""Bytes of text whose bounds are kept; longer ones are not, as nothing shorter is exact."""
_DAY_ZERO = dt.date(1970, 1, 1)
_TIME_ZERO = dt.datetime(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
_BOUNDED = (BooleanType, IntegerType, LongType, DecimalType, StringType)
_TIMES = (DateType, TimestampType, TimestamptzType)

Fields = Mapping[str, tuple[int, IcebergType]]
"""Field id and type of a table's columns, by name."""


class FileBounds(Mapping[str, tuple[Any, Any]]):
    """Bounds of a file's columns, decoded as they are asked for.

    Args:
        file: The manifest's entry.
        fields: Columns of the table.
    """

    def __init__(self, file: IcebergFile, fields: Fields) -> None:
        self._lower = file.lower_bounds or {}
        self._upper = file.upper_bounds or {}
        self._fields = fields

    def __getitem__(self, name: str) -> tuple[Any, Any]:
        """Return least and greatest value of a column."""
        number, type_ = self._fields[name]
        if not isinstance(type_, PrimitiveType) or not isinstance(type_, (*_BOUNDED, *_TIMES)):
            raise KeyError(name)
        low, high = self._lower[number], self._upper[number]
        return _read(type_, low), _read(type_, high)

    def __iter__(self) -> Iterator[str]:
        """Yield the columns whose bounds are known."""
        for name, (number, type_) in self._fields.items():
            known = number in self._lower and number in self._upper
            if known and isinstance(type_, (*_BOUNDED, *_TIMES)):
                yield name

    def __len__(self) -> int:
        """Return how many bounds are known."""
        return sum(1 for _ in self)


def fields_of(schema: Schema) -> Fields:
    """Return the columns of a schema by name."""
    return {f.name: (f.field_id, f.field_type) for f in schema.fields}


def partition_of(file: IcebergFile, spec: PartitionSpec, schema: Schema) -> dict[str, Any]:
    """Return the values of a file's partition columns, as Python values of the stored types."""
    found = {}
    there = {f.field_id: f for f in schema.fields}
    for place, field in enumerate(spec.fields):
        source = there.get(field.source_id)
        if source is not None and isinstance(field.transform, IdentityTransform):
            found[source.name] = _value(source.field_type, file.partition[place])
    return found


def manifest_file(file: DataFile, url: str, schema: Schema, spec: PartitionSpec) -> IcebergFile:
    """Return a new data file as a manifest has it.

    Args:
        file: The file.
        url: Where it is.
        schema: The table's columns.
        spec: The table's partition columns.
    """
    fields = fields_of(schema)
    told = {n: b for n, b in file.bounds.items() if n in fields and _is_told(fields[n][1], b)}
    partition = []
    for part in spec.fields:
        source = schema.find_field(part.source_id)
        partition.append(_number(source.field_type, file.partition.get(source.name)))
    made = IcebergFile.from_args(
        content=DataFileContent.DATA,
        file_path=url,
        file_format=FileFormat.PARQUET,
        partition=Record(*partition),
        record_count=file.rows,
        file_size_in_bytes=file.size,
        column_sizes={},
        value_counts={fields[n][0]: file.rows for n in file.nulls if n in fields},
        null_value_counts={fields[n][0]: c for n, c in file.nulls.items() if n in fields},
        nan_value_counts={},
        lower_bounds={fields[n][0]: _bytes(fields[n][1], b[0]) for n, b in told.items()},
        upper_bounds={fields[n][0]: _bytes(fields[n][1], b[1]) for n, b in told.items()},
        key_metadata=None,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
    )
    made.spec_id = spec.spec_id
    return made


def _is_told(type_: IcebergType, bounds: tuple[Any, Any]) -> bool:
    if isinstance(type_, StringType):
        return all(isinstance(b, str) and len(b.encode()) <= _LONGEST for b in bounds)
    return isinstance(type_, (*_BOUNDED, *_TIMES)) and None not in bounds


def _bytes(type_: IcebergType, value: Any) -> bytes:  # noqa: ANN401 - any value of a column
    assert isinstance(type_, PrimitiveType)
    return to_bytes(type_, _number(type_, value))


def _read(type_: PrimitiveType, content: bytes) -> Any:  # noqa: ANN401 - any value of a column
    if isinstance(type_, LongType) and len(content) == 4:  # the column was an int then
        return from_bytes(IntegerType(), content)
    return _value(type_, from_bytes(type_, content))


def _number(type_: IcebergType, value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Return a value as manifests hold it: dates and times are numbers."""
    if isinstance(value, dt.datetime):
        return (value.replace(tzinfo=None) - _TIME_ZERO) // _MICROSECOND
    return (value - _DAY_ZERO).days if isinstance(value, dt.date) else value


def _value(type_: IcebergType, value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Return a manifest's value as the stored type has it; None for times no calendar has."""
    if value is None or not isinstance(type_, _TIMES):
        return value
    try:
        if isinstance(type_, DateType):
            return value if isinstance(value, dt.date) else _DAY_ZERO + dt.timedelta(days=value)
        zone = dt.UTC if isinstance(type_, TimestamptzType) else None
        return (_TIME_ZERO + value * _MICROSECOND).replace(tzinfo=zone)
    except OverflowError:
        return None
