"""The place of a lake's files: a local folder, or a prefix in an object store.

In: names relative to the place. Out: files written whole, listed, read and deleted, with failures
of the storage as errors of this project. Formats that have a catalog of their own use the same
place and options.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as fs

from resources.errors import CdcError, ConfigError, SinkUnavailable
from resources.failpoints import failpoint

OWN_FOLDER = "_cdc"
"""Folder names beginning with `_` are hidden from readers and clean-ups of every lake format."""
OPTIONS = {
    "endpoint": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
"""Options of an S3-compatible store, and the variables that say the same where they are left out:
those the change log's own driver reads."""
_STRANGE = re.compile(r"[^A-Za-z0-9_-]|^[_-]")
_LONGEST = 200
_READERS = 8


class LakeStore:
    """One place.

    Args:
        location: A path, or `s3://bucket/prefix`.
        options: Some of `OPTIONS`; the environment has the others.

    Raises:
        ConfigError: The location is none of these, or an option is unknown.
    """

    def __init__(self, location: str, options: Mapping[str, str] | None = None) -> None:
        unknown = sorted(set(options or {}) - set(OPTIONS))
        scheme, mark, rest = location.partition("://")
        is_s3 = bool(mark) and scheme in ("s3", "s3a")
        if unknown or (mark and not (is_s3 and rest.strip("/"))):
            raise ConfigError(
                f"the lake cannot be at {location!r} with the options {unknown}"
                if unknown
                else f"the lake cannot be at {location!r}",
                remedy=f"name a folder or s3://bucket/prefix; options are {', '.join(OPTIONS)}",
            )
        self.options = {k: v for k, v in self._found(options or {}).items() if v}
        self.root = rest.strip("/") if is_s3 else str(Path(location).expanduser().absolute())
        self.local = not is_s3
        self._fs: fs.FileSystem | None = None

    @property
    def filesystem(self) -> fs.FileSystem:
        """The file system, opened by its first use."""
        if self._fs is None:
            self._fs = fs.LocalFileSystem() if self.local else self._open_s3()
        return self._fs

    def path(self, name: str) -> str:
        """Return where a file is, as `filesystem` takes it."""
        return f"{self.root}/{name}" if name else self.root

    def url(self, name: str) -> str:
        """Return where a file is, as the libraries of the formats take it."""
        return self.path(name) if self.local else f"s3://{self.path(name)}"

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        with self.translated(name):
            return bool(self.filesystem.get_file_info(self.path(name)).type == fs.FileType.File)

    def read(self, name: str) -> bytes:
        """Return a small file's bytes.

        Raises:
            FileNotFoundError: There is none.
        """
        with self.translated(name), self.filesystem.open_input_stream(self.path(name)) as file:
            return bytes(file.read())

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the bytes of small files, several at a time. Raises as `read`."""
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self.read, names))

    def write(self, name: str, content: bytes) -> None:
        """Write a small file: it is there in full or not at all, and durable."""
        with self.translated(name):
            if self.local:
                _write_whole(Path(self.path(name)), content)
            else:
                with self.filesystem.open_output_stream(self.path(name)) as file:
                    file.write(content)
        failpoint("sink.lake.after_write")

    def create(self, name: str) -> pa.NativeFile:
        """Open a large new file for writing; it may stay there unfinished."""
        with self.translated(name):
            if self.local:
                Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
            return self.filesystem.open_output_stream(self.path(name))

    def persist(self, names: Iterable[str]) -> None:
        """Make finished files durable: a power cut must not keep a commit and lose its files."""
        if not self.local:
            return
        paths = [Path(self.path(name)) for name in names]
        with self.translated(""):
            for path in (*paths, *sorted({path.parent for path in paths})):
                opened = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(opened)
                finally:
                    os.close(opened)

    def list(self, folder: str) -> list[str]:
        """Return the names of all files under a folder, sorted; none if it is not there."""
        chosen = fs.FileSelector(self.path(folder), allow_not_found=True, recursive=True)
        with self.translated(folder):
            found = self.filesystem.get_file_info(chosen)
        start = len(self.root) + 1
        return sorted(i.path[start:] for i in found if i.type == fs.FileType.File)

    def delete(self, name: str) -> None:
        """Delete a file if it is there."""
        with self.translated(name), suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))
        failpoint("sink.lake.after_delete")

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and all in it."""
        with self.translated(folder), suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path(folder))
        failpoint("sink.lake.after_delete")

    @contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """Turn failures of the storage, while a block works on `name`, into errors to act on.

        Raises:
            ConfigError: Rights are missing, or the bucket is.
            SinkUnavailable: Anything else; the same call may succeed later.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, self.url(name)) from None

    def _found(self, options: Mapping[str, str]) -> dict[str, str]:
        more = os.environ.get("AWS_DEFAULT_REGION", "")
        found = {k: options.get(k) or os.environ.get(v, "") for k, v in OPTIONS.items()}
        return {**found, "region": found["region"] or more}

    def _open_s3(self) -> fs.FileSystem:
        endpoint = self.options.get("endpoint", "")
        scheme, _, host = endpoint.rpartition("://")
        chosen = {
            "access_key": self.options.get("access_key_id"),
            "secret_key": self.options.get("secret_access_key"),
            "session_token": self.options.get("session_token"),
            "region": self.options.get("region"),
            "endpoint_override": host or None,
            "scheme": scheme or None,
        }
        # A file that is written in parts must not begin before it has bytes.
        return fs.S3FileSystem(
            **{k: v for k, v in chosen.items() if v}, allow_delayed_open=True, connect_timeout=10
        )


def storage_error(error: Exception, where: str) -> CdcError:
    """Return what a failure of the storage means: try again, or mend something first."""
    text = str(error)
    if isinstance(error, PermissionError) or any(
        word in text for word in ("AccessDenied", "ACCESS_DENIED", "403 Forbidden", "Permission")
    ):
        return ConfigError(
            "the lake's storage refuses it: rights are missing",
            where=where,
            remedy="let this user list, read, write and delete there",
        )
    if "NoSuchBucket" in text or "NO_SUCH_BUCKET" in text or "bucket does not exist" in text:
        return ConfigError("the bucket does not exist", where=where, remedy="create the bucket")
    reason = getattr(error, "strerror", None) or text.strip().splitlines()[0][:200]
    return SinkUnavailable(
        f"the lake's storage failed: {type(error).__name__}: {reason}",
        where=where,
        remedy="see that it is reachable and has space, then run again",
    )


def folder_name(name: str) -> str:
    """Return a name as one part of a path that every store and URL takes unchanged.

    Letters of ASCII, digits, `_` and `-` stay; others become `~HEX~`, and so do `_` and `-` at the
    begin, where they hide a folder. Names too long for a file system end in a hash.
    """
    encoded = _STRANGE.sub(lambda m: f"~{ord(m.group()):X}~", name)
    if len(encoded) <= _LONGEST:
        return encoded
    return f"{encoded[: _LONGEST - 40]}~{uuid.uuid5(uuid.NAMESPACE_OID, name).hex}"


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.writing")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
