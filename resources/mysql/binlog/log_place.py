"""Where in a log its reader is, and where the last transaction boundary lies.

In: events and the walk's numbers. Out: files, offsets, positions without GTIDs.
"""

from __future__ import annotations

from resources.model.position import BinlogPosition
from resources.mysql.binlog.events import BETWEEN_TRANSACTIONS, Event, EventType
from resources.mysql.kernels import walk_state as w

_HEARTBEATS = frozenset({EventType.HEARTBEAT, EventType.HEARTBEAT_V2})
_MADE_UP = BETWEEN_TRANSACTIONS | {EventType.ROTATE}
"""Events a server makes up where a dump begins, without an offset."""
_LOW = 0xFFFFFFFF


class LogPlace:
    """A place in a log; shares its offsets with the walk.

    Args:
        start: Boundary the first event comes after.
        state: The walk's numbers, see `walk_state`.

    Attributes:
        file: The log file being read.
    """

    def __init__(self, start: BinlogPosition, state: memoryview) -> None:
        self._state = state
        self._identity = start.identity
        self.file = self._bound_file = start.file
        state[w.AT] = state[w.BOUND_AT] = start.offset
        state[w.BOUND_HERE] = 1

    def where(self) -> str:
        """Return the place just after the event at hand, in words."""
        return f"{self.file}:{self._state[w.AT]}"

    def bound(self) -> BinlogPosition:
        """Return the last transaction boundary, by file and offset alone."""
        state = self._state
        file = self.file if state[w.BOUND_HERE] else self._bound_file
        return BinlogPosition(file, state[w.BOUND_AT], "", self._identity)

    def enter(self, event: Event) -> None:
        """Count an event's bytes and follow the offset, of which headers hold the low 32 bits."""
        state = self._state
        here = state[w.AT]
        state[w.BYTES_READ] += event.size
        if event.type in _HEARTBEATS:
            return
        # No offset is 0, unless it is that of the 4 GB just reached.
        reached = (here + event.size) & _LOW == 0 and event.type not in _MADE_UP
        if event.log_pos or reached:
            there = here & ~_LOW | event.log_pos
            if there >= here:
                state[w.AT] = there
            elif here - there > 1 << 31:
                state[w.AT] = there + _LOW + 1

    def enter_file(self, file: str, offset: int) -> None:
        """Go to another file, as a ROTATE does."""
        state = self._state
        if state[w.BOUND_HERE]:
            self._bound_file, state[w.BOUND_HERE] = self.file, 0
        self.file, state[w.AT] = file, offset
        self.pass_boundary()

    def pass_boundary(self) -> None:
        """Move the boundary here; backwards only where a transaction was really read.

        By GTID a server begins with a file's head, which lies before what was read of it.
        """
        state = self._state
        here = BinlogPosition(self.file, state[w.AT], "", self._identity)
        if not state[w.OPEN] and here.reached(self.bound()):
            state[w.BOUND_AT], state[w.BOUND_HERE] = here.offset, 1

    def restart(self) -> None:
        """Go back to the last boundary."""
        state, bound = self._state, self.bound()
        self.file, state[w.AT], state[w.BOUND_HERE] = bound.file, bound.offset, 1
