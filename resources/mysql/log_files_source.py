"""Archived log files as a `Source`: history without a server.

In: a folder or object store of binary logs. Out: slices, schemas from their table maps, positions
that a server with the same transactions goes on from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from resources.errors import CdcError, ConfigError, UnsupportedEvent
from resources.model.change import NO_SHAPES, LogSlice
from resources.model.place import GtidPlace, Place, Start
from resources.model.position import BinlogPosition, Position, ServerIdentity
from resources.model.source import Finding
from resources.model.table import TableId, TableSchema
from resources.mysql.binlog.archive import Archive
from resources.mysql.binlog.archive_log import ArchiveLog, continued
from resources.mysql.binlog.archive_stream import ArchiveStream, FileEnds
from resources.mysql.binlog.gtid import GtidSet
from resources.mysql.binlog.log_search import LogSearch, find_end, find_start
from resources.mysql.binlog.options import StreamOptions, ZeroDates
from resources.mysql.binlog.read_ahead import read_ahead
from resources.mysql.binlog.table_map import parse_table_map
from resources.mysql.binlog.table_schema import build_table
from resources.mysql.catalog import TablePatterns
from resources.mysql.check import check_key
from resources.mysql.schema_history.history import SchemaHistory


class BinlogFilesSource:
    """The binary logs in a folder, for one pipeline.

    Args:
        location: A path or an fsspec URL.
        pipeline: The pipeline's name.
        include: Patterns `database.table`.
        exclude: Patterns that win over `include`.
        startup: Where a new pipeline's change log begins.
        zero_dates: What a zero or impossible date becomes.
        poll_interval: Seconds between looks for new files while a run follows.
        transaction_bytes: Log bytes after which a transaction is handed on in parts.
        known_tables: Tables the pipeline has seen.
        watched: Columns of a table whose change makes an update carry its before-image.

    Raises:
        ConfigError: The location or a pattern cannot be used.
    """

    def __init__(
        self,
        location: str,
        *,
        pipeline: str,
        include: Sequence[str],
        exclude: Sequence[str] = (),
        startup: Start = "earliest",
        zero_dates: ZeroDates = "null",
        poll_interval: float = 5.0,
        transaction_bytes: int = StreamOptions.transaction_bytes,
        known_tables: Callable[[], Iterable[TableId]] = tuple,
        watched: Callable[[TableSchema], Collection[str]] = StreamOptions.watched,
    ) -> None:
        self.pipeline = pipeline
        self._archive = Archive(location)
        self._patterns = TablePatterns(tuple(include), tuple(exclude))
        self._startup = startup
        self._zero_dates: ZeroDates = zero_dates
        self._poll_interval = poll_interval
        self._transaction_bytes = transaction_bytes
        self._known_tables = known_tables
        self._watched = watched
        self._seen: set[TableId] = set()
        self._lock = threading.Lock()
        self._ends: FileEnds | None = None

    def identity(self) -> ServerIdentity:
        """Return whose files they are: kind and `server_id`. See `Source`."""
        return ArchiveLog(self._archive).identity

    def current_position(self) -> BinlogPosition:
        """Return the end of the last transaction that is there in full. See `Source`."""
        log = ArchiveLog(self._archive)
        with self._lock:
            return self._file_ends(log).of(log.newest)

    def _file_ends(self, log: ArchiveLog) -> FileEnds:
        if self._ends is None or self._ends.identity != log.identity:
            self._ends = FileEnds(self._archive, log.identity, log.flavor, self._seen.add)
        return self._ends

    def start_position(self) -> BinlogPosition:
        """Return where a new pipeline's change log begins.

        Raises:
            PositionPurged: The archive begins later.
            ConfigError: The place is past its end, or no boundary between transactions.
        """
        log = ArchiveLog(self._archive)
        search = LogSearch(log)
        if self._startup == "earliest":
            return search.earliest()
        if self._startup == "latest":
            return self.current_position()
        found = find_start(search, self._startup)
        if isinstance(self._startup, GtidPlace):
            _require_exact(log, search.parse(self._startup), found)
        if found is None:
            raise ConfigError(
                f"{self._startup} lies past the archive's end, {self.current_position()}",
                where=log.where,
                remedy="name an earlier place, or wait for the file that has it",
            )
        return found

    def stop_position(self, place: Place) -> BinlogPosition:
        """Return where a run that shall stop at a place stops. See `SeekableSource`."""
        return find_end(LogSearch(ArchiveLog(self._archive)), place, self.current_position())

    def wanted(self, table: TableId) -> bool:
        """Return whether the pipeline's patterns select a table."""
        self._seen.add(table)
        return self._patterns.match(table)

    def list_tables(self) -> list[TableId]:
        """Return the selected tables that the pipeline or the newest file knows, sorted.

        Other tables become known when the stream meets their rows.
        """
        self.current_position()
        found = {*self._seen, *self._known_tables()}
        return sorted(table for table in found if self._patterns.match(table))

    def read_schemas(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        """Return schemas from the newest table maps of the oldest and the newest file."""
        log = ArchiveLog(self._archive)
        found: dict[TableId, TableSchema] = {}
        for table, body in self._table_maps(log, set(tables).__contains__).items():
            schema = self._schema(log, table, body)
            if isinstance(schema, TableSchema):
                found[table] = schema
        return found

    def _table_maps(
        self, log: ArchiveLog, wanted: Callable[[TableId], bool]
    ) -> dict[TableId, bytes]:
        return log.table_maps({f.name: f for f in (log.files[0], log.newest)}.values(), wanted)

    def _schema(
        self, log: ArchiveLog, table: TableId, body: bytes
    ) -> TableSchema | UnsupportedEvent:
        try:
            return build_table(
                parse_table_map(body, log.flavor), None, self._zero_dates, f"{log.where} {table}"
            ).schema
        except UnsupportedEvent as error:
            return error

    def check(self) -> list[Finding]:
        """Return what stops or endangers a start, as far as the oldest and newest file tell."""
        try:
            log = ArchiveLog(self._archive)
            findings = _check_numbers(log)
            maps = self._table_maps(log, self._patterns.match)
            end = self.current_position()
        except CdcError as error:
            return [Finding("error", "archive", str(error.message), error.remedy or error.where)]
        if end.file == log.newest.name and not log.newest.packed and end.offset < log.newest.size:
            message = f"{log.newest.name} ends within a transaction, which is not read yet"
            findings.append(Finding("warning", "cut_file", message, "copy the file again"))
        if not maps and not self.list_tables():
            message = "no table of the oldest and the newest file is selected"
            findings.append(Finding("warning", "no_tables", message, "look at source.tables"))
        for table, body in sorted(maps.items()):
            schema = self._schema(log, table, body)
            if isinstance(schema, TableSchema):
                findings.extend(check_key(schema))
            elif not parse_table_map(body, log.flavor).named:
                findings.append(_without_names(table))
            else:
                message, remedy = schema.message, schema.remedy
                findings.append(Finding("error", "table_map", message, remedy, table))
        return findings

    def stream_changes(
        self,
        start: Position,
        until: Position | None,
        stop: Callable[[], bool],
        shapes: Mapping[TableId, str] = NO_SHAPES,
    ) -> Iterator[LogSlice]:
        """Yield the archive from `start`, once it is known to continue it. See `Source`."""
        log = ArchiveLog(self._archive)
        if not isinstance(start, BinlogPosition):
            raise ConfigError(
                "a polling position cannot be continued in a binary log",
                where=log.where,
                remedy="reset the pipeline's positions after changing its mode",
            )
        if until is not None and not isinstance(until, BinlogPosition):
            raise ConfigError("`until` is not a binary log position", where=log.where)
        begin = continued(log, start)
        history = SchemaHistory(log.server, self.wanted, "", shapes, read=None)
        history.begin(begin, (), dict)
        options = StreamOptions(
            zero_dates=self._zero_dates,
            tables=lambda: {*self.list_tables(), *self._known_tables()},
            transaction_bytes=self._transaction_bytes,
            history=history,
            watched=self._watched,
        )
        stream = ArchiveStream(
            self._archive,
            FileEnds(self._archive, log.identity, log.flavor, self._seen.add),
            begin,
            log.flavor,
            until,
            self.wanted,
            stop,
            options,
            self._poll_interval,
        )
        yield from read_ahead(stream.run)

    def lag_bytes(self, position: Position) -> int | None:
        """Return plain log bytes after a position, None if they cannot be counted."""
        if not isinstance(position, BinlogPosition):
            return None
        log = ArchiveLog(self._archive)
        end = self.current_position()
        if position.reached(end):
            return 0
        if position.file not in log.names or position.identity != log.identity:
            return None
        rest = log.files[log.names.index(position.file) :]
        if any(file.packed for file in rest):
            return None
        cut = log.newest.size - end.offset if end.file == log.newest.name else 0
        return sum(file.size for file in rest) - cut - position.offset

    def close(self) -> None:
        """Do nothing: files are closed as soon as they are read."""


def _check_numbers(log: ArchiveLog) -> list[Finding]:
    missing = [
        f"{before.name} and {after.name}"
        for before, after in zip(log.files, log.files[1:], strict=False)
        if after.number != before.number + 1
    ]
    if not missing:
        return []
    message = f"files are missing between {'; '.join(missing[:5])}"
    remedy = "put them into the archive, or begin after them with source.startup"
    return [Finding("warning", "missing_files", message, remedy)]


def _without_names(table: TableId) -> Finding:
    message = (
        f"rows of {table} have no column names, so that they are read only if the table's CREATE "
        "is in the files too"
    )
    remedy = "begin before it; or write logs with binlog_row_metadata = FULL"
    return Finding("warning", "column_names", message, remedy, table)


def _require_exact(log: ArchiveLog, gtids: GtidSet, found: BinlogPosition | None) -> None:
    """Refuse a set that no place of the archive has: its transactions are not all before others."""
    if found is None or found.gtid_set != str(gtids):
        has = f"the nearest place has {found.gtid_set}" if found else "the archive ends before"
        raise ConfigError(
            f"nowhere in the archive exactly {gtids} was executed; {has}",
            where=log.where,
            remedy="name another set, a file and a position, or a time",
        )
