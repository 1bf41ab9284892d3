"""Events the walk leaves to Python: who began, where the boundary is, what is refused.

In: events in log order. Out: notices in a `SliceBuilder`, the position of the last transaction
boundary, the numbers the walk goes on with. Refuses, event by event, what cannot be decoded
exactly: formats can change with every client session, so that no look at the server's settings
proves anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from resources.errors import CorruptEvent, PositionPurged
from resources.model.change import UNDECODABLE, ShapeRecord
from resources.model.position import BinlogPosition, PreparedTransaction
from resources.model.table import TableId
from resources.mysql.binlog import bodies, refusals, xa
from resources.mysql.binlog.bodies import TransactionStart
from resources.mysql.binlog.cursor import Truncated
from resources.mysql.binlog.ddl import TableEffect, statement_notices
from resources.mysql.binlog.events import (
    BETWEEN_TRANSACTIONS,
    IGNORABLE,
    WITHOUT_ROWS,
    Event,
    EventType,
    type_name,
)  # fmt: skip
from resources.mysql.binlog.gtid import Flavor, Gtid, GtidSet
from resources.mysql.binlog.gtid_track import GtidTrack
from resources.mysql.binlog.known_tables import KnownTables
from resources.mysql.binlog.log_place import LogPlace
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.partial_update import full_update
from resources.mysql.binlog.rows import DUMMY_TABLE, ROW_EVENTS, inflated, row_head
from resources.mysql.binlog.slices import SliceBuilder
from resources.mysql.binlog.table_map import table_number
from resources.mysql.kernels import walk_state as w


@dataclass(frozen=True, slots=True)
class Transaction:
    """The transaction that is open.

    Args:
        commit_us: Commit time, microseconds since the epoch.
        begun: Whether its BEGIN was seen; a lone statement has none.
    """

    commit_us: int
    begun: bool


class LogReader:
    """Follows a log event by event; shares its numbers with the walk.

    Args:
        start: Boundary the first event comes after.
        flavor: Whose log it is.
        wanted: Which tables' changes are asked for.
        options: Limits and policies.
        builder: Where notices go.
        until: Transactions at which the walk is to halt.
        reread: Reads the log again from where a prepared transaction begins.

    Attributes:
        place: Where in the log it is.
        tables: The tables the log has spoken of.
        track: Start's GTID set and the transactions since. A start without one has none here
            until the head of a log file tells the whole set.
    """

    def __init__(
        self,
        start: BinlogPosition,
        flavor: Flavor,
        wanted: Callable[[TableId], bool],
        options: StreamOptions,
        builder: SliceBuilder,
        until: GtidSet | None = None,
        reread: xa.Reread = xa.nowhere,
    ) -> None:
        self._flavor, self._options, self._builder = flavor, options, builder
        self._state = state = builder.state
        self._gtid: Gtid | None = None
        self._without_effect = False
        self._prepared, self._reread = xa.PreparedTransactions(start.prepared), reread
        self.tables = KnownTables(flavor, wanted, options, self._undecodable)
        known = GtidSet.parse(start.gtid_set, flavor)
        self.track = GtidTrack(flavor, known, until if until is not None else GtidSet(flavor))
        # A set of only what was read since would make a later start by GTID read all the rest.
        state[w.GTIDS_KNOWN] = bool(start.gtid_set)
        state[w.SOURCE] = w.NO_GTID
        self.place = LogPlace(start, state)

    @property
    def transaction(self) -> Transaction | None:
        """The transaction that is open, None between transactions."""
        state = self._state
        return Transaction(state[w.COMMIT_US], bool(state[w.BEGUN])) if state[w.OPEN] else None

    @property
    def gtids(self) -> GtidSet:
        """The transactions up to the last boundary, as far as they are known."""
        return self.track.value()

    def position(self) -> BinlogPosition:
        """Return the last transaction boundary."""
        return replace(self.place.bound(), gtid_set=str(self.gtids), prepared=self._prepared.all())

    def restart(self) -> None:
        """Go back to the last boundary: the connection was lost."""
        if self._options.history is not None:
            self._options.history.restart(self.place.bound())
        self._undo()
        self.place.restart()
        self._state[w.SKIP_ROWS] = self._state[w.HANDED_OUT]

    def _undo(self) -> None:
        """Forget the open transaction."""
        state = self._state
        self._builder.back_to_mark()
        state[w.OPEN], state[w.MUTED], state[w.SOURCE] = 0, 0, w.NO_GTID
        state[w.EPOCH] += 1

    def feed(self, event: Event, inside: bool = False) -> Iterable[bytes]:
        """Take the next event, one the walk leaves to Python.

        Args:
            event: The event.
            inside: Whether it comes out of another one, whose own place counts.

        Returns:
            The plain events to walk before the next one: those of a compressed or partial row
            event, or of a prepared transaction that is now committed.

        Raises:
            CorruptEvent: Its bytes cannot be true.
            UnsupportedEvent: It may not be skipped and cannot be applied.
        """
        if not inside:
            self.place.enter(event)
        try:
            return self._dispatch(event)
        except Truncated as error:
            raise self.corrupt(event.type, str(error)) from error

    def corrupt(self, event_type: int, message: str) -> CorruptEvent:
        """Return the error for bytes of the event at hand that cannot be true."""
        return CorruptEvent(
            f"{type_name(event_type)}: {message}", where=self.place.where(), remedy=_REREAD
        )

    def _dispatch(self, event: Event) -> Iterable[bytes]:
        kind = event.type
        if kind == EventType.TABLE_MAP:
            self.tables.define(event.body, self._state[w.EPOCH], self.place.where())
        elif kind in ROW_EVENTS:
            return self._rows(event)
        elif kind in bodies.QUERY_EVENTS:
            return self._query(bodies.statement(event), event)
        elif kind == EventType.XID:
            return self._commit_group()
        elif kind == EventType.XA_PREPARE:
            return self._xa_prepare(event)
        elif kind == EventType.PARTIAL_UPDATE_ROWS:
            return self._partial_update(event)
        elif kind in bodies.GTID_EVENTS:
            self._begin(bodies.transaction_start(event, self._flavor), event)
        elif kind == EventType.ROTATE:
            self.place.enter_file(*bodies.rotate(event.body))
        elif kind in BETWEEN_TRANSACTIONS:
            if kind == EventType.FORMAT_DESCRIPTION and bodies.after_start(event.body):
                self._abandon()
            self._learn_gtids(event)
            self.place.pass_boundary()
        elif kind not in WITHOUT_ROWS:
            self._refuse_or_skip(event)
        return ()

    def _begin(self, start: TransactionStart, event: Event) -> None:
        state = self._state
        # After a restart, rows of a transaction without an end would come twice.
        if state[w.OPEN] and (state[w.BEGUN] or state[w.HANDED_OUT] or self._touched()):
            raise Truncated("a transaction begins before the end of the one that is open")
        self._gtid = start.gtid if state[w.GTIDS_KNOWN] else None
        commit_us = start.commit_us
        self._open(event.timestamp * 1_000_000 if commit_us is None else commit_us, start.has_begin)
        state[w.SOURCE] = w.NO_GTID if self._gtid is None else w.HELD_GTID
        state[w.MUTED] = start.prepared_xa
        self._without_effect = start.without_effect

    def _open(self, commit_us: int, begun: bool) -> None:
        state = self._state
        state[w.OPEN], state[w.BEGUN], state[w.COMMIT_US] = 1, begun, commit_us
        state[w.MUTED] = 0
        state[w.SOURCE] = w.NO_GTID
        self._builder.mark()

    def commit(self) -> None:
        """End the transaction here; the walk does the same at an XID."""
        state = self._state
        if state[w.SOURCE] == w.HELD_GTID and self._gtid is not None:
            self.track.add(self._gtid)
        elif state[w.SOURCE] >= 0:
            self.track.sources[state[w.SOURCE], w.GTID_LAST] = state[w.NUMBER]
        state[w.OPEN], state[w.MUTED], state[w.SOURCE] = 0, 0, w.NO_GTID
        state[w.BOUND_AT], state[w.BOUND_HERE] = state[w.AT], 1
        state[w.SKIP_ROWS] = state[w.HANDED_OUT] = 0
        state[w.TRANSACTIONS] += 1
        state[w.EPOCH] += 1
        self._builder.mark()

    def _abandon(self) -> None:
        """Forget a transaction whose server ended before it did, and undid it when it began."""
        if not self._state[w.OPEN]:
            return
        if self._state[w.HANDED_OUT]:
            raise refusals.died_within(str(self.place.bound()))
        self._undo()

    def _learn_gtids(self, event: Event) -> None:
        """Take the set of everything before it from a file's head, if none is known yet."""
        if self._state[w.GTIDS_KNOWN]:
            return
        known = bodies.executed_before(event, self._flavor)
        if known is not None:
            self.track.replace(known)
            self._state[w.GTIDS_KNOWN] = 1

    def _rows(self, event: Event) -> Iterable[bytes]:
        """Refuse a row event the walk did not take, or inflate it."""
        number = table_number(event.body)
        if number == DUMMY_TABLE:
            return ()
        shape = self.tables.get(number, self._state[w.EPOCH], self.place.where())
        if shape is None:
            return ()
        head = row_head(event)
        schema = shape.table.schema
        if head.columns != len(shape.table.columns):
            raise Truncated(f"{head.columns} columns where {schema.table}'s map has others")
        if not head.full:
            raise refusals.partial_images(schema.table, self.place.where())
        if ROW_EVENTS[event.type] == event.type:
            raise Truncated("its head cannot be read")
        return (inflated(event, head),)

    def _query(self, query: bodies.Query, event: Event) -> Iterable[bytes]:
        """Follow a statement: the ends of transactions, and what changes tables without rows."""
        words = query.sql[:24].upper().split()
        head, second = (*words, "", "")[:2]
        if not self._state[w.OPEN]:
            self._open(event.timestamp * 1_000_000, begun=True)
        if head == "BEGIN":
            self._state[w.BEGUN] = 1
        elif head == "COMMIT":
            self.commit()
        elif head == "ROLLBACK":
            self._rollback(whole=second != "TO")
        elif head == "XA":
            return self._xa_statement(second, query.sql)
        elif head not in ("SAVEPOINT", "RELEASE"):
            self._statement(query)
            if not self._state[w.BEGUN]:
                self.commit()
        return ()

    def _rollback(self, whole: bool) -> None:
        """A logged ROLLBACK undoes rows of some engines and not of others: read those again."""
        for table in sorted(self._touched()):
            self._notify(TableEffect(table, "statement", True, "ROLLBACK of rows already logged"))
        if whole:
            self.commit()

    def _statement(self, query: bodies.Query) -> None:
        passed_over, self._without_effect = self._without_effect, False
        if passed_over:
            return
        effects = statement_notices(query, self.tables.wanted, self._every_table)
        history = self._options.history
        if history is not None:
            effects = history.follow(query, self.place.where(), effects)
            self.tables.forget(history.changed)
        for effect in effects:
            self._notify(effect)

    def _undecodable(self, table: TableId, reason: str) -> None:
        """Have a table read again whose rows are passed over here; once in a slice is enough."""
        if not self._builder.noticed(table, UNDECODABLE):
            self._notify(TableEffect(table, UNDECODABLE, True, reason))

    def shape_records(self) -> list[ShapeRecord]:
        """Return what is to be kept about shapes at the place read up to, since the last call."""
        history = self._options.history
        return history.take_records() if history is not None else []

    def _notify(self, told: TableEffect) -> None:
        if not self._state[w.SKIP_ROWS]:
            self._builder.notice(told.notice(self._state[w.SEQ], self.place.where()))

    def _touched(self) -> set[TableId]:
        """Return the wanted tables with rows in the open transaction."""
        return self.tables.touched(self._state[w.EPOCH])

    def _every_table(self) -> set[TableId]:
        return {t for t in self._options.tables() if self.tables.wanted(t)} | self.tables.seen

    def _refuse_or_skip(self, event: Event) -> None:
        kind = event.type
        if kind == EventType.INCIDENT:
            self._incident()
        elif kind == EventType.START_ENCRYPTION:
            raise refusals.encrypted(self.place.where())
        elif not event.flags & IGNORABLE:
            raise refusals.unknown(kind, self.place.where())

    def _xa_statement(self, word: str, sql: str) -> Iterable[bytes]:
        xid = xa.statement_xid(sql)
        if word == "START":
            self._state[w.BEGUN] = self._state[w.MUTED] = 1
        elif word == "ROLLBACK":
            self._prepared.take(xid)
            self.commit()
        elif word == "COMMIT":
            return self._decided(xid, self._prepared.get(xid))
        return ()

    def _xa_prepare(self, event: Event) -> Iterable[bytes]:
        xid, one_phase = xa.prepare_xid(event.body)
        if one_phase:
            return self._commit_group()
        self._prepared.add(self._group(xid))
        self.commit()
        return ()

    def _group(self, xid: str) -> PreparedTransaction:
        """Return the open transaction as what can be read again."""
        bound = self.place.bound()
        touched = tuple((table.database, table.table) for table in sorted(self._touched()))
        return PreparedTransaction(xid, bound.file, bound.offset, touched)

    def _commit_group(self) -> Iterable[bytes]:
        """End the transaction; rows that were passed over, as if it were prepared, come now."""
        if self._state[w.MUTED] and self._touched():
            return self._decided("", self._group(""))
        self.commit()
        return ()

    def _decided(self, xid: str, prepared: PreparedTransaction | None) -> Iterator[bytes]:
        """Yield the rows of a prepared transaction that is now committed, then commit."""
        self._state[w.MUTED] = 0
        if prepared is None or prepared.tables:
            try:
                if prepared is None:
                    raise PositionPurged("it was prepared before the log was read from")
                yield from xa.rows_of_prepared(self._reread(prepared))
            except PositionPurged as error:
                tables = [TableId(*names) for names in prepared.tables] if prepared else ()
                detail = f"XA COMMIT: {error.message}"
                # Rows may have been handed out before; those behind them never will be.
                self._state[w.SKIP_ROWS] = 0
                for table in sorted(tables or self._every_table()):
                    self._notify(TableEffect(table, "xa", True, detail))
            except Truncated as error:
                raise self.corrupt(EventType.XA_PREPARE, str(error)) from error
        self._prepared.take(xid)
        self.commit()

    def _incident(self) -> None:
        tables = self._every_table()
        if not tables:
            raise refusals.lacks_changes(self.place.where())
        for table in sorted(tables):
            self._notify(
                TableEffect(table, "incident", True, "the server says its log lacks changes")
            )
        if self._state[w.OPEN] and not self._state[w.BEGUN]:
            self.commit()
        else:
            self.place.pass_boundary()

    def _partial_update(self, event: Event) -> Iterable[bytes]:
        """Write an update with parts of JSON values as one with the values."""
        shape = self.tables.get(table_number(event.body), self._state[w.EPOCH], self.place.where())
        if shape is None:
            return ()
        full = full_update(event, shape.table)
        if full is None:
            raise refusals.partial_images(shape.table.schema.table, self.place.where())
        return (full,)


_REREAD = "check network and disk of the server; mysqlbinlog --verify-binlog-checksum"
