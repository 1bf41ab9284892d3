"""An archive as slices: file after file, up to the last transaction that is there in full.

In: an archive, a position in it. Out: `LogSlice` values in log order. What follows a file has to
continue it; where a file ends within a transaction, what was there of it is not handed out.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import IO

from resources.errors import CorruptEvent, PositionPurged, ServerChanged
from resources.model.place import FIRST_OFFSET
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.archive import Archive, ArchivedFile
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import CHECKSUM_SIZE, HEADER_SIZE, EventType
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.options import StreamOptions

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2


class FileEnds:
    """Where the last complete transaction of a file ends; remembers how far it has looked.

    Args:
        archive: The archive.
        identity: Its server, for positions.
        flavor: Whose files they are.
        saw: Told every table the files looked at speak of.
    """

    def __init__(
        self,
        archive: Archive,
        identity: ServerIdentity,
        flavor: Flavor,
        saw: Callable[[TableId], None] = lambda _table: None,
    ) -> None:
        self._archive, self.identity, self._flavor, self._saw = archive, identity, flavor, saw
        self._file: ArchivedFile | None = None
        self._end = BinlogPosition("", 0, "", identity)

    def of(self, file: ArchivedFile) -> BinlogPosition:
        """Return the position after a file's last complete transaction.

        It lies in the next file if this one ends with a ROTATE.
        """
        if self._file == file:
            return self._end
        begin = self._end if self._file and self._continues(self._file, file) else None
        start = begin or BinlogPosition(file.name, FIRST_OFFSET, "", self.identity)
        options = StreamOptions(slice_seconds=float("inf"))
        decoder = LogDecoder(start, self._flavor, None, self._unwanted, bool, options)
        begin_file(self._archive, decoder, self._flavor, file, start.offset)
        with self._archive.open(file, start.offset) as stream:
            deque(feed(decoder, stream, start.offset, None), maxlen=0)
        self._file, self._end = file, decoder.position()
        return self._end

    def _continues(self, known: ArchivedFile, file: ArchivedFile) -> bool:
        same = known.name == file.name == self._end.file and not file.packed
        return same and file.size >= known.size

    def _unwanted(self, table: TableId) -> bool:
        self._saw(table)
        return False


class ArchiveStream:
    """One stream over the files of an archive.

    Args:
        archive: The archive.
        ends: Knows where files end.
        start: Where to begin, exclusive; of this archive.
        flavor: Whose files they are.
        until: Ends there; None follows for ever.
        wanted: Which tables' changes to decode.
        stop: Asked several times a second; True ends the stream at the next boundary.
        options: Limits and policies.
        poll_interval: Seconds between looks for new files.
    """

    def __init__(
        self,
        archive: Archive,
        ends: FileEnds,
        start: BinlogPosition,
        flavor: Flavor,
        until: BinlogPosition | None,
        wanted: Callable[[TableId], bool],
        stop: Callable[[], bool],
        options: StreamOptions,
        poll_interval: float,
    ) -> None:
        self._archive, self._ends, self._flavor = archive, ends, flavor
        self._start, self._until, self._stop = start, until, stop
        self._decoder = LogDecoder(start, flavor, until, wanted, stop, options)
        self._poll_interval = poll_interval
        self._said = ""

    def run(self, closed: Callable[[], bool]) -> Generator[Piece]:
        """Yield slices until done.

        Args:
            closed: Whether nobody wants more.

        Raises:
            PositionPurged: A file is missing between others.
            ServerChanged: A file is not of the same log as the one before it.
            CorruptEvent: A file ends where it cannot end, or its bytes cannot be true.
            SourceUnavailable: The archive cannot be read.
        """
        decoder = self._decoder
        if self._until is not None and self._start.reached(self._until):
            return
        name, offset = self._start.file, self._start.offset
        while not decoder.done and not closed():
            files = self._archive.files()
            index = next((i for i, f in enumerate(files) if f.name == name), None)
            if index is not None:
                file, later = files[index], files[index + 1 :]
                offset = yield from self._read(file, offset, bool(later))
                if later and not decoder.done and not closed():
                    self._require_successor(file, offset, later[0])
                    name, offset = later[0].name, FIRST_OFFSET
                    continue
            if self._until is not None and not decoder.done:
                yield from decoder.last()
            else:
                yield from self._wait(closed)

    def _read(self, file: ArchivedFile, offset: int, followed: bool) -> Generator[Piece, None, int]:
        """Yield what a file has from an offset on; returns how far it was read."""
        limit = None
        if not followed or self._archive.describe(file).in_use:
            end = self._ends.of(file)
            limit = end.offset if end.file == file.name else None
            if limit is not None and not file.packed and limit < file.size:
                self._say_cut(file, limit)
        if limit is not None and limit <= offset:
            return offset
        begin_file(self._archive, self._decoder, self._flavor, file, offset)
        with self._archive.open(file, offset) as stream:
            return (yield from feed(self._decoder, stream, offset, limit))

    def _say_cut(self, file: ArchivedFile, limit: int) -> None:
        words = f"{file.name} ends within a transaction; it is read up to offset {limit}"
        if words != self._said:
            _log.warning("%s", words)
            self._said = words

    def _require_successor(self, file: ArchivedFile, read: int, later: ArchivedFile) -> None:
        """Refuse to go on with a file that does not continue the one before it."""
        here = self._decoder.position()
        rotated = here.file != file.name
        if later.number != file.number + 1 or (rotated and here.file != later.name):
            raise PositionPurged(
                f"the file after {file.name} is missing, the next one there is {later.name}",
                where=self._archive.where,
                remedy="put it into the archive; without it, begin a pipeline of another name "
                f"with startup: {{file: {later.name}}}",
            )
        if rotated:
            self._require_same_log(file, here, later)
            return
        if here.offset != read:
            raise CorruptEvent(
                f"{file.name} is cut: a transaction that begins at {here.offset} does not end",
                where=self._archive.where,
                remedy="copy the file again, its server has closed it",
            )
        if self._stopped(file, read):
            self._require_same_log(file, here, later)
        else:
            self._require_no_gap(file, here, later)

    def _stopped(self, file: ArchivedFile, size: int) -> bool:
        """Return whether a file of this plain size ends with a STOP: an orderly shutdown."""
        for length in (HEADER_SIZE, HEADER_SIZE + CHECKSUM_SIZE):
            with self._archive.open(file, max(size - length, FIRST_OFFSET)) as stream:
                header = stream.read(HEADER_SIZE)
            is_stop = header[4:5] == bytes([EventType.STOP])
            if is_stop and int.from_bytes(header[9:13], "little") == length:
                return True
        return False

    def _require_same_log(
        self, file: ArchivedFile, here: BinlogPosition, later: ArchivedFile
    ) -> None:
        """Refuse the next file if it is one of another server that happens to be named so."""
        known = GtidSet.parse(here.gtid_set, self._flavor)
        missing = self._archive.describe(later).gtids.subtract(known)
        if known and missing:
            raise ServerChanged(
                f"{later.name} does not go on where {file.name} ends: {missing} was executed "
                "before it and is in no file read",
                where=self._archive.where,
                remedy="keep the files of each server in a folder of their own",
            )

    def _require_no_gap(
        self, file: ArchivedFile, here: BinlogPosition, later: ArchivedFile
    ) -> None:
        """Let GTIDs tell whether a file without an end is all that its server wrote to it."""
        before = self._archive.describe(later).gtids
        missing = before.subtract(GtidSet.parse(here.gtid_set, self._flavor))
        if before and not missing:
            return  # the server died; nothing is missing
        what = f"it lacks {missing}" if missing else "without GTIDs nothing tells what it lacks"
        raise PositionPurged(
            f"{file.name} has no end, as if its server had died or it was copied too early: {what}",
            where=self._archive.where,
            remedy="copy the file again; if the server did die, begin a pipeline of another name "
            f"with startup: {{file: {later.name}}}",
        )

    def _wait(self, closed: Callable[[], bool]) -> Iterator[Piece]:
        """Pause before the next look at the archive, not in silence."""
        deadline = time.monotonic() + self._poll_interval
        while time.monotonic() < deadline and not closed():
            yield from self._decoder.pieces()
            if self._decoder.done:
                return
            time.sleep(min(_POLL_SECONDS, self._poll_interval))


def begin_file(
    archive: Archive, decoder: LogDecoder, flavor: Flavor, file: ArchivedFile, offset: int
) -> None:
    """Tell a decoder that the bytes of a file come next.

    Raises:
        CorruptEvent: It is a file of the other kind of server.
    """
    head = archive.describe(file)
    if head.server.flavor != flavor:
        raise CorruptEvent(
            f"the file was written by {head.server.flavor}, those before it by {flavor}",
            where=file.path,
        )
    decoder.begin_events(head.checksums)
    decoder.enter_file(file.name, offset)


def feed(
    decoder: LogDecoder, stream: IO[bytes], at: int, limit: int | None
) -> Generator[Piece, None, int]:
    """Yield the slices of a file's bytes.

    Args:
        decoder: Told of the file by `begin_file`.
        stream: The file, opened at an offset.
        at: That offset.
        limit: The offset to read up to; None for the file's end.

    Returns:
        The offset read up to.
    """
    while not decoder.done:
        view = decoder.room()
        if limit is not None:
            view = view[: max(0, limit - at)]
        count: int = stream.readinto(view) if len(view) else 0  # type: ignore[attr-defined]
        if not count:
            break
        at += count
        decoder.received(count)
        yield from decoder.pieces()
    return at
