"""Columns of an Iceberg table: Arrow types as Iceberg's, field ids, and what a column was made for.

In: schemas in the Arrow types of targets. Out: Iceberg schemas whose columns keep their ids, and
the Arrow types back. A field id is never given to another column, so that old versions of a table
and other engines read what was meant.

Data files hold names and no ids; the table's name mapping leads from one to the other. It is only
right as long as no name has changed its id, so the table remembers, for each id, the name and the
Arrow type that this sink gave it (property `cdc-assets.columns`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.types as t
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
)

from resources.sinks.lake_types import LakeTypes, read_type, write_type

COLUMNS = "cdc-assets.columns"
"""Table property: JSON of `{field id: [name, Arrow type or null]}`."""
NAME_MAPPING = "schema.name-mapping.default"
_PLAIN: Mapping[pa.DataType, IcebergType] = {
    pa.bool_(): BooleanType(),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.float32(): FloatType(),
    pa.float64(): DoubleType(),
    pa.date32(): DateType(),
    pa.timestamp("us"): TimestampType(),
    pa.timestamp("us", tz="UTC"): TimestamptzType(),
    pa.string(): StringType(),
    pa.binary(): BinaryType(),
}
_ARROW = {str(v): k for k, v in _PLAIN.items()}


def evolved_schema(
    schema: pa.Schema, types: LakeTypes, old: Schema | None, last_id: int, schema_id: int = 0
) -> Schema:
    """Return an Iceberg schema: columns that stay keep their ids, others get new ones.

    Args:
        schema: Wanted columns, in the Arrow types of the target.
        types: How Arrow types are stored.
        old: The columns there are, if any.
        last_id: Greatest field id ever given in the table.
        schema_id: Id of the new schema.
    """
    used = last_id

    def next_id() -> int:
        nonlocal used
        used += 1
        return used

    there = {f.name: f for f in old.fields} if old else {}
    fields = []
    for field in types.stored_schema(schema):
        kept = there.get(field.name)
        if kept is not None and arrow_type(kept.field_type) == field.type:
            fields.append(kept)
        elif kept is not None and _is_promotion(arrow_type(kept.field_type), field.type):
            fields.append(_optional(kept.field_id, field.name, iceberg_type(field.type, next_id)))
        else:
            number = next_id()
            fields.append(_optional(number, field.name, iceberg_type(field.type, next_id)))
    return Schema(*fields, schema_id=schema_id)


def iceberg_type(type_: pa.DataType, next_id: Callable[[], int]) -> IcebergType:
    """Return the Iceberg type of a stored type.

    Args:
        type_: One that `LakeTypes.stored` returns.
        next_id: Gives the ids of nested fields.
    """
    if t.is_decimal(type_):
        return DecimalType(type_.precision, type_.scale)
    if t.is_struct(type_):
        numbered = [(next_id(), f) for f in type_]
        inner = [_optional(i, f.name, iceberg_type(f.type, next_id)) for i, f in numbered]
        return StructType(*inner)
    if t.is_list(type_):
        number = next_id()
        element = iceberg_type(type_.value_type, next_id)
        return ListType(element_id=number, element=element, element_required=False)
    return _PLAIN[type_]


def arrow_type(type_: IcebergType) -> pa.DataType:
    """Return the stored type of an Iceberg type, of a foreign one what pyiceberg reads it as."""
    if str(type_) in _ARROW:
        return _ARROW[str(type_)]
    if isinstance(type_, DecimalType):
        return pa.decimal128(type_.precision, type_.scale)
    if isinstance(type_, StructType):
        return pa.struct([(f.name, arrow_type(f.field_type)) for f in type_.fields])
    if isinstance(type_, ListType):
        return pa.list_(arrow_type(type_.element_type))
    return schema_to_pyarrow(type_)


def made_for(metadata: TableMetadata, types: LakeTypes) -> pa.Schema:
    """Return the columns in the Arrow types they were made for, where nobody changed them since."""
    told = _columns(metadata)
    fields = []
    for field in metadata.schema().fields:
        stored = arrow_type(field.field_type)
        _, text = told.get(field.field_id, ("", None))
        wanted = stored if text is None else read_type(text)
        fields.append(pa.field(field.name, wanted if types.stored(wanted) == stored else stored))
    return pa.schema(fields)


def column_properties(iceberg: Schema, schema: pa.Schema, types: LakeTypes) -> dict[str, str]:
    """Return the table properties that go with a schema: `COLUMNS` and the name mapping."""
    told: dict[str, list[str | None]] = {}
    for field in iceberg.fields:
        type_ = schema.field(field.name).type
        text = None if types.stored(type_) == type_ else write_type(type_)
        told[str(field.field_id)] = [field.name, text]
    mapping = create_mapping_from_schema(iceberg).model_dump_json()
    return {COLUMNS: json.dumps(told, ensure_ascii=False), NAME_MAPPING: mapping}


def renamed(metadata: TableMetadata) -> list[str]:
    """Return columns whose names do not mean what they did when older files were written.

    Files are read by name: a column that another engine renamed, or dropped and added again, has
    another name or another id than in `COLUMNS`, or than in the table's former schemas if this
    sink has never changed its columns.
    """
    now = metadata.schema()
    if COLUMNS in metadata.properties:
        known = [(number, name) for number, (name, _) in _columns(metadata).items()]
    else:
        known = [(f.field_id, f.name) for s in metadata.schemas for f in s.fields]
    found = set()
    for field in now.fields:
        for number, name in known:
            if (number == field.field_id) != (name == field.name):
                found.add(field.name)
    return sorted(found)


def _columns(metadata: TableMetadata) -> dict[int, tuple[str, str | None]]:
    told: dict[str, Any] = json.loads(metadata.properties.get(COLUMNS, "{}"))
    return {int(number): (name, text) for number, (name, text) in told.items()}


def _optional(number: int, name: str, type_: IcebergType) -> NestedField:
    return NestedField(field_id=number, name=name, field_type=type_, required=False)


def _is_promotion(old: pa.DataType, new: pa.DataType) -> bool:
    """Return whether a column may get a type and keep its id (table spec, "Schema Evolution")."""
    if t.is_decimal128(old) and t.is_decimal128(new):
        return bool(old.scale == new.scale and old.precision <= new.precision)
    return (old, new) in ((pa.int32(), pa.int64()), (pa.float32(), pa.float64()))
