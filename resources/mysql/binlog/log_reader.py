"""Events into rows: which transaction is open, which tables are known, where the boundary is.

In: events in log order. Out: rows and notices in a `SliceBuilder`; the position of the last
transaction boundary. Refuses, event by event, what cannot be decoded exactly: formats can change
with every client session, so that no look at the server's settings proves anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from resources.errors import CorruptEvent, UnsupportedEvent
from resources.model.change import TableNotice
from resources.model.position import BinlogPosition
from resources.model.table import TableId
from resources.mysql.binlog import bodies
from resources.mysql.binlog.bodies import TransactionStart
from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.ddl import statement_notices
from resources.mysql.binlog.events import IGNORABLE, Event, EventType, type_name
from resources.mysql.binlog.gtid import Flavor, GtidSet, decode_list, decode_set
from resources.mysql.binlog.known_tables import KnownTables
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.rows import DUMMY_TABLE, ROW_EVENTS, row_images
from resources.mysql.binlog.slices import SliceBuilder
from resources.mysql.binlog.table_map import table_number

_BETWEEN = frozenset(
    {EventType.FORMAT_DESCRIPTION, EventType.PREVIOUS_GTIDS, EventType.STOP, EventType.GTID_LIST}
    | {EventType.BINLOG_CHECKPOINT}
)
"""Events that stand between transactions and move the boundary."""
_SETS = {EventType.PREVIOUS_GTIDS: decode_set, EventType.GTID_LIST: decode_list}
_HEARTBEATS = frozenset({EventType.HEARTBEAT, EventType.HEARTBEAT_V2})
_LOW = 0xFFFFFFFF
_WITHOUT_ROWS = frozenset(
    {EventType.INTVAR, EventType.RAND, EventType.USER_VAR, EventType.ROWS_QUERY}
    | {EventType.ANNOTATE_ROWS, EventType.HEARTBEAT, EventType.HEARTBEAT_V2, EventType.IGNORABLE}
    | {EventType.BEGIN_LOAD_QUERY, EventType.APPEND_BLOCK, EventType.DELETE_FILE}
    | {EventType.TRANSACTION_CONTEXT, EventType.VIEW_CHANGE}
)
"""Events that change no row by themselves; statement texts among them are never kept."""
_QUERIES = {
    EventType.QUERY: (0, False),
    EventType.QUERY_COMPRESSED: (0, True),
    EventType.EXECUTE_LOAD_QUERY: (13, False),
}


@dataclass
class Transaction:
    """The transaction that is open.

    Args:
        start: Its GTID event, None in logs without.
        commit_us: Commit time, microseconds since the epoch.
        open: Whether its BEGIN was seen; a lone statement has none.
        touched: Wanted tables with rows in it.
    """

    start: TransactionStart | None
    commit_us: int
    open: bool = False
    touched: set[TableId] = field(default_factory=set)


class LogReader:
    """Follows a log event by event.

    Args:
        start: Boundary the first event comes after.
        flavor: Whose log it is.
        wanted: Which tables' changes are asked for.
        options: Limits and policies.
        builder: Where rows and notices go.

    Attributes:
        transaction: The open one, None between transactions.
        file: The log file being read.
        gtids: Start's GTID set and the transactions since. A start without one has none here
            until the head of a log file tells the whole set.
        handed_out: Rows of the open transaction that went out in incomplete slices; should the
            connection be lost, they are read again and not handed out again.
    """

    def __init__(
        self,
        start: BinlogPosition,
        flavor: Flavor,
        wanted: Callable[[TableId], bool],
        options: StreamOptions,
        builder: SliceBuilder,
    ) -> None:
        self._flavor = flavor
        self._options = options
        self._builder = builder
        self._tables = KnownTables(flavor, wanted, options)
        self.gtids = GtidSet.parse(start.gtid_set, flavor)
        # A set of only what was read since would make a later start by GTID read all the rest.
        self._gtids_known = bool(start.gtid_set)
        self.file = start.file
        self._at = start.offset
        self._bound = start
        self.transaction: Transaction | None = None
        self.handed_out = 0
        self._skip_rows = 0

    def position(self) -> BinlogPosition:
        """Return the last transaction boundary."""
        bound = self._bound
        return BinlogPosition(bound.file, bound.offset, str(self.gtids), bound.identity)

    def boundary_reached(self, other: BinlogPosition) -> bool:
        """Return whether the last boundary is at or past `other` by file order."""
        return self._bound.reached(other)

    def restart(self) -> None:
        """Go back to the last boundary: the connection was lost."""
        self._builder.back_to_mark()
        self.transaction = None
        self.file, self._at = self._bound.file, self._bound.offset
        self._skip_rows = self.handed_out
        self._tables.forget_numbers()

    def feed(self, event: Event, inside: bool = False) -> None:
        """Take the next event.

        Args:
            event: The event.
            inside: Whether it comes out of a TRANSACTION_PAYLOAD, whose own place counts.

        Raises:
            CorruptEvent: Its bytes cannot be true.
            UnsupportedEvent: It may not be skipped and cannot be applied.
        """
        if not inside:
            self.enter(event)
        try:
            self._dispatch(event)
        except Truncated as error:
            raise CorruptEvent(
                f"{type_name(event.type)}: {error}", where=self.where(), remedy=_REREAD
            ) from error

    def where(self) -> str:
        """Return the place just after the event at hand, in words."""
        return f"{self.file}:{self._at}"

    def enter(self, event: Event) -> None:
        """Count an event's bytes and follow the offset, of which headers hold the low 32 bits."""
        self._builder.bytes_read += event.size
        if event.log_pos and event.type not in _HEARTBEATS:
            at = self._at & ~_LOW | event.log_pos
            if at >= self._at:
                self._at = at
            elif self._at - at > 1 << 31:
                self._at = at + _LOW + 1

    def _dispatch(self, event: Event) -> None:
        kind = event.type
        if kind == EventType.TABLE_MAP:
            self._tables.define(event.body, self.where())
        elif kind in ROW_EVENTS:
            self._rows(event)
        elif kind in _QUERIES:
            skip, compressed = _QUERIES[EventType(kind)]
            self._query(bodies.query(event.body, skip, compressed), event)
        elif kind == EventType.XID:
            self._commit()
        elif kind == EventType.GTID:
            self._begin(bodies.mysql_gtid(event.body, anonymous=False), event)
        elif kind == EventType.ANONYMOUS_GTID:
            self._begin(bodies.mysql_gtid(event.body, anonymous=True), event)
        elif kind == EventType.GTID_TAGGED:
            self._begin(bodies.tagged_gtid(event.body), event)
        elif kind == EventType.MARIADB_GTID:
            self._begin(bodies.mariadb_gtid(event.body, event.server_id), event)
        elif kind == EventType.ROTATE:
            self._rotate(event)
        elif kind in _BETWEEN:
            self._learn_gtids(event)
            self._boundary()
        elif kind not in _WITHOUT_ROWS:
            self._refuse_or_skip(event)

    def _begin(self, start: TransactionStart, event: Event) -> None:
        commit_us = start.commit_us or event.timestamp * 1_000_000
        self.transaction = Transaction(start, commit_us, start.has_begin)
        self._builder.mark()

    def _boundary(self, forced: bool = False) -> None:
        """Move the boundary here; backwards only where a transaction was really read.

        By GTID a server begins with a file's head, which lies before what was read of it.
        """
        here = BinlogPosition(self.file, self._at, "", self._bound.identity)
        if forced or (self.transaction is None and here.reached(self._bound)):
            self._bound = here

    def _commit(self) -> None:
        transaction = self.transaction
        start = transaction.start if transaction is not None else None
        if start is not None and start.gtid is not None and self._gtids_known:
            self.gtids = self.gtids.add(start.gtid)
        self.transaction = None
        self._boundary(forced=True)
        self._skip_rows = self.handed_out = 0
        self._builder.transactions += 1
        self._builder.mark()
        self._tables.forget_numbers()

    def _learn_gtids(self, event: Event) -> None:
        """Take the set of everything before it from a file's head, if none is known yet."""
        if self._gtids_known or event.type not in _SETS:
            return
        self.gtids = _SETS[EventType(event.type)](Cursor(event.body))
        self._gtids_known = True

    def _rotate(self, event: Event) -> None:
        self.file, self._at = bodies.rotate(event.body)
        self._boundary()

    def _rows(self, event: Event) -> None:
        number = table_number(event.body)
        if number == DUMMY_TABLE:
            return
        table = self._tables.get(number, self.where())
        if table is None:
            return
        transaction = self._ensure_transaction(event)
        images = row_images(event.type, event.body)
        schema = table.table.schema
        if images.columns != len(schema.columns):
            raise Truncated(f"{images.columns} columns where {schema.table}'s map has others")
        if not images.full:
            raise UnsupportedEvent(
                f"rows of {schema.table} are logged without all of their columns",
                where=self.where(),
                remedy="SET GLOBAL binlog_row_image = FULL, then reconnect the writing clients; "
                "read the table again by snapshot",
            )
        transaction.touched.add(schema.table)
        where, time_us, builder = self.where(), transaction.commit_us, self._builder
        for row in table.rows(images):
            if self._skip_rows:
                self._skip_rows -= 1
            else:
                builder.add(schema, row, time_us, where)

    def _ensure_transaction(self, event: Event) -> Transaction:
        if self.transaction is None:
            self.transaction = Transaction(None, event.timestamp * 1_000_000, open=True)
            self._builder.mark()
        return self.transaction

    def _query(self, query: bodies.Query, event: Event) -> None:
        """Follow a statement: the ends of transactions, and what changes tables without rows."""
        words = query.sql[:24].upper().split()
        head, second = (*words, "", "")[:2]
        transaction = self._ensure_transaction(event)
        if head == "BEGIN" or (head == "XA" and second == "START"):
            transaction.open = True
        elif head == "COMMIT":
            self._commit()
        elif head == "ROLLBACK":
            self._rollback(whole=second != "TO")
        elif head == "XA":
            if second in ("COMMIT", "ROLLBACK"):  # of a prepared one, which touched no wanted table
                self._commit()
        elif head not in ("SAVEPOINT", "RELEASE"):
            self._statement(query)
            if not transaction.open:
                self._commit()

    def _rollback(self, whole: bool) -> None:
        """A logged ROLLBACK undoes rows of some engines and not of others: read those again."""
        transaction = self.transaction
        for table in sorted(transaction.touched if transaction else ()):
            self._notify(table, "statement", "ROLLBACK of rows already logged", True)
        if whole:
            self._commit()

    def _statement(self, query: bodies.Query) -> None:
        for effect in statement_notices(query, self._tables.wanted, self._every_table):
            self._notify(effect.table, effect.kind, effect.detail, effect.rewrites)

    def _notify(self, table: TableId, kind: str, detail: str, rewrites: bool) -> None:
        if self._skip_rows:
            return
        self._builder.notice(
            TableNotice(table, self._builder.seq, kind, detail, self.where(), rewrites)
        )

    def _every_table(self) -> set[TableId]:
        return {t for t in self._options.tables() if self._tables.wanted(t)} | self._tables.seen

    def _refuse_or_skip(self, event: Event) -> None:
        kind = event.type
        if kind == EventType.XA_PREPARE:
            self._xa_prepare(event)
        elif kind == EventType.INCIDENT:
            self._incident()
        elif kind == EventType.PARTIAL_UPDATE_ROWS:
            self._partial_update(event)
        elif kind == EventType.START_ENCRYPTION:
            raise UnsupportedEvent(
                "the log is encrypted and sent as it is",
                where=self.where(),
                remedy="SET GLOBAL encrypt_binlog = OFF, FLUSH BINARY LOGS, snapshot again",
            )
        elif not event.flags & IGNORABLE:
            raise UnsupportedEvent(
                f"{type_name(kind)} is unknown here and may not be skipped",
                where=self.where(),
                remedy="report it with the server's version; snapshot again to go past it",
            )

    def _xa_prepare(self, event: Event) -> None:
        touched = self.transaction.touched if self.transaction else set()
        if touched and not bodies.xa_prepare_one_phase(event.body):
            raise UnsupportedEvent(
                "an XA transaction with rows of "
                f"{', '.join(map(str, sorted(touched)))} was prepared; whether it commits is "
                "not known here",
                where=self.where(),
                remedy="write these tables without XA, or snapshot again after it is decided",
            )
        self._commit()

    def _incident(self) -> None:
        tables = self._every_table()
        if not tables:
            raise UnsupportedEvent(
                "the server says its log lacks changes (incident)",
                where=self.where(),
                remedy="snapshot every table again and start from its position",
            )
        for table in sorted(tables):
            self._notify(table, "incident", "the server says its log lacks changes", True)
        if self.transaction is not None and not self.transaction.open:
            self._commit()
        else:
            self._boundary()

    def _partial_update(self, event: Event) -> None:
        table = self._tables.get(table_number(event.body), self.where())
        if table is not None:
            raise UnsupportedEvent(
                f"rows of {table.table.schema.table} are logged with parts of JSON values",
                where=self.where(),
                remedy="SET GLOBAL binlog_row_value_options = '', then reconnect the writing "
                "clients; read the table again by snapshot",
            )


_REREAD = "check network and disk of the server; mysqlbinlog --verify-binlog-checksum"
