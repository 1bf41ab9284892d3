"""Columns of Paimon tables: their ids, keys and options, version by version.

In: Arrow types of targets. Out: schemas as Paimon has them, each a file `schema/schema-<id>` that
never changes. A column keeps its id under another name, by which older files are read; one that is
dropped and added again gets a new one.

An Arrow type that no Paimon type tells is in an option of the table, by the column's id. So is a
number that each of our changes of columns gets: by it a change that was broken off before its
commit is told from one that another engine made.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

import pyarrow as pa
from pypaimon.common.json_util import JSON
from pypaimon.schema.data_types import (
    AtomicInteger,
    DataField,
    PyarrowFieldParser,
    reassign_field_id,
)
from pypaimon.schema.table_schema import TableSchema

from resources.sinks.lake_types import LakeTypes, read_type, write_type
from resources.sinks.paimon_options import ENGINE
from resources.sinks.parquet_store import ParquetStore

CHANGE = "cdc-assets.change"
"""Option with the number of our last change of columns."""
_ARROW = "cdc-assets.arrow."
_BUCKET = "bucket"
_BUCKETS = "cdc-assets.buckets"
_FIXED = {"file.format": "parquet", "manifest.format": "avro"}


@dataclass(frozen=True)
class Layout:
    """What a table's files are laid out by.

    Args:
        key: The key columns of a `merge` target; empty for one that is appended to.
        partition_by: The partition columns.
        buckets: Into how many buckets the keys of a partition go.
        options: Options of the table as a person gave them.
    """

    key: tuple[str, ...]
    partition_by: tuple[str, ...]
    buckets: int = 1
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, text: str) -> Layout:
        """Read what `text` returned."""
        found = json.loads(text)
        options = tuple((k, v) for k, v in found["options"])
        return cls(tuple(found["key"]), tuple(found["partition_by"]), found["buckets"], options)

    @property
    def text(self) -> str:
        """The layout as text, for `Change.layout`."""
        return json.dumps(asdict(self))

    @property
    def crosses(self) -> bool:
        """Whether a key may move from partition to partition."""
        return bool(self.key) and not set(self.partition_by) <= set(self.key)

    @property
    def bucket_option(self) -> int:
        """The table's option `bucket`: none fixed where there is no key, or keys may move."""
        return -1 if not self.key or self.crosses else self.buckets


def new_schema(schema: pa.Schema, layout: Layout, types: LakeTypes) -> TableSchema:
    """Return the first schema of a table, its id 0.

    Args:
        schema: The columns, in the Arrow types of the target.
        layout: Keys and partitions.
        types: How Arrow types are stored.
    """
    empty = TableSchema(
        id=-1,
        highest_field_id=-1,
        options={**dict(layout.options), **_FIXED},
    )
    return next_schema(empty, schema, layout, types, {})


def next_schema(
    old: TableSchema,
    schema: pa.Schema,
    layout: Layout,
    types: LakeTypes,
    origins: Mapping[str, int],
) -> TableSchema:
    """Return the schema after another.

    Args:
        old: The schema before.
        schema: The columns afterwards, in the Arrow types of the target.
        layout: Keys and partitions afterwards.
        types: How Arrow types are stored.
        origins: Ids of those columns that were there before.
    """
    highest = AtomicInteger(old.highest_field_id)
    fields = []
    options = {k: v for k, v in old.options.items() if not k.startswith(_ARROW)}
    for column in schema:
        stored = types.stored(column.type)
        required = column.name in layout.key
        type_ = PyarrowFieldParser.to_paimon_type(stored, not required)
        number = origins.get(column.name)
        if number is None:
            number = highest.increment_and_get()
        fields.append(DataField(number, column.name, reassign_field_id(type_, highest)))
        if column.type != stored:
            options[f"{_ARROW}{number}"] = write_type(column.type)
    options[_BUCKET], options[_BUCKETS] = str(layout.bucket_option), str(layout.buckets)
    if not layout.key:
        options.pop(ENGINE, None)
    options[CHANGE] = secrets.token_hex(8)
    return TableSchema(
        id=old.id + 1,
        fields=fields,
        highest_field_id=highest.get(),
        partition_keys=list(layout.partition_by),
        primary_keys=list(layout.key),
        options=options,
        comment=old.comment,
    )


def layout_of(schema: TableSchema) -> Layout:
    """Return what a schema lays its files out by."""
    told = schema.options.get(_BUCKETS) or schema.options.get(_BUCKET, "1")
    return Layout(tuple(schema.primary_keys), tuple(schema.partition_keys), max(int(told), 1))


def made_for(schema: TableSchema, types: LakeTypes) -> pa.Schema:
    """Return a schema's columns in the Arrow types they were made for."""
    found = []
    for field in schema.fields:
        natural = PyarrowFieldParser.from_paimon_type(field.type)
        told = schema.options.get(f"{_ARROW}{field.id}")
        made = None if told is None else read_type(told)
        is_so = made is not None and types.stored(made) == types.stored(natural)
        found.append(pa.field(field.name, made if is_so else _plain(natural)))
    return pa.schema(found)


def stored_as(schema: TableSchema) -> pa.Schema:
    """Return a schema's columns in the Arrow types of its files."""
    return pa.schema(
        [(f.name, _plain(PyarrowFieldParser.from_paimon_type(f.type))) for f in schema.fields]
    )


def ids_of(schema: TableSchema) -> dict[str, int]:
    """Return the ids of a schema's columns."""
    return {f.name: f.id for f in schema.fields}


class Schemas:
    """The schema files of one table.

    Args:
        store: The place.
        folder: The table's folder.
    """

    def __init__(self, store: ParquetStore, folder: str) -> None:
        self._store = store
        self._folder = f"{folder}/schema"
        self._known: dict[int, TableSchema] = {}

    def latest(self) -> TableSchema | None:
        """Return the newest schema, None if there is no table."""
        names = [n.rpartition("/")[2] for n in self._store.list(self._folder)]
        numbers = [n.removeprefix("schema-") for n in names if n.startswith("schema-")]
        found = [int(n) for n in numbers if n.isdecimal()]
        with suppress(FileNotFoundError):  # the table is being dropped
            return self.get(max(found)) if found else None
        return None

    def get(self, number: int) -> TableSchema:
        """Return a schema by its id.

        Raises:
            FileNotFoundError: There is none.
        """
        if number not in self._known:
            content = self._store.read(f"{self._folder}/schema-{number}").decode()
            self._known[number] = TableSchema.from_json(content)
        return self._known[number]

    def put(self, schema: TableSchema) -> bool:
        """Write a new schema; returns whether there was none of its id."""
        content = JSON.to_json(schema, indent=2).encode()
        return self._store.put_new(f"{self._folder}/schema-{schema.id}", content)


def _plain(type_: pa.DataType) -> pa.DataType:
    """Return a type whose inner fields are named as Arrow names them, all nullable."""
    if pa.types.is_list(type_):
        return pa.list_(_plain(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([(f.name, _plain(f.type)) for f in type_])
    return type_
