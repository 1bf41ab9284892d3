"""Folding a load into a live lake table, for one feed, with columns kept.

In: the files of a load, the live table, the feed. Out: the change that puts the loaded rows in the
place of the feed's, and before that the loaded rows whose keys other feeds have. Loaded files go in
as they are, unless a row is left out, a column kept, or a type was widened meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.failpoints import failpoint
from resources.sinks.contract import Feed
from resources.sinks.lake_changes import LakeChanges, Mask
from resources.sinks.lake_convert import in_live_types, require_wider
from resources.sinks.lake_files import FileReader
from resources.sinks.lake_format import Change, DataFile
from resources.sinks.lake_join import KeySet, Rows
from resources.sinks.lake_types import from_storage, to_storage


class LakeFold:
    """One load to fold in.

    Args:
        changes: Of the live table, for the target as it was when the load was begun.
        loaded: Reader of the load's files.
        schema: The load's columns, in the Arrow types of the target.
        files: The load's files.
        feed: Whose rows are replaced.

    Raises:
        SchemaMismatch: The live table lacks a column of the load, or has a narrower one.
    """

    def __init__(
        self,
        changes: LakeChanges,
        loaded: FileReader,
        schema: pa.Schema,
        files: Sequence[DataFile],
        feed: Feed,
    ) -> None:
        self._changes = changes
        self._loaded = loaded
        self._schema = schema
        self._files = list(files)
        self._feed = feed
        self._key = list(changes.target.schema.key)
        self._live = changes.snapshot.schema
        require_wider(changes.target, self._live, schema)
        counts = [loaded.count(f) for f in self._files]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._is_alike = all(
            changes.types.stored(f.type) == changes.stored.field(f.name).type for f in schema
        )

    def conflicts(self) -> dict[int, str | None]:
        """Return the owner of each loaded row's key that another feed has, by the row's number."""
        target = self._changes.target
        found: dict[int, str | None] = {}
        if not target.owner or target.mode != "merge":
            return found
        with self._keys() as keys:
            for file in self._changes.snapshot.files:
                live = self._changes.reader.read(file, [*self._key, target.owner])
                foreign = pc.fill_null(pc.not_equal(live[target.owner], str(self._feed)), True)
                live = live.filter(foreign)
                rows, numbers = keys.match(live.select(self._key))
                owners = live[target.owner].take(pa.array(rows)).to_pylist()
                found.update(zip(map(int, numbers), owners, strict=True))
        return found

    def conflict_rows(self) -> pa.Table:
        """Return the loaded rows of `conflicts`, the other feed in their owner column."""
        found = self.conflicts()
        numbers = np.array(sorted(found), np.int64)
        parts = [self._schema.empty_table()]
        for position, file in enumerate(self._files):
            inside = self._inside(numbers, position)
            if len(inside):
                rows = self._loaded.read(file).take(pa.array(inside - self._starts[position]))
                rows = from_storage(rows, self._schema)
                owner = self._changes.target.owner
                owners = pa.array([found[int(n)] for n in inside], self._schema.field(owner).type)
                rows = rows.set_column(rows.column_names.index(owner), owner, owners)
                parts.append(rows)
        return pa.concat_tables(parts)

    def change(self, keep: Sequence[str], left_out: Rows) -> Change:
        """Return the change that replaces the feed's rows by those loaded.

        Args:
            keep: Columns whose live values stay, by key.
            left_out: Numbers of loaded rows that stay out.
        """
        kept = self._kept(keep) if keep else None
        removed, _ = self._changes.remove_own(self._feed)
        failpoint("sink.finish.after_delete")
        added = []
        for position, file in enumerate(self._files):
            out = self._inside(left_out, position) - self._starts[position]
            if kept is None and self._is_alike and not len(out):
                added.append(file)
            else:
                self._write_anew(position, out, kept)
        failpoint("sink.finish.after_insert")
        return Change("load", (*added, *self._changes.writer.finish()), tuple(removed))

    def _write_anew(self, position: int, out: Rows, kept: _Kept | None) -> None:
        start = int(self._starts[position])
        for part in self._loaded.batches(self._files[position]):
            rows = in_live_types(self._changes.target, self._live, from_storage(part, self._schema))
            columns = []
            for field in self._live:
                if kept is not None and field.name in kept.columns:
                    columns.append(kept.values(field.name, start, part.num_rows))
                elif field.name in rows.column_names:
                    columns.append(rows[field.name])
                else:
                    columns.append(pa.nulls(part.num_rows, field.type))
            chosen: Mask = np.ones(part.num_rows, np.bool_)
            first = start - int(self._starts[position])
            chosen[out[(out >= first) & (out < first + part.num_rows)] - first] = False
            self._changes.write(pa.table(columns, schema=self._live).filter(pa.array(chosen)))
            start += part.num_rows

    def _kept(self, keep: Sequence[str]) -> _Kept:
        """Return the live values of columns, by number of the loaded row with the same key."""
        schema = pa.schema([self._live.field(n) for n in keep])
        parts = [schema.empty_table()]
        places = np.full(int(self._starts[-1]), -1, np.int64)
        count = 0
        with self._keys() as keys:
            for file in self._changes.snapshot.files:
                own = self._changes.own_mask(file, self._feed)
                live = self._changes.reader.read(file, list(dict.fromkeys([*self._key, *keep])))
                if own is not None:
                    live = live.filter(pa.array(own))
                rows, numbers = keys.match(live.select(self._key))
                values = live.select(list(keep)).take(pa.array(rows))
                parts.append(from_storage(values, schema))
                places[numbers] = np.arange(count, count + len(rows))
                count += len(rows)
        return _Kept(pa.concat_tables(parts), places)

    def _keys(self) -> KeySet:
        """Return the keys of all loaded rows, in the stored types of the live table."""
        keys = KeySet([self._changes.stored.field(k).type for k in self._key])
        schema = pa.schema([self._schema.field(k) for k in self._key])
        for part in self._key_parts():
            rows = in_live_types(self._changes.target, self._live, from_storage(part, schema))
            keys.add(to_storage(rows, self._changes.types))
        return keys

    def _key_parts(self) -> Iterator[pa.Table]:
        for file in self._files:
            yield from self._loaded.batches(file, self._key)

    def _inside(self, numbers: Rows, position: int) -> Rows:
        low, high = self._starts[position], self._starts[position + 1]
        inside: Rows = numbers[(numbers >= low) & (numbers < high)]
        return inside


class _Kept:
    """Values of kept columns: `places` has the row in `rows` of each loaded row, -1 for none."""

    def __init__(self, rows: pa.Table, places: Rows) -> None:
        self._rows = rows
        self._places = places
        self.columns = frozenset(rows.column_names)

    def values(self, name: str, start: int, count: int) -> pa.ChunkedArray:
        places = self._places[start : start + count]
        return self._rows[name].take(pa.array(places, mask=places < 0))
