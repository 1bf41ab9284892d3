"""An archive as a log: to be searched, looked through for tables, and continued.

In: an archive. Out: its files' events one by one, for whoever wants few of them; positions that it
is sure to continue.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace

from resources.errors import ConfigError, PositionPurged, ServerChanged
from resources.model.place import FIRST_OFFSET
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.archive import Archive, ArchivedFile, read_events
from resources.mysql.binlog.events import ARTIFICIAL, Event, EventFraming, EventType
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.log_search import LogSearch
from resources.mysql.binlog.table_map import table_name

_LOOK_BYTES = 32 << 20


class ArchiveLog:
    """The files of an archive at one moment; see `log_search.Log`.

    Args:
        archive: The archive.

    Raises:
        ConfigError: It is empty.
        CorruptEvent: Its first file is no binary log.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.files = archive.files()
        self.where = archive.where
        if not self.files:
            raise ConfigError(
                "the folder has no binary logs",
                where=self.where,
                remedy="their names are those of the server, <log>.<number>, perhaps with .gz or "
                ".zst behind",
            )
        head = archive.describe(self.files[0])
        self.server = head.server
        self.flavor: Flavor = head.server.flavor
        self.identity = ServerIdentity(self.flavor, f"server_id {head.server_id}")
        self.names: Sequence[str] = [file.name for file in self.files]

    @property
    def newest(self) -> ArchivedFile:
        """The file that may still grow."""
        return self.files[-1]

    def read(self, name: str) -> Generator[Event, None, None]:
        """Yield a file's events, after a made-up ROTATE that names it."""
        file = self.files[self.names.index(name)]
        body = struct.pack("<Q", FIRST_OFFSET) + name.encode()
        yield Event(EventType.ROTATE, 0, 0, 0, ARTIFICIAL, 0, body)
        with self.archive.open(file) as stream:
            yield from read_events(stream, name, EventFraming(checksums=False))

    def table_maps(
        self, files: Iterable[ArchivedFile], wanted: Callable[[TableId], bool]
    ) -> dict[TableId, bytes]:
        """Return the newest table map of each wanted table near the begin of some files.

        Args:
            files: Where to look, oldest first; at most the first 32 MB of each.
            wanted: Which tables to keep.
        """
        found: dict[TableId, bytes] = {}
        for file in files:
            size = 0
            for event in self.read(file.name):
                size += event.size
                if event.type == EventType.TABLE_MAP and wanted(table := table_name(event.body)):
                    found[table] = event.body
                if size > _LOOK_BYTES:
                    break
        return found


def continued(log: ArchiveLog, start: BinlogPosition) -> BinlogPosition:
    """Return a position as one of this archive, after making sure that it continues it.

    Args:
        log: The archive.
        start: A position taken on it, or on its server.

    Raises:
        PositionPurged: The archive begins later.
        ServerChanged: It does not have what was read up to the position.
    """
    if start.identity.flavor != log.flavor:
        raise ServerChanged(
            f"position {start} was taken on {start.identity.flavor}, these are files of "
            f"{log.flavor}",
            where=log.where,
            remedy=_ELSEWHERE,
        )
    gtids = GtidSet.parse(start.gtid_set, log.flavor)
    if start.identity != log.identity:
        return _by_gtids(log, start, gtids)
    first, last = log.files[0], log.newest
    number = int(start.file.rpartition(".")[2])
    if number < first.number:
        raise PositionPurged(
            f"position {start} is gone from the archive, its first file is {first.name}",
            where=log.where,
            remedy="put the older files back",
        )
    beyond = number > last.number + 1 or (number > last.number and start.offset > FIRST_OFFSET)
    known = next((f for f in log.files if f.name == start.file), None)
    if beyond or (known is not None and not known.packed and start.offset > known.size):
        raise ServerChanged(
            f"position {start} lies beyond the archive's end, {last.name}:{last.size}",
            where=log.where,
            remedy=_ELSEWHERE,
        )
    if known is not None and gtids and not gtids.contains(log.archive.describe(known).gtids):
        raise ServerChanged(
            f"{known.name} is not the file that position {start} was taken in: transactions "
            "were executed before it that were never read",
            where=log.where,
            remedy=_ELSEWHERE,
        )
    return start


def _by_gtids(log: ArchiveLog, start: BinlogPosition, gtids: GtidSet) -> BinlogPosition:
    if not gtids:
        raise ServerChanged(
            f"position {start} was taken on {start.identity.uuid}, these are files of "
            f"{log.identity.uuid}; without GTIDs a position means nothing on another server",
            where=log.where,
            remedy=_ELSEWHERE,
        )
    found = LogSearch(log).after_gtids(gtids)
    if found is None or found.gtid_set != str(gtids):
        raise ServerChanged(
            f"nowhere in the archive exactly the transactions before position {start} were "
            f"executed: {gtids}",
            where=log.where,
            remedy=_ELSEWHERE,
        )
    return replace(start, file=found.file, offset=found.offset, identity=log.identity)


_ELSEWHERE = "name the folder the pipeline was begun with, or give the pipeline another name"
