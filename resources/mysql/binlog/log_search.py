"""Places in a log, found: a time, a file's byte, a GTID set.

In: the files of a log, those of a server or of an archive, and a place as a person names it.
Out: the position of a transaction boundary. Files are chosen by binary search over their heads,
then followed event by event from there, since only that tells boundaries and GTID sets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from resources.errors import ConfigError, PositionPurged
from resources.model.place import FIRST_OFFSET, FilePlace, GtidPlace, Place, TimePlace
from resources.model.position import BinlogPosition, ServerIdentity
from resources.mysql.binlog.bodies import executed_before
from resources.mysql.binlog.events import Event, EventType
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.log_reader import LogReader
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.slices import SliceBuilder

_BEFORE_SETS = frozenset(
    {EventType.ROTATE, EventType.FORMAT_DESCRIPTION, EventType.START_ENCRYPTION}
    | {EventType.HEARTBEAT, EventType.HEARTBEAT_V2}
)
_SECOND_US = 1_000_000


class Log(Protocol):
    """The files of one log."""

    flavor: Flavor
    """Whose log it is."""
    identity: ServerIdentity
    """The server, for the positions handed out."""
    where: str
    """The log in words, for errors."""
    names: Sequence[str]
    """Names of the files, oldest first; at least one."""

    def read(self, name: str) -> Generator[Event, None, None]:
        """Yield a file's events from its head to its end, or to the log's end as it is now.

        A ROTATE that names the file itself comes first.
        """
        ...


@dataclass(frozen=True)
class Head:
    """What a file's first events say.

    Args:
        time_us: When it was begun, microseconds since the epoch, in whole seconds.
        gtids: What was executed before it; empty where the log does not say.
    """

    time_us: int
    gtids: GtidSet


class LogSearch:
    """Finds places in a log; remembers the heads it has read.

    Args:
        log: The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._heads: dict[str, Head] = {}

    def earliest(self) -> BinlogPosition:
        """Return the log's begin."""
        return self._begin_of(self._log.names[0])

    def before_time(self, place: TimePlace) -> BinlogPosition | None:
        """Return the boundary before the first transaction committed at or after a time.

        A file's begin has whole seconds, so the search begins with the last file whose second is
        over before the time. Clocks that were set back are taken as they are. Where the log has
        commit times in whole seconds, the time's second counts.

        Returns:
            None if every transaction of the log is older.

        Raises:
            PositionPurged: The log begins later.
        """
        names, second = self._log.names, place.time_us // _SECOND_US * _SECOND_US
        index = bisect_left(names, second, key=lambda name: self.head(name).time_us)
        if not index:
            begin = datetime.fromtimestamp(self.head(names[0]).time_us // _SECOND_US, UTC)
            raise PositionPurged(
                f"{place} lies before the log, which begins at {TimePlace(begin)}",
                where=self._log.where,
                remedy="name a later time, or `earliest` for everything the log still has",
            )

        def reached(reader: LogReader) -> bool:
            open_one = reader.transaction
            if open_one is None:
                return False
            whole = not open_one.commit_us % _SECOND_US  # a log that counts in seconds
            return open_one.commit_us >= (second if whole else place.time_us)

        return self._follow(names[index - 1], reached)

    def at_byte(self, place: FilePlace) -> BinlogPosition | None:
        """Return the boundary that a byte of a file is.

        Returns:
            None if it lies past the log's end.

        Raises:
            PositionPurged: The log begins with a later file.
            ConfigError: It lies inside a transaction, or there is no such file.
        """
        if place.file not in self._log.names:
            self._require_later(place)
            return None
        if place.offset == FIRST_OFFSET:
            return self._begin_of(place.file)
        before = FIRST_OFFSET
        for event, reader in self._events(place.file, only=True):
            if event.type == EventType.ROTATE and event.log_pos == place.offset:
                return reader.position()
            if reader.transaction is not None:
                continue
            here = reader.position()
            if here.offset >= place.offset:
                if here.offset == place.offset:
                    return here
                raise ConfigError(
                    f"{place} is no boundary: {before} and {here.offset} are the nearest ones",
                    where=self._log.where,
                    remedy=f"name one of them: {place.file}:{before} or {place.file}:{here.offset}",
                )
            before = here.offset
        if place.file != self._log.names[-1]:
            raise ConfigError(
                f"{place} lies past the end of that file, and the log goes on after it",
                where=self._log.where,
                remedy=f"name the next file with position {FIRST_OFFSET}",
            )
        return None

    def after_gtids(self, gtids: GtidSet) -> BinlogPosition | None:
        """Return the first boundary before which all transactions of a set lie.

        Returns:
            None if the log ends without some of them.

        Raises:
            PositionPurged: The log begins later.
        """
        names = self._log.names
        index = bisect_left(names, True, key=lambda name: self.head(name).gtids.contains(gtids))
        if not index:
            begin = self._begin_of(names[0])
            if begin.gtid_set == str(gtids):
                return begin
            raise self._purged_gtids(gtids)
        return self._follow(
            names[index - 1], lambda r: r.transaction is None and r.gtids.contains(gtids)
        )

    def file_of_gtids(self, gtids: GtidSet) -> str:
        """Return the last file before which nothing happened that a set does not have.

        Raises:
            PositionPurged: There is none: the log begins later.
        """
        names = self._log.names
        index = bisect_left(names, True, key=lambda n: not gtids.contains(self.head(n).gtids))
        if not index:
            raise self._purged_gtids(gtids)
        return names[index - 1]

    def parse(self, place: GtidPlace) -> GtidSet:
        """Return a place's set.

        Raises:
            ConfigError: It is not written in the dialect of the log.
        """
        return GtidSet.parse(place.gtid_set, self._log.flavor)

    def head(self, name: str) -> Head:
        """Return what a file's first events say."""
        found = self._heads.get(name)
        if found is None:
            found = self._heads[name] = self._read_head(name)
        return found

    def _read_head(self, name: str) -> Head:
        time_us, gtids = 0, GtidSet(self._log.flavor)
        with closing(self._log.read(name)) as events:
            for event in events:
                if event.type == EventType.FORMAT_DESCRIPTION:
                    time_us = event.timestamp * _SECOND_US
                elif event.type not in _BEFORE_SETS:
                    gtids = executed_before(event, self._log.flavor) or gtids
                    break
        return Head(time_us, gtids)

    def _begin_of(self, name: str) -> BinlogPosition:
        gtids = str(self.head(name).gtids)
        return BinlogPosition(name, FIRST_OFFSET, gtids, self._log.identity)

    def _follow(self, name: str, found: Callable[[LogReader], bool]) -> BinlogPosition | None:
        """Read from a file's head until something is found; return the last boundary then."""
        for _, reader in self._events(name):
            if found(reader):
                return reader.position()
        return None

    def _events(
        self, name: str, only: bool = False
    ) -> Generator[tuple[Event, LogReader], None, None]:
        """Yield each event from a file's head on, and a reader that was fed with it.

        Args:
            name: The file.
            only: End with it.
        """
        reader = LogReader(
            BinlogPosition(name, FIRST_OFFSET, "", self._log.identity),
            self._log.flavor,
            lambda _table: False,
            StreamOptions(),
            SliceBuilder(),
        )
        names = self._log.names
        for file in [name] if only else names[names.index(name) :]:
            with closing(self._log.read(file)) as events:
                for event in events:
                    _feed(reader, event)
                    yield event, reader

    def _require_later(self, place: FilePlace) -> None:
        """Refuse a file the log does not have, unless it may come later."""
        first, last = self._log.names[0], self._log.names[-1]
        here, low, high = (
            BinlogPosition(name, 0, "", self._log.identity) for name in (place.file, first, last)
        )
        if not here.reached(low):
            raise PositionPurged(
                f"{place} lies before the log, which begins with {first}",
                where=self._log.where,
                remedy="name a later place, or `earliest` for everything the log still has",
            )
        if high.reached(here):
            raise ConfigError(
                f"there is no file {place.file}; the log has {first} to {last}",
                where=self._log.where,
                remedy="SHOW BINARY LOGS lists a server's files",
            )

    def _purged_gtids(self, gtids: GtidSet) -> PositionPurged:
        first = self._begin_of(self._log.names[0])
        return PositionPurged(
            f"the log begins after GTID set {first.gtid_set or '(none)'}, which "
            f"{gtids or '(none)'} does not have in full",
            where=self._log.where,
            remedy="name a larger set, or `earliest` for everything the log still has",
        )


def find_start(search: LogSearch, place: Place) -> BinlogPosition | None:
    """Return the position of a place to begin at; None if the log ends before it.

    Raises:
        PositionPurged: The log begins after the place.
        ConfigError: There is no such place in this log.
    """
    if isinstance(place, TimePlace):
        found = search.before_time(place)
    elif isinstance(place, FilePlace):
        found = search.at_byte(place)
    else:
        found = search.after_gtids(search.parse(place))
    # A search follows no table and cannot tell whose rows a prepared transaction has.
    return replace(found, prepared=()) if found is not None else None


def find_end(search: LogSearch, place: Place, end: BinlogPosition) -> BinlogPosition:
    """Return where to stop: the place, but not before the log's begin nor past its end.

    Args:
        search: The log.
        place: Where somebody wants to stop.
        end: The log's end as it is now.

    Raises:
        ConfigError: The place is inside a transaction, or in no file of this log.
    """
    try:
        return find_start(search, place) or end
    except PositionPurged:
        return search.earliest()


def _feed(reader: LogReader, event: Event) -> None:
    if event.type == EventType.TRANSACTION_PAYLOAD:  # a whole transaction but for its GTID
        reader.place.enter(event)
        reader.commit()
    else:
        deque(reader.feed(event), maxlen=0)
