"""Bytes of a binary log into slices: the walk, what Python does between its steps, the limits.

In: bytes in large reads, from a dump connection (MySQL packets) or a log file (bare events). Out:
pieces of slices up to the last byte given; a `Gatherer` makes `LogSlice` values of them.

To decode log files instead of a connection: `LogDecoder.begin_events`, `enter_file` whenever the
next bytes are those of another file or place, then rounds of `room`, `received` and `pieces` for as
many bytes as there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from resources.model.position import BinlogPosition
from resources.model.table import TableId
from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.batches import FoundRows
from resources.mysql.binlog.cursor import Truncated
from resources.mysql.binlog.events import Event, EventFraming, EventType
from resources.mysql.binlog.gatherer import Piece, TakenBack
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.log_reader import LogReader
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import join_packets, out_of_order
from resources.mysql.binlog.payload import Payload
from resources.mysql.binlog.slices import SliceBuilder
from resources.mysql.binlog.window import Window
from resources.mysql.binlog.xa import Reread, nowhere
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.walk import walk

_OUTER, _INNER, _WRITTEN, _JOINED = range(4)
_WINDOW_BYTES = 1 << 20
_INNER_BYTES = 1 << 20
_LEAST_ROOM = 1 << 16
_MOST_READ = 1 << 20
_ROWS = 1 << 16
_RUNS = 1 << 14
_OFFSETS = (w.EVENT_BEGIN, w.EVENT_END, w.NEXT, w.ROW_AT, w.ROW_END)
_LARGEST_EVENT = (1 << 30) + (1 << 20)
_NEVER = (1 << 63) - 1


class LogDecoder:
    """Decodes a log from a position on, over as many connections or files as it takes.

    Args:
        start: Where the bytes begin, exclusive.
        flavor: Whose log it is.
        until: The stream ends at the first boundary that reaches it; None never ends it.
        wanted: Which tables' changes to decode; asked once per table.
        stop: Asked for every part of the bytes; True ends the stream at the next boundary.
        options: Limits and policies.
        reread: Reads the log again from where a prepared transaction begins.

    Attributes:
        done: Whether the last slice has ended.
    """

    def __init__(
        self,
        start: BinlogPosition,
        flavor: Flavor,
        until: BinlogPosition | None,
        wanted: Callable[[TableId], bool],
        stop: Callable[[], bool],
        options: StreamOptions,
        reread: Reread = nowhere,
    ) -> None:
        self.done = False
        self._options = options
        self._stop = stop
        self._builder = SliceBuilder()
        self._state = state = self._builder.state
        until_gtids = GtidSet.parse(until.gtid_set if until else "", flavor)
        self._reader = LogReader(start, flavor, wanted, options, self._builder, until_gtids, reread)
        self._until = until if until is not None and until.identity == start.identity else None
        self._framing, self._by_gtid = EventFraming(), False
        self._refuse: Callable[[bytes], Exception] = _no_packets
        self._pool = pool = ArrayPool()
        sizes = (_WINDOW_BYTES, _INNER_BYTES, _INNER_BYTES, 1)
        self._windows = [Window(number, size, pool) for number, size in enumerate(sizes)]
        self._rows, self._runs = pool.ints(_ROWS), pool.ints(_RUNS, w.RUN_FIELDS)
        self._due: list[Piece] = []
        self._yielded_at = time.monotonic()
        state[w.SLICE_ROWS], state[w.SLICE_BYTES] = options.slice_rows, options.slice_bytes
        state[w.PART_ROWS] = options.transaction_rows
        state[w.PART_BYTES] = options.transaction_bytes

    def begin_packets(
        self, checksums: bool, by_gtid: bool, refuse: Callable[[bytes], Exception]
    ) -> None:
        """Begin a dump connection, whose packets number 1 and up come next.

        Args:
            checksums: Whether events end in a CRC32 until a FORMAT_DESCRIPTION says otherwise.
            by_gtid: Whether the server sends all transactions missing in the position's GTID set.
            refuse: Gives the error for a payload that holds no event.
        """
        self._refuse = refuse
        self._begin(checksums, by_gtid, packets=True)

    def begin_events(self, checksums: bool) -> None:
        """Begin a log file, whose events come next without packets around them.

        Args:
            checksums: Whether they end in a CRC32 until a FORMAT_DESCRIPTION says otherwise.
        """
        self._begin(checksums, by_gtid=False, packets=False)

    def enter_file(self, file: str, offset: int) -> None:
        """Say that the next bytes are those of `file` from `offset` on, as a ROTATE does."""
        self._hand_over_rows()
        self._reader.place.enter_file(file, offset)
        self._watch_until()

    def _begin(self, checksums: bool, by_gtid: bool, packets: bool) -> None:
        state = self._state
        self._framing, self._by_gtid = EventFraming(checksums), by_gtid
        state[w.CHECKSUMS], state[w.PACKETS], state[w.SEQUENCE] = checksums, packets, 1
        state[w.INSIDE] = state[w.ROW_AT] = 0
        for window in self._windows:
            window.clear()
        self._watch_until()

    def restart(self) -> None:
        """Go back to the last boundary: what follows was lost and is given again."""
        self._hand_over_rows()
        self._reader.restart()
        self._due.append(TakenBack(self._state[w.SEQ]))

    def position(self) -> BinlogPosition:
        """Return the last transaction boundary."""
        return self._reader.position()

    def room(self) -> memoryview:
        """Return where to read the next bytes to, as many as there are up to its size."""
        return self._room(self._windows[_OUTER])

    def received(self, count: int) -> None:
        """Take the first `count` bytes of what `room` returned last."""
        self._windows[_OUTER].end += count

    def pieces(self) -> Iterator[Piece]:
        """Yield what ended with the bytes received; call it now and then while there are none."""
        state = self._state
        yield from self._ready()
        yield from self._walk(self._windows[_OUTER])
        if not self.done and not state[w.OPEN]:
            self._at_boundary()
        elif not self.done and (self._stop() or self._late()):
            state[w.HALT] = 1
        yield from self._ready()

    def last(self) -> Iterator[Piece]:
        """Yield what ends the last slice; at `until` where the rest of the log is known empty."""
        self._end()
        yield from self._ready()

    def _ready(self) -> Iterator[Piece]:
        due, self._due = self._due, []
        yield from due

    def reached(self) -> bool:
        """Return whether the last boundary is at or past `until`, by file order or by GTIDs."""
        if self._until is not None and self._reader.place.bound().reached(self._until):
            return True
        return self._contains_until()

    def _contains_until(self) -> bool:
        return self._by_gtid and self._reader.track.contains_until()

    def _watch_until(self) -> None:
        """Say from which offset of this file on a boundary reaches `until`."""
        until, file = self._until, self._reader.place.file
        offset = _NEVER
        if until is not None and BinlogPosition(file, 0, "", until.identity).reached(until):
            offset = 0
        elif until is not None and until.reached(BinlogPosition(file, 0, "", until.identity)):
            same = BinlogPosition(file, until.offset, "", until.identity).reached(until)
            offset = until.offset if same else _NEVER
        self._state[w.UNTIL_AT] = offset

    def _late(self) -> bool:
        return time.monotonic() - self._yielded_at >= self._options.slice_seconds

    def _at_boundary(self) -> None:
        """End where asked, and let no second pass in silence."""
        self._state[w.HALT] = 0
        if self.reached() or self._stop():
            self._end()
        elif self._late():
            self._cut(complete=True)

    def _end(self) -> None:
        """End the last slice."""
        self.done = True
        end, until = self._reader.position(), self._until
        if until is not None and self._contains_until():
            end = end if end.reached(until) else replace(until, prepared=end.prepared)
        self._end_slice(end, complete=True)

    def _cut(self, complete: bool) -> None:
        """End a slice at the last boundary, or within the transaction behind it."""
        self._yielded_at = time.monotonic()
        self._end_slice(self._reader.position(), complete)

    def _end_slice(self, end: BinlogPosition, complete: bool) -> None:
        self._hand_over_rows()
        ended = self._builder.take(end, complete)
        self._due.append(replace(ended, shapes=self._reader.shape_records()))

    def _walk(self, window: Window) -> Iterator[Piece]:
        """Walk a window until it lacks bytes."""
        state = self._state
        while not self.done:
            answer = self._step(window)
            if answer == w.NEED_BYTES:
                self._require_possible(window)
                return
            if answer == w.EVENT:
                yield from self._event(window)
            elif answer == w.CUT:
                self._cut(complete=True)
            elif answer == w.PART:
                state[w.HANDED_OUT] += self._builder.since_mark()
                self._cut(complete=False)
            elif answer == w.BOUNDARY:
                self._at_boundary()
            elif answer == w.FULL:
                self._hand_over_rows()
            elif answer == w.JOIN:
                self._hand_over_rows()
                if not self._join(window):
                    return
                yield from self._walk_joined()
            else:
                raise self._error(answer, window)
            yield from self._ready()

    def _step(self, window: Window) -> int:
        state, tables = self._state, self._reader.tables
        state[w.POS], state[w.END], state[w.BUFFER] = window.begin, window.end, window.number
        answer = walk(
            window.data,
            self._builder.numbers,
            tables.maps,
            tables.arena,
            tables.slots,
            tables.layout,
            self._reader.track.sources,
            self._rows,
            self._runs,
        )
        window.begin, window.need = state[w.POS], state[w.NEED]
        return answer

    def _require_possible(self, window: Window) -> None:
        """Refuse a size that no event has, before room is made for it."""
        if window.need > _LARGEST_EVENT:
            raise self._reader.corrupt(0, f"{window.need} bytes announced")

    def _error(self, answer: int, window: Window) -> Exception:
        begin, end = self._state[w.EVENT_BEGIN], self._state[w.EVENT_END]
        if answer == w.PACKET:
            return self._refuse(window.copy(begin, end))
        if answer == w.DISORDER:
            return out_of_order(int(window.data[window.begin + 3]), self._state[w.SEQUENCE])
        assert answer == w.CORRUPT, answer
        event_type = int(window.data[begin + 4])
        return self._reader.corrupt(event_type, "a row image reaches beyond its event")

    def _event(self, window: Window) -> Iterator[Piece]:
        """Do what the walk leaves to Python."""
        state, reader = self._state, self._reader
        inside = bool(state[w.INSIDE])
        framing = _PLAIN if inside else self._framing
        data = window.copy(state[w.EVENT_BEGIN], state[w.EVENT_END])
        event = framing.parse(data, reader.place.file)
        window.begin = state[w.NEXT]
        state[w.SEQUENCE] = (state[w.SEQUENCE] + state[w.PACKETS]) & 0xFF
        state[w.CHECKSUMS] = self._framing.checksums
        if event.type == EventType.TRANSACTION_PAYLOAD and not inside:
            reader.place.enter(event)
            yield from self._payload(event)
        else:
            # A prepared transaction's events may be compressed themselves.
            number = _INNER if event.type == EventType.QUERY else _WRITTEN
            for data in self._feed(event, inside):
                yield from self._plain_event(data, self._windows[number])
        # Whatever Python did may have reached `until`; what the walk does it watches itself.
        state[w.HALT] = 1

    def _feed(self, event: Event, inside: bool) -> Iterable[bytes]:
        moves = event.type in (EventType.ROTATE, EventType.FORMAT_DESCRIPTION)
        if moves or (event.type == EventType.TABLE_MAP and self._reader.tables.full):
            self._hand_over_rows()  # they know their file and their table's slot no longer
        rows = self._reader.feed(event, inside)
        if moves:
            self._watch_until()
            self._due.append(TakenBack(self._state[w.SEQ]))  # rows that the server died over
        return rows

    def _payload(self, event: Event) -> Iterator[Piece]:
        """Walk the events of a compressed transaction, a part at a time."""
        window = self._windows[_INNER]
        window.need = 0
        try:
            payload = Payload(event.body)
            while payload.read(window, len(self._room(window))):
                yield from self._walk_inside(window)
            if window.held:
                raise Truncated("the payload ends within an event")
        except Truncated as error:
            raise self._reader.corrupt(event.type, str(error)) from error

    def _plain_event(self, event: bytes, window: Window) -> Iterator[Piece]:
        """Walk an event that Python wrote."""
        window.need = len(event)
        self._room(window)
        window.append(event)
        yield from self._walk_inside(window)

    def _walk_inside(self, window: Window) -> Iterator[Piece]:
        """Walk events that came out of another one."""
        state = self._state
        outer = state[w.PACKETS], state[w.INSIDE]
        state[w.PACKETS], state[w.INSIDE] = 0, 1
        yield from self._walk(window)
        state[w.PACKETS], state[w.INSIDE] = outer

    def _join(self, window: Window) -> bool:
        """Put an event of several packets into a buffer of its own, once all of it is there."""
        state, joined = self._state, join_packets(window, self._state[w.SEQUENCE])
        if joined is None:
            self._require_possible(window)
            return False
        begin = joined.begin + 1
        if window.data[joined.begin]:
            raise self._refuse(window.copy(joined.begin, joined.end))
        size = int.from_bytes(window.copy(begin + 9, begin + 13), "little")
        if size != joined.end - begin:  # raises
            self._framing.parse(window.copy(begin, joined.end), self._reader.place.file)
        self._windows[_JOINED].adopt(window.split(joined.next), begin, joined.end)
        state[w.SEQUENCE] = joined.sequence
        return True

    def _walk_joined(self) -> Iterator[Piece]:
        """Walk an event of several packets as a bare one."""
        state, window = self._state, self._windows[_JOINED]
        state[w.PACKETS] = 0
        yield from self._walk(window)
        state[w.PACKETS] = 1
        if not self._holds_rows(window):
            window.hand_over(0)

    def _room(self, window: Window) -> memoryview:
        """Return where to append to a window, after handing over what lies in the way."""
        if not window.held and not self._holds_rows(window):
            window.begin = window.end = 0
        if window.lacks(_LEAST_ROOM) and self._holds_rows(window):
            self._hand_over_rows()
        if window.lacks(_LEAST_ROOM):
            window.make_room(_LEAST_ROOM)
        return window.view(_MOST_READ)

    def _holds_rows(self, window: Window) -> bool:
        state = self._state
        return state[w.ROWS_USED] > 0 and state[w.ROWS_BUFFER] == window.number

    def _hand_over_rows(self) -> None:
        """Have the rows found converted, and go on in other memory."""
        state = self._state
        used, state[w.ROWS_USED] = state[w.ROWS_USED], 0
        count, state[w.RUNS_USED] = state[w.RUNS_USED], 0
        if not used:
            return
        window = self._windows[state[w.ROWS_BUFFER]]
        data = window.data
        # A joined event stays where it is: its buffer takes nothing more and is too large for the
        # pool, while moving the rest of it after every so many rows would take forever.
        if window.number != _JOINED or not window.held:
            if state[w.ROW_AT] and state[w.BUFFER] == window.number:
                for offset in _OFFSETS:  # what the walk broke off goes on in another place
                    state[offset] -= window.begin
            window.hand_over(_LEAST_ROOM)
        shapes, file, pool = self._reader.tables.shapes, self._reader.place.file, self._pool
        self._due.append(FoundRows(data, self._rows, self._runs, count, shapes, file, pool))
        self._rows, self._runs = pool.ints(*self._rows.shape), pool.ints(*self._runs.shape)


_PLAIN = EventFraming(checksums=False)


def _no_packets(payload: bytes) -> Exception:
    raise AssertionError("a log file has no packets")
