"""Archived log files in a folder or an object store: which there are, in order, and their bytes.

In: a folder or fsspec URL. Out: files of one log ordered by number, plain or compressed; their
heads; streams of their bytes. Every listing is fresh: an archive grows while it is read.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import fsspec
import zstandard

from resources.errors import ConfigError, CorruptEvent, SourceUnavailable, UnsupportedEvent
from resources.model.place import FIRST_OFFSET
from resources.mysql.binlog.bodies import executed_before
from resources.mysql.binlog.events import HEADER_SIZE, Event, EventFraming, EventType
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.connection import flavor_of, version_tuple

_NAME = re.compile(r"(?P<name>(?P<log>.+)\.(?P<number>\d{1,18}))(?P<packed>\.gz|\.zst)?")
_MAGIC, _ENCRYPTED = b"\xfebin", b"\xfdbin"
_IN_USE = 0x01
_VERSION_AT, _VERSION_SIZE = 2, 50
_LARGEST_DESCRIPTION = 4096
_SKIP_BYTES = 1 << 20


@dataclass(frozen=True)
class ArchivedFile:
    """A log file that is there.

    Args:
        name: As its server named it, without the ending of a compression.
        number: Its number in the log.
        path: Where it lies.
        size: Its bytes as stored.
        packed: The ending of its compression, empty if it has none.
    """

    name: str
    number: int
    path: str
    size: int
    packed: str = ""


@dataclass(frozen=True)
class Description:
    """What a file's head says.

    Args:
        checksums: Whether its events end in a CRC32.
        server: Whose file it is.
        server_id: The server that wrote it.
        in_use: Whether it was never closed: still written when it was copied, or its server died.
        gtids: What was executed before it; empty where the log does not say.
    """

    checksums: bool
    server: ServerKind
    server_id: int
    in_use: bool
    gtids: GtidSet


class Archive:
    """The log files in a folder.

    Args:
        location: A path or an fsspec URL; credentials come from the store's own environment.

    Raises:
        ConfigError: The URL's protocol is unknown or its driver is not installed.
    """

    def __init__(self, location: str) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the archive's location cannot be used: {error}",
                where=location,
                remedy="name a local folder, or install the fsspec driver of the object store",
            ) from error
        self._root = str(root).rstrip("/")
        self.where = location
        self._descriptions: dict[str, Description] = {}

    def files(self) -> list[ArchivedFile]:
        """Return the files there are now, oldest first; other names are passed over.

        Raises:
            ConfigError: There is no such folder, or it has files of two logs.
            SourceUnavailable: It cannot be read.
        """
        found: dict[int, ArchivedFile] = {}
        logs: set[str] = set()
        for path, size in self._listed():
            match = _NAME.fullmatch(path.rpartition("/")[2])
            if match is None:
                continue
            logs.add(match["log"])
            packed, number = match["packed"] or "", int(match["number"])
            # While a file is being compressed both are there, and only the plain one is whole.
            if number not in found or not packed:
                found[number] = ArchivedFile(match["name"], number, path, size, packed)
        if len(logs) > 1:
            raise ConfigError(
                f"the folder has files of several logs: {', '.join(sorted(logs)[:5])}",
                where=self.where,
                remedy="keep the files of each server in a folder of their own",
            )
        return [found[number] for number in sorted(found)]

    def newest(self) -> str:
        """Return a word that changes whenever the newest file is another one or has grown."""
        files = self.files()
        return f"{files[-1].name}:{files[-1].size}" if files else ""

    def _listed(self) -> list[tuple[str, int]]:
        try:
            self._fs.invalidate_cache(self._root)
            listed = self._fs.ls(self._root, detail=True)
        except FileNotFoundError as error:
            raise ConfigError(
                "there is no such folder", where=self.where, remedy="name one in source.path"
            ) from error
        except OSError as error:
            raise SourceUnavailable(
                f"the archive cannot be listed: {error}", where=self.where
            ) from error
        return [(f["name"], int(f["size"] or 0)) for f in listed if f["type"] == "file"]

    def describe(self, file: ArchivedFile) -> Description:
        """Return what a file's head says.

        Raises:
            CorruptEvent: It is no binary log.
            UnsupportedEvent: It is encrypted.
        """
        known = self._descriptions.get(file.name)
        if known is None or known.in_use:  # the flag goes when the file is closed
            with self.open(file) as stream:
                known = self._descriptions[file.name] = _description(stream, file)
        return known

    @contextmanager
    def open(self, file: ArchivedFile, offset: int = FIRST_OFFSET) -> Iterator[IO[bytes]]:
        """Open a file at an offset of its plain bytes.

        Raises:
            CorruptEvent: It is no binary log, or its compressed bytes are damaged.
            UnsupportedEvent: It is encrypted.
            SourceUnavailable: It cannot be read, or ends early: it may not be there in full yet.
        """
        try:
            with self._fs.open(file.path, "rb") as stored:
                stream = _UNPACKED[file.packed](stored)
                _require_magic(stream.read(FIRST_OFFSET), file)
                if file.packed:
                    _skip(stream, offset - FIRST_OFFSET)
                else:
                    stream.seek(offset)
                yield stream
        except FileNotFoundError as error:
            raise SourceUnavailable(f"{file.path} is gone", where=self.where) from error
        except EOFError as error:
            raise _short(file) from error
        except (zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise CorruptEvent(
                f"its compressed bytes are damaged: {error}", where=file.path
            ) from error
        except OSError as error:
            raise SourceUnavailable(
                f"{file.path} cannot be read: {error}", where=self.where
            ) from error


def read_events(stream: IO[bytes], name: str, framing: EventFraming) -> Iterator[Event]:
    """Yield the events of an opened file, up to the last one that is there in full.

    Raises:
        CorruptEvent: An event's bytes cannot be true.
    """
    while True:
        header = stream.read(HEADER_SIZE)
        size = int.from_bytes(header[9:13], "little")
        if len(header) < HEADER_SIZE:
            return
        if size < HEADER_SIZE:
            raise CorruptEvent(f"an event says it has {size} bytes", where=name)
        body = stream.read(size - HEADER_SIZE)
        if len(body) < size - HEADER_SIZE:
            return
        yield framing.parse(header + body, name)


def _description(stream: IO[bytes], file: ArchivedFile) -> Description:
    head = stream.read(HEADER_SIZE)
    size = int.from_bytes(head[9:13], "little")
    foreign = head[4:5] not in (b"", bytes([EventType.FORMAT_DESCRIPTION]))
    if foreign or size > _LARGEST_DESCRIPTION:
        raise CorruptEvent("the file does not begin with a FORMAT_DESCRIPTION", where=file.path)
    data = head + stream.read(max(size - HEADER_SIZE, 0))
    if len(data) < max(size, HEADER_SIZE):
        raise _short(file)
    framing = EventFraming()
    event = framing.parse(data, file.name)
    checksums, in_use = framing.checksums, bool(event.flags & _IN_USE)
    version = event.body[_VERSION_AT : _VERSION_AT + _VERSION_SIZE].decode("latin-1")
    flavor: Flavor = "mariadb" if flavor_of(version, "") == "mariadb" else "mysql"
    gtids = None
    for following in read_events(stream, file.name, framing):
        if following.type == EventType.START_ENCRYPTION:
            continue
        gtids = executed_before(following, flavor)
        break
    server = ServerKind.of(flavor, version_tuple(version))
    return Description(checksums, server, event.server_id, in_use, gtids or GtidSet(flavor))


def _short(file: ArchivedFile) -> SourceUnavailable:
    return SourceUnavailable(
        "the file ends early: it may not be there in full yet", where=file.path
    )


def _require_magic(magic: bytes, file: ArchivedFile) -> None:
    if len(magic) < FIRST_OFFSET:
        raise _short(file)
    if magic == _ENCRYPTED:
        raise UnsupportedEvent(
            "the file is encrypted, its keys are with the server",
            where=file.path,
            remedy="have the server send it in the clear: mysqlbinlog --read-from-remote-server "
            f"--raw {file.name}",
        )
    if magic != _MAGIC:
        raise CorruptEvent("the file is no binary log", where=file.path)


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        part = stream.read(min(count, _SKIP_BYTES))
        if not part:
            return
        count -= len(part)


def _gunzip(stored: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stored))


def _unzstd(stored: IO[bytes]) -> IO[bytes]:
    reader: Any = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
    return cast("IO[bytes]", reader)


_UNPACKED: Mapping[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "": lambda stored: stored,
    ".gz": _gunzip,
    ".zst": _unzstd,
}
