"""The files of a change log, on a local disk or in an object store.

In: complete temporary files. Out: immutable files that are there in full or not at all. Local files
are readable by their owner only and are on the disk, name included, when `publish` returns.
"""

from __future__ import annotations

import os
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from resources.errors import ConfigError, TransientError
from resources.failpoints import failpoint
from resources.stores.private import create_private_folder

_TEMPORARY = ".writing-"


@dataclass(frozen=True)
class LogFile:
    """A file that is there.

    Args:
        name: Relative to the location.
        size_bytes: Its size.
        modified: When it was written, seconds since the epoch.
    """

    name: str
    size_bytes: int
    modified: float


class LogFiles:
    """A folder of immutable files.

    Args:
        location: A path or an fsspec URL; credentials come from the store's own environment.

    Raises:
        ConfigError: The URL's protocol is unknown or its driver is not installed.
    """

    def __init__(self, location: str) -> None:
        try:
            fs, root = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the change log's location cannot be used: {error}",
                remedy="name a local path, or install the fsspec driver of the object store",
            ) from error
        self._fs = fs
        self._root = str(root).rstrip("/")
        self.local = isinstance(fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """Return a file's full path, the form for errors."""
        return f"{self._root}/{name}"

    def create_temporary(self, name: str) -> tuple[IO[bytes], Path]:
        """Open a local file to write what `publish` will put in place under `name`."""
        with self.translated_errors(name):
            folder = None
            if self.local:
                target = Path(self.path(name)).parent
                create_private_folder(target)
                folder = str(target)
            handle, path = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)  # mode 0600
        return os.fdopen(handle, "w+b"), Path(path)

    def publish(self, file: IO[bytes], temporary: Path, name: str, point: str) -> None:
        """Put a complete file in place and close it.

        Args:
            file: The file, open.
            temporary: Its path.
            name: Its name from now on.
            point: First word of the failpoints before and after it gets its name.

        Raises:
            TransientError: It cannot be written now.
        """
        with self.translated_errors(name):
            file.flush()
            if self.local:
                os.fsync(file.fileno())
            file.close()
            failpoint(f"{point}.after_write")
            if self.local:
                target = Path(self.path(name))
                temporary.rename(target)
                _sync_folder(target.parent)
            else:
                self._fs.put_file(str(temporary), self.path(name))
                temporary.unlink()
        failpoint(f"{point}.after_rename")

    def read(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of a range; fewer if the file ends before.

        Raises:
            FileNotFoundError: There is no such file.
            TransientError: It cannot be read now.
        """
        with self.translated_errors(name):
            return cast(bytes, self._fs.cat_file(self.path(name), start=start, end=end))

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading with seeks; raises as `read`."""
        with self.translated_errors(name):
            return cast(IO[bytes], self._fs.open(self.path(name), "rb"))

    def list_files(self, folder: str) -> dict[str, LogFile]:
        """Return every file under a folder, by name."""
        with self.translated_errors(folder):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self.path(folder), detail=True)
            except FileNotFoundError:
                return {}
        prefix = len(self._root) + 1
        return {
            path[prefix:]: LogFile(path[prefix:], int(info["size"]), _modified(info))
            for path, info in found.items()
        }

    def delete(self, names: Iterable[str]) -> list[str]:
        """Delete files; returns those that were there."""
        deleted = []
        for name in names:
            with self.translated_errors(name):
                try:
                    self._fs.rm_file(self.path(name))
                except FileNotFoundError:
                    continue
            deleted.append(name)
        return deleted

    @contextmanager
    def translated_errors(self, name: str) -> Iterator[None]:
        """Turn a failure of the storage, while a block works on `name`, into TransientError."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise TransientError(
                f"the change log's storage failed: {type(error).__name__}: {error.strerror}",
                where=self.path(name),
                remedy="see that it is reachable, has space and may be written, then run again",
            ) from error


def crc_of(file: IO[bytes]) -> str:
    """Return `crc32:` and 8 hex digits of all bytes of a file, read from its start."""
    file.seek(0)
    crc = 0
    while part := file.read(1 << 20):
        crc = zlib.crc32(part, crc)
    return f"crc32:{crc:08x}"


def _modified(info: dict[str, Any]) -> float:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return time.time()  # unknown age counts as new: what looks new is not swept


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
