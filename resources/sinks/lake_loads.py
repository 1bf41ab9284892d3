"""Snapshot loads beside a live table: chunks as files in its folder, each with a mark once in.

In: chunks of rows. Out: data files that one commit can put in place without copying them. A chunk
counts once its mark is there, and the mark is one small file, written after the data.

    <table>/load-<number>/<chunk>-….parquet     data: not hidden, so that clean-ups of the format
                                                take what was given up
    <table>/_cdc/load-<number>/begun            the load: id, feed, columns, partition columns
    <table>/_cdc/load-<number>/<chunk>          the mark: the chunk's files and number of rows
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from resources.failpoints import failpoint
from resources.model.table import TableId
from resources.sinks import shape
from resources.sinks.contract import Feed, TargetId
from resources.sinks.lake_files import FileWriter
from resources.sinks.lake_format import DataFile
from resources.sinks.lake_store import OWN_FOLDER, LakeStore
from resources.sinks.lake_types import LakeTypes

_BEGUN = "begun"


@dataclass(frozen=True)
class LakeLoad:
    """A load that was begun.

    Args:
        id: Its id.
        feed: Whose rows it brings.
        schema: Its columns, in the Arrow types of the target.
        partition_by: The partition columns its files are set apart by.
        layout: What else they are laid out by, in the format's own words.
    """

    id: str
    feed: Feed
    schema: pa.Schema
    partition_by: tuple[str, ...]
    layout: str = ""

    @property
    def number(self) -> int:
        """The load's number."""
        return load_number(self.id)


@dataclass(frozen=True)
class Chunk:
    """A chunk that is in: its rows and files."""

    rows: int
    files: tuple[DataFile, ...]


class LakeLoads:
    """The loads of one table.

    Args:
        store: The place.
        folder: The table's folder.
        types: How Arrow types are stored.
        staging: As `LakeFormat.staging`.
    """

    def __init__(self, store: LakeStore, folder: str, types: LakeTypes, staging: str = "") -> None:
        self._store = store
        self._staging = staging
        self._folder = folder
        self._types = types

    def find(self, load_id: str) -> LakeLoad | None:
        """Return a load that was begun, None if there is none of this id."""
        return self._read(_name(load_number(load_id)))

    def require(self, target: TargetId, load_id: str, feed: Feed | None = None) -> LakeLoad:
        """Return a load, begun by the feed if one is given.

        Raises:
            TerminalError: There is none of this id, or another feed's.
        """
        load = self.find(load_id)
        if load is None:
            raise shape.no_load(target, load_id)
        if feed is not None and load.feed != feed:
            raise shape.load_of_another(target, load_id, str(load.feed))
        return load

    def begin(self, load: LakeLoad, finished: int) -> None:
        """Write down a load; the feed's other loads are dropped.

        Args:
            load: The load.
            finished: Number of the feed's load that was finished last: its files are the table's.
        """
        for name in self._names():
            other = self._read(name)
            if other is None or other.feed == load.feed:
                self._delete(name, with_data=name != _name(finished))
        content = {
            "load": load.id,
            "pipeline": load.feed.pipeline,
            "source": [load.feed.table.database, load.feed.table.table],
            "schema": base64.b64encode(load.schema.serialize().to_pybytes()).decode(),
            "partition_by": list(load.partition_by),
            "layout": load.layout,
        }
        failpoint("sink.load.after_begin")
        failpoint("sink.before_commit")
        self._store.write(self._mark(load, _BEGUN), json.dumps(content).encode())

    def chunks(self, load: LakeLoad) -> dict[int, Chunk]:
        """Return the chunks that are in, by number and in that order."""
        folder = f"{self._folder}/{OWN_FOLDER}/{_name(load.number)}"
        marks = {n.rpartition("/")[2]: n for n in self._store.list(folder)}
        numbers = sorted(int(name) for name in marks if name.isdecimal())
        read = self._store.read_all([marks[str(number)] for number in numbers])
        return {n: _read_mark(content) for n, content in zip(numbers, read, strict=True)}

    def chunk(self, load: LakeLoad, number: int) -> Chunk | None:
        """Return one chunk, None if it is not in."""
        try:
            return _read_mark(self._store.read(self._mark(load, str(number))))
        except FileNotFoundError:
            return None

    def write(self, load: LakeLoad, number: int, parts: Iterable[pa.Table]) -> int:
        """Write a chunk and then its mark; returns its rows. The parts are checked already."""
        writer, schema = self._writer(load, number)
        count = 0
        with writer.abandoned_on_error():
            for part in parts:
                writer.write(part)
                count += part.num_rows
                failpoint("sink.load.after_rows")
            files = writer.finish()
        failpoint("sink.before_commit")
        self._store.write(self._mark(load, str(number)), _marked(Chunk(count, files), schema))
        failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def abandon(self, load: LakeLoad) -> None:
        """Delete a load that was not finished."""
        self._delete(_name(load.number), with_data=True)

    def missing(self, files: Sequence[DataFile]) -> list[str]:
        """Return the files that are not there any more, or not whole."""
        if not files:
            return []
        folders = {f.path.rpartition("/")[0] for f in files}
        there = {n for folder in folders for n in self._store.list(f"{self._folder}/{folder}")}
        return [f.path for f in files if f"{self._folder}/{f.path}" not in there]

    def _writer(self, load: LakeLoad, number: int) -> tuple[FileWriter, pa.Schema]:
        """Return the writer of a chunk, and the columns whose values its files tell."""
        schema = self._types.stored_schema(load.schema)
        prefix = f"{self._staging}{_name(load.number)}/{number:06}-"
        return FileWriter(self._store, self._folder, schema, load.partition_by, prefix), schema

    def _names(self) -> list[str]:
        folder = f"{self._folder}/{OWN_FOLDER}"
        found = {n.removeprefix(f"{folder}/").partition("/")[0] for n in self._store.list(folder)}
        return sorted(n for n in found if n.startswith("load-"))

    def _read(self, name: str) -> LakeLoad | None:
        try:
            content = self._store.read(f"{self._folder}/{OWN_FOLDER}/{name}/{_BEGUN}")
        except FileNotFoundError:
            return None
        found = json.loads(content)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["schema"])))
        feed = Feed(found["pipeline"], TableId(*found["source"]))
        partition_by = tuple(found["partition_by"])
        return LakeLoad(found["load"], feed, schema, partition_by, found.get("layout", ""))

    def _mark(self, load: LakeLoad, name: str) -> str:
        return f"{self._folder}/{OWN_FOLDER}/{_name(load.number)}/{name}"

    def _delete(self, name: str, *, with_data: bool) -> None:
        """Delete a load, what says that it was begun last: so a crash leaves it to be deleted."""
        folder = f"{self._folder}/{OWN_FOLDER}/{name}"
        if with_data:
            self._store.delete_folder(f"{self._folder}/{self._staging}{name}")
        for mark in self._store.list(folder):
            if not mark.endswith(f"/{_BEGUN}"):
                self._store.delete(mark)
        self._store.delete_folder(folder)


def load_number(load_id: str) -> int:
    """Return the number of a load, 63 bits of a hash of its id, never 0."""
    digest = hashlib.blake2b(load_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _name(number: int) -> str:
    return f"load-{number:016x}"


def _marked(chunk: Chunk, schema: pa.Schema) -> bytes:
    """Return a chunk as an Arrow stream, a row per file, so that bounds keep their types."""
    values = pa.struct(list(schema))
    fields = [
        *(("path", pa.string()), ("rows", pa.int64()), ("size", pa.int64())),
        *(("partition", values), ("least", values), ("most", values)),
        *(("split_by", pa.list_(pa.string())), ("bounded", pa.list_(pa.string()))),
        ("nulls", pa.map_(pa.string(), pa.int64())),
    ]
    rows = [_row(f) for f in chunk.files]
    table = pa.Table.from_pylist(rows, pa.schema(fields, {"rows": str(chunk.rows)}))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _row(file: DataFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "rows": file.rows,
        "size": file.size,
        "partition": dict(file.partition),
        "split_by": list(file.partition),
        "least": {k: v[0] for k, v in file.bounds.items()},
        "most": {k: v[1] for k, v in file.bounds.items()},
        "bounded": list(file.bounds),
        "nulls": list(file.nulls.items()),
    }


def _read_mark(content: bytes) -> Chunk:
    table = pa.ipc.open_stream(content).read_all()
    files = []
    for row in table.to_pylist():
        partition = {k: row["partition"][k] for k in row["split_by"]}
        bounds = {k: (row["least"][k], row["most"][k]) for k in row["bounded"]}
        nulls = dict(row["nulls"])
        files.append(DataFile(row["path"], row["rows"], row["size"], partition, bounds, nulls))
    return Chunk(int(table.schema.metadata[b"rows"]), tuple(files))
