"""Masks and excluded columns: what acts in capture and copy, before anything is stored.

In: rules and a table's schema. Out: `Masker`, which turns batches of the source's schema into
batches of the masked one. Errors name columns, never values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from cdc_assets.engine.transforms.mask_values import DIGEST, VALUES, digests_of, masked_key
from cdc_assets.engine.transforms.rule import Mask, TransformRule
from cdc_assets.engine.transforms.typed import is_bytes, is_text, words
from cdc_assets.engine.workers import side_by_side
from resources.errors import ConfigError
from resources.model.change import CHANGE_FIELDS, OP, RejectedRow
from resources.model.table import Column, TableSchema

_ONE_TO_ONE = ("hash", "hmac")
_ANY_TYPE = ("hash", "hmac", "redact")
_TEXT_ONLY = ("email", "phone")


@dataclass(frozen=True)
class Masker:
    """Masks and exclusions compiled for one schema of one table.

    Args:
        source: The schema rows come in.
        schema: The schema rows go out in.
        masks: The masks by the column's name.
    """

    source: TableSchema
    schema: TableSchema
    masks: dict[str, Mask]

    @property
    def acts(self) -> bool:
        """Whether there is anything to do; `apply` gives the same rows back where not."""
        return bool(self.masks) or len(self.schema.columns) != len(self.source.columns)

    @property
    def hidden_key(self) -> tuple[str, ...]:
        """The masked columns of the key: what a row is known by is not what the source knows."""
        return tuple(name for name in self.source.key if name in self.masks)

    def apply(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows without excluded columns and with masked values.

        Args:
            rows: A batch of the source's schema, with the columns of changes or without.
        """
        if not self.acts:
            return rows
        masked = [c for c in self.schema.columns if c.name in self.masks]
        made = side_by_side(lambda c: self._column(rows, c), masked)
        known = {c.name: values for c, values in zip(masked, made, strict=True)}
        arrays = [known.get(c.name, rows.column(c.name)) for c in self.schema.columns]
        fields = [
            c.field().with_nullable(c.nullable or rows.schema.field(c.name).nullable)
            for c in self.schema.columns
        ]
        if OP in rows.schema.names:
            arrays += [rows.column(f.name) for f in CHANGE_FIELDS]
            fields += CHANGE_FIELDS
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def apply_rejected(self, row: RejectedRow) -> RejectedRow:
        """Return a row that could not be decoded without what may not be stored.

        Its bytes are dropped, since they hold every value; its image and key are masked.
        """
        if not self.acts:
            return row
        return replace(row, raw=b"", image=self._image(row.image), key=self._key(row.key))

    def _column(self, rows: pa.RecordBatch, column: Column) -> pa.Array:
        values, mask = rows.column(column.name), self.masks.get(column.name)
        return values if mask is None else _masked(values, mask, column.type)

    def _image(self, image: bytes) -> bytes:
        if not image:
            return image
        with pa.ipc.open_stream(image) as reader:
            table = reader.read_all()
        keep = [c for c in self.schema.columns if c.name in table.column_names]
        batch = table.combine_chunks().to_batches()[0]
        arrays = [self._column(batch, c) for c in keep]
        masked = pa.RecordBatch.from_arrays(arrays, names=[c.name for c in keep])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, masked.schema) as writer:
            writer.write_batch(masked)
        return bytes(sink.getvalue())

    def _key(self, key: str) -> str:
        """Return a key's text with masked columns by their digests."""
        if not key or not self.hidden_key:
            return key
        values: dict[str, Any] = json.loads(key)
        for name, mask in self.masks.items():
            if values.get(name) is not None:
                type_ = self.source.column(name).type
                values[name] = masked_key(values[name], type_, mask)
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def compile_masks(rules: Sequence[TransformRule], schema: TableSchema) -> Masker:
    """Compile the masks and exclusions of the rules that mean a table.

    A rule for several tables may name columns that one of them does not have; a rule that names
    its table in full may not, since a misspelt mask would store what it should hide.

    Args:
        rules: The rules.
        schema: The table as its source has it.

    Raises:
        ConfigError: A mask that does not fit its column, or hides the key.
    """
    excluded = _excluded(rules, schema)
    masks: dict[str, Mask] = {}
    for rule in rules:
        for mask in rule.masks:
            column = _column_of(mask, schema)
            if column is None or column.name in excluded:
                continue
            if column.name in masks:
                raise ConfigError(
                    f"column {column.name} of {schema.table} has two masks",
                    where=mask.where or rule.where,
                    remedy="leave one of them",
                )
            _check(mask, column, schema, mask.where or rule.where)
            masks[column.name] = mask
    columns = [_shape(c, masks.get(c.name)) for c in schema.columns if c.name not in excluded]
    masked = TableSchema(schema.table, tuple(columns), schema.key, schema.comment)
    return Masker(schema, masked, masks)


def _excluded(rules: Sequence[TransformRule], schema: TableSchema) -> set[str]:
    found: set[str] = set()
    for rule in rules:
        for pattern in rule.exclude:
            hits = {n for n in schema.names if fnmatchcase(n.lower(), pattern.lower())}
            lost = sorted(hits & set(schema.key))
            if lost:
                raise ConfigError(
                    f"exclude {pattern} takes the key {', '.join(lost)} of {schema.table} away",
                    where=rule.where,
                    remedy="mask it by hash or hmac instead",
                )
            found |= hits
    return found


def _column_of(mask: Mask, schema: TableSchema) -> Column | None:
    """Return the column a mask names; one that a table does not have, or not yet, hides nothing."""
    return next((c for c in schema.columns if c.name.lower() == mask.column.lower()), None)


def _check(mask: Mask, column: Column, schema: TableSchema, where: str) -> None:
    def refuse(message: str, remedy: str) -> ConfigError:
        return ConfigError(
            f"mask {mask.kind} of {column.name}: {message}", where=where, remedy=remedy
        )

    if column.name in schema.key and mask.kind not in _ONE_TO_ONE:
        raise refuse("it would make different keys one", "mask keys by hash or hmac")
    if pa.types.is_nested(column.type):
        raise refuse(f"the column is {words(column.type)}", "exclude the column")
    takes_bytes = mask.kind not in _TEXT_ONLY and is_bytes(column.type)
    if mask.kind not in _ANY_TYPE and not is_text(column.type) and not takes_bytes:
        raise refuse(f"the column is {words(column.type)}", "use hash, hmac or redact")
    if mask.kind == "hmac" and not mask.salt:
        raise refuse("it has no key", "give it one as salt, from a secret")
    if min(mask.keep_first, mask.keep_last, mask.length) < 0:
        raise refuse("a length is negative", "count from 0")
    if len(mask.character) != 1 or (is_bytes(column.type) and ord(mask.character) > 127):
        raise refuse("character is not one character", "give it one, e.g. *")


def _shape(column: Column, mask: Mask | None) -> Column:
    if mask is None:
        return column
    plain = replace(column, kind="plain", labels=(), generated=False)
    if mask.kind in _ONE_TO_ONE:
        return replace(plain, type=pa.string(), source_type=f"char({DIGEST})", charset="ascii")
    if mask.kind == "redact" and not (is_text(column.type) or is_bytes(column.type)):
        return replace(plain, nullable=True, kind=column.kind)
    return replace(plain, source_type="longtext" if is_text(column.type) else "longblob")


def _masked(values: pa.Array, mask: Mask, type_: pa.DataType) -> pa.Array:
    if mask.kind in _ONE_TO_ONE:
        return digests_of(values, mask)
    make: Callable[[pa.Array, Mask], pa.Array] = VALUES[mask.kind]
    found = make(values, mask)
    return found if found.type == type_ else found.cast(type_)
