"""Connections to a server within a budget: one per server and user in this process.

In: an address that opens connections, and the most connections allowed. Out: a connection for as
long as a call needs one; whoever finds none free waits. Idle connections are kept, and given up
for another database.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from resources.errors import TerminalError

C = TypeVar("C")
"""A driver's connection."""


class Address(Protocol[C]):
    """A database and who asks for it."""

    @property
    def where(self) -> str:
        """The server and database, without a secret."""
        ...

    @property
    def session(self) -> Hashable:
        """What sessions have in common that can stand for each other."""
        ...

    @property
    def budget(self) -> tuple[str, ...]:
        """What a budget goes by: the server and the user, in this process (not in its forks)."""
        ...

    def connect(self) -> C:
        """Open a connection, ready to be used.

        Raises:
            SinkUnavailable: The server cannot be reached.
            ConfigError: It does not let us in.
        """
        ...

    def revive(self, connection: C) -> bool:
        """Make an idle connection ready to be used; returns whether it lives."""
        ...

    def rest(self, connection: C) -> bool:
        """Undo what is open on a connection; returns whether it can be kept."""
        ...

    def end(self, connection: C) -> None:
        """Close a connection, whatever its state; return once the server has let it go too."""
        ...


class Budget(Generic[C]):
    """The connections of this process to one server as one user.

    The least of the limits asked for holds, for all who share it.
    """

    def __init__(self) -> None:
        self.prepared: set[str] = set()
        """Databases whose ledger is there."""
        self._limits: list[int] = []
        self._changed = threading.Condition()
        self._idle: list[tuple[Address[C], C]] = []
        self._holders: list[int] = []

    @property
    def limit(self) -> int:
        """The most connections there may be now."""
        return min(self._limits, default=1)

    def join(self, limit: int) -> None:
        """Add one who shares the budget, with a limit of his own."""
        with self._changed:
            self._limits.append(limit)
            self._make_room()

    def leave(self, limit: int) -> bool:
        """Take one of those who share it away; returns whether it was the last one."""
        with self._changed:
            self._limits.remove(limit)
            self._changed.notify_all()  # the limit may be a greater one now
            return not self._limits

    @contextmanager
    def borrowed(self, place: Address[C]) -> Iterator[C]:
        """Lend a connection; what is left open on it is rolled back.

        Raises:
            SinkUnavailable: The server cannot be reached.
            TerminalError: This thread holds a connection already and none is free.
        """
        connection = self._take(place)
        kept = False
        try:
            yield connection
            kept = True
        except Exception:
            kept = True
            raise
        finally:
            self._give_back(place, connection, kept)

    def close_idle(self) -> None:
        """Close every connection that nobody uses."""
        with self._changed:
            while self._idle:
                self._end_oldest()

    def _take(self, place: Address[C]) -> C:
        idle = self._reserve(place.session)
        try:
            while idle is not None:
                if place.revive(idle):  # else the server was restarted meanwhile
                    return idle
                place.end(idle)
                with self._changed:
                    idle = self._pop_idle(place.session)
            return place.connect()
        except BaseException:
            self._free()
            raise

    def _reserve(self, session: Hashable) -> C | None:
        """Wait for a place among the connections in use.

        In one step with the idle connection that is taken over, or given up for the one to open:
        whoever gives one back in between would close his, for the idle one still counts.
        """
        me = threading.get_ident()
        with self._changed:
            while len(self._holders) >= self.limit:
                if me in self._holders:
                    raise TerminalError(
                        "the sink was called from within a call of its own, and all of its "
                        f"{self.limit} connections are in use",
                        remedy="raise `max_connections` of the sink",
                    )
                self._changed.wait()
            self._holders.append(me)
            idle = self._pop_idle(session)
            if idle is None:
                self._make_room()
            return idle

    def _free(self) -> None:
        with self._changed:
            self._holders.remove(threading.get_ident())
            self._changed.notify()

    def _pop_idle(self, session: Hashable) -> C | None:
        for i in reversed(range(len(self._idle))):
            if self._idle[i][0].session == session:
                return self._idle.pop(i)[1]
        return None

    def _make_room(self) -> None:
        """Close idle connections for as long as there are too many, with those about to open."""
        while self._idle and len(self._idle) + len(self._holders) > self.limit:
            self._end_oldest()

    def _end_oldest(self) -> None:
        place, connection = self._idle.pop(0)
        place.end(connection)

    def _give_back(self, place: Address[C], connection: C, kept: bool) -> None:
        usable = kept and place.rest(connection)
        with self._changed:
            self._holders.remove(threading.get_ident())
            spare = self.limit - len(self._holders) - len(self._idle)
            if usable and self._limits and spare > 0:
                self._idle.append((place, connection))
            else:
                place.end(connection)
            self._changed.notify()


class Budgets(Generic[C]):
    """The budgets of one driver in this process."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, ...], Budget[C]] = {}
        self._lock = threading.Lock()

    def join(self, place: Address[C], limit: int) -> Budget[C]:
        """Return the budget of an address, with one more who shares it."""
        with self._lock:
            budget = self._all.setdefault(place.budget, Budget())
            budget.join(limit)
            return budget

    def leave(self, place: Address[C], budget: Budget[C], limit: int) -> None:
        """Take one of those who share a budget away; the last one closes its connections."""
        with self._lock:
            if budget.leave(limit):
                budget.close_idle()
                self._all.pop(place.budget, None)
