"""Manifests of plain Parquet tables: one small JSON file per commit, with all there is to know.

In: a table's columns, files and feeds. Out: JSON that any program reads, and the same back with
every value exact. What a manifest says is described in docs/parquet.md.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa

from resources.errors import ConfigError
from resources.model.table import TableId
from resources.sinks.contract import Feed
from resources.sinks.lake_format import DataFile, FeedState
from resources.sinks.lake_store import OWN_FOLDER
from resources.sinks.lake_types import LakeTypes, read_type, write_type

FORMAT = 1
STAGING = f"{OWN_FOLDER}/staged/"
"""Where files are before their commit, with names that no reader's pattern matches."""
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_LONGEST_TEXT = 64
"""Longer texts are left out of the bounds; the file is read then."""
_LONGEST_NAME = 250
"""Bytes of a folder's name that file systems take."""
_STRANGE = re.compile(r"[\x00-\x7f]")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]")

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A table as of one commit.

    Args:
        version: Number of the commit, from 1, never used twice in a folder.
        what: One word for what was done; `drop` if there is no table since.
        schema: The columns, in the Arrow types of the target.
        partition_by: The partition columns.
        entries: The files, as they stand in JSON.
        states: What is remembered of each feed.
        publish: Files this commit moves, from where they were staged to where readers look.
        delete: Files this commit deletes.
    """

    version: int
    what: str
    schema: pa.Schema
    partition_by: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    states: Mapping[Feed, FeedState] = field(default_factory=dict)
    publish: Mapping[str, str] = field(default_factory=dict)
    delete: tuple[str, ...] = ()

    @property
    def is_dropped(self) -> bool:
        """Whether there is no table since."""
        return self.what == "drop"


class ParquetSnapshot:
    """A table as one manifest has it.

    Args:
        manifest: The manifest.
        types: How Arrow types are stored.
    """

    def __init__(self, manifest: Manifest, types: LakeTypes) -> None:
        self.manifest = manifest
        self._types = types

    @property
    def schema(self) -> pa.Schema:
        """The columns, in the Arrow types they were made for."""
        return self.manifest.schema

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns."""
        return self.manifest.partition_by

    @cached_property
    def files(self) -> tuple[DataFile, ...]:
        """The data files; each one's name is where it was staged by a write of one step."""
        entries = self.manifest.entries
        stored = self._types.stored_schema(self.schema)
        values = {
            part: _values([e[part] for e in entries], stored)
            for part in ("partition", "min", "max")
        }
        found = []
        for number, entry in enumerate(entries):
            least, most = values["min"][number], values["max"][number]
            stem = entry["path"].rpartition("/")[2].removesuffix(".parquet")
            found.append(
                DataFile(
                    entry["path"],
                    entry["rows"],
                    entry["size"],
                    values["partition"][number],
                    {k: (v, most[k]) for k, v in least.items() if k in most},
                    entry["nulls"],
                    f"{STAGING}{stem}",
                )
            )
        return tuple(found)

    def state(self, feed: Feed) -> FeedState | None:
        """Return what the manifest remembers of a feed."""
        return self.manifest.states.get(feed)


def entry_of(file: DataFile) -> Entry:
    """Return a staged file as it stands in a manifest, where it is to be.

    Raises:
        ConfigError: A partition value makes no folder.
    """
    partition = {k: _text(v) for k, v in file.partition.items()}
    told = {k: v for k, v in file.bounds.items() if all(map(_is_told, v))}
    name = file.path.removeprefix(STAGING).replace("/", "-")
    return {
        "path": f"{hive_folder(partition)}{name}.parquet",
        "rows": file.rows,
        "size": file.size,
        "partition": partition,
        "min": {k: _text(v[0]) for k, v in told.items()},
        "max": {k: _text(v[1]) for k, v in told.items()},
        "nulls": dict(file.nulls),
    }


def hive_folder(partition: Mapping[str, str | None]) -> str:
    """Return the folders of some partition values, `name=value/` each.

    Hive's own escapes: `%XX` for what is not plain in ASCII, all other letters as they are.

    Raises:
        ConfigError: A value is too long for a folder's name, or the very name that NULL has.
    """
    folders = ""
    for name, value in partition.items():
        folder = f"{_escaped(name)}={NULL_PARTITION if value is None else _escaped(value)}"
        if value == NULL_PARTITION or len(folder.encode()) > _LONGEST_NAME:
            raise ConfigError(
                f"a value of the partition column {name!r} makes no folder: {value!r:.80}",
                remedy="partition by a column of short values, or by none",
            )
        folders += f"{folder}/"
    return folders


def write_manifest(manifest: Manifest, types: LakeTypes) -> bytes:
    """Return a manifest as JSON."""
    columns = [
        {"name": f.name, "type": str(types.stored(f.type)), "arrow": write_type(f.type)}
        for f in manifest.schema
    ]
    feeds = [
        {"pipeline": k.pipeline, "source": [k.table.database, k.table.table], **asdict(v)}
        for k, v in manifest.states.items()
    ]
    content = {
        "format": FORMAT,
        "version": manifest.version,
        "what": manifest.what,
        "committed": dt.datetime.now(dt.UTC).isoformat(),
        "columns": columns,
        "partition_by": list(manifest.partition_by),
        "feeds": feeds,
        "publish": dict(manifest.publish),
        "delete": list(manifest.delete),
        "files": list(manifest.entries),
    }
    return json.dumps(content, ensure_ascii=False).encode()


def read_manifest(content: bytes, where: str) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        ConfigError: It is of a later format, or none.
    """
    try:
        found = json.loads(content)
        if found["format"] > FORMAT:
            raise ConfigError(
                f"the table's manifest has format {found['format']}; this version knows {FORMAT}",
                where=where,
                remedy="update cdc-assets",
            )
        return _manifest(found)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the table's manifest cannot be read: {type(error).__name__}: {error}",
            where=where,
            remedy="restore it, or delete the table's folder and materialize its snapshot",
        ) from None


def _manifest(found: Mapping[str, Any]) -> Manifest:
    states = {}
    for told in found["feeds"]:
        feed = Feed(told.pop("pipeline"), TableId(*told.pop("source")))
        states[feed] = FeedState(**told)
    return Manifest(
        found["version"],
        found["what"],
        pa.schema([pa.field(c["name"], read_type(c["arrow"])) for c in found["columns"]]),
        tuple(found["partition_by"]),
        tuple(found["files"]),
        states,
        found["publish"],
        tuple(found["delete"]),
    )


def _escaped(text: str) -> str:
    return _STRANGE.sub(
        lambda m: m.group() if _PLAIN.match(m.group()) else f"%{ord(m.group()):02X}", text
    )


def _values(rows: Sequence[Mapping[str, str | None]], schema: pa.Schema) -> list[dict[str, Any]]:
    """Return the values of texts, a column at a time."""
    found: list[dict[str, Any]] = [{} for _ in rows]
    for column in schema:
        having = [n for n, row in enumerate(rows) if column.name in row]
        if having:
            texts = pa.array([rows[n][column.name] for n in having], pa.string())
            for n, value in zip(having, texts.cast(column.type).to_pylist(), strict=True):
                found[n][column.name] = value
    return found


def _is_told(value: Any) -> bool:  # noqa: ANN401 - any value of a column
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return value is not None and not isinstance(value, bytes | float)


def _text(value: Any) -> str | None:  # noqa: ANN401 - any value of a column
    """Return a value as text that Arrow reads back; NULL is None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        plain = value.replace(tzinfo=None).isoformat(" ", "microseconds")
        return f"{plain}Z" if value.tzinfo else plain
    if isinstance(value, dt.date):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
