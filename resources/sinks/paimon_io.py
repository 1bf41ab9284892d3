"""What pypaimon sees of a lake's store: its manifests are read and written through ours.

In: names as pypaimon has them, the store's own or its URLs. Out: bytes, with failures of the
storage as errors of this project, and tables as pypaimon's parts want them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.fs as fs
from pypaimon.common.file_io import FileIO
from pypaimon.common.identifier import Identifier
from pypaimon.schema.table_schema import TableSchema
from pypaimon.snapshot.snapshot import Snapshot as TableSnapshot
from pypaimon.table.file_store_table import FileStoreTable

from resources.errors import CdcError
from resources.sinks.parquet_store import ParquetStore


class StoreIO(FileIO):  # type: ignore[misc]  # no types in pypaimon
    """The file system of pypaimon over one store.

    Args:
        store: The place.
    """

    def __init__(self, store: ParquetStore) -> None:
        self._store = store
        self._prefix = f"{store.url('')}/"

    def new_input_stream(self, path: str) -> pa.NativeFile:
        """Open a file for reading."""
        return pa.BufferReader(self._store.read(self._name(path)))

    def new_output_stream(self, path: str) -> _Whole:
        """Open a small file for writing: it is there once it is closed, and in full."""
        return _Whole(self._store, self._name(path))

    def get_file_status(self, path: str) -> fs.FileInfo:
        """Return what there is of a name."""
        name = self._name(path)
        with self._store.translated(name):
            return self._store.filesystem.get_file_info(self._store.path(name))

    def list_status(self, path: str) -> list[fs.FileInfo]:
        """Return what there is in a folder."""
        name = self._name(path)
        chosen = fs.FileSelector(self._store.path(name), allow_not_found=True)
        with self._store.translated(name):
            return list(self._store.filesystem.get_file_info(chosen))

    def exists(self, path: str) -> bool:
        """Return whether there is something of this name."""
        return bool(self.get_file_status(path).type != fs.FileType.NotFound)

    def delete(self, path: str, recursive: bool = False) -> bool:
        """Delete a file, or a folder with all in it."""
        (self._store.delete_folder if recursive else self._store.delete)(self._name(path))
        return True

    def mkdirs(self, path: str) -> bool:
        """Do nothing: files bring their folders."""
        return True

    def rename(self, src: str, dst: str) -> bool:
        """Give a file another name."""
        self._store.move(self._name(src), self._name(dst))
        return True

    def _name(self, path: str) -> str:
        return str(path).removeprefix(self._prefix)


class _Whole:
    """A small file in memory until it is closed without an error."""

    def __init__(self, store: ParquetStore, name: str) -> None:
        self._store = store
        self._name = name
        self._parts: list[bytes] = []

    def write(self, content: bytes) -> int:
        self._parts.append(bytes(content))
        return len(content)

    def __enter__(self) -> _Whole:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._store.write(self._name, b"".join(self._parts))


def table_of(store: ParquetStore, folder: str, schema: TableSchema) -> FileStoreTable:
    """Return a table of one schema, as pypaimon's readers and writers of manifests take it.

    Args:
        store: The place.
        folder: The table's folder.
        schema: The schema in force.
    """
    return FileStoreTable(
        StoreIO(store), Identifier("cdc", folder.rpartition("/")[2]), store.url(folder), schema
    )


def readable(store: ParquetStore, folder: str, snapshot: TableSnapshot) -> FileStoreTable:
    """Return a table as of a snapshot, for pypaimon's own reader of data files."""
    names = {
        "endpoint": "endpoint",
        "region": "region",
        "access_key_id": "access-key",
        "secret_access_key": "secret-key",
        "session_token": "session-token",
    }
    told = {f"s3.{names[name]}": value for name, value in store.options.items()}
    told["s3.path-style-access"] = "true"
    table = FileStoreTable.from_path(store.url(folder), told)
    return table.copy({"scan.snapshot-id": str(snapshot.id)})


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let errors of the store through that pypaimon has put into one of its own.

    Raises:
        CdcError: As the store raised it.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, CdcError):
            raise error.__cause__ from None
        raise
