"""The set of transactions read so far, kept together with the walk.

In: a start set, transactions one by one, or counted by the walk where they continue a source.
Out: the set at the last boundary; a halt of the walk where the set may hold all of another one.
"""

from __future__ import annotations

import uuid

import numpy as np

from resources.mysql.binlog.gtid import Flavor, Gtid, GtidSet
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Ints

_ROWS = 16
_NEVER = (1 << 63) - 1


class GtidTrack:
    """A growing GTID set.

    Args:
        flavor: Whose ids they are.
        start: The set to begin with.
        until: The set to halt at.

    Attributes:
        sources: The walk's table of sources it may count by itself, see `walk_state`.
    """

    def __init__(self, flavor: Flavor, start: GtidSet, until: GtidSet) -> None:
        self._flavor = flavor
        self._until = until
        self._value = start
        self._asked: tuple[GtidSet, bool] | None = None
        self._next = 0
        self.sources: Ints = np.empty((_ROWS, w.GTID_FIELDS), np.int64)
        self._names = [""] * _ROWS
        self._counted = [0] * _ROWS
        self.replace(start)

    def replace(self, value: GtidSet) -> None:
        """Take another set in place of this one."""
        self._value = value
        self._names = [""] * _ROWS
        self.sources[:] = -1
        self.sources[:, w.GTID_LAST] = self.sources[:, w.GTID_UNTIL] = _NEVER

    def value(self) -> GtidSet:
        """Return the set, with what the walk has counted."""
        for row, name in enumerate(self._names):
            last, counted = int(self.sources[row, w.GTID_LAST]), self._counted[row]
            if not name or last == counted:
                continue
            self._counted[row] = last
            if self._flavor == "mariadb":
                server = int(self.sources[row, w.GTID_LOW])
                self._value = self._value.add(Gtid(name, last, server))
            else:
                more = GtidSet("mysql", {name: ((counted + 1, last),)})
                self._value = self._value.union(more)
        return self._value

    def add(self, gtid: Gtid) -> None:
        """Count one transaction; the walk counts on from it by itself."""
        self._value = self.value().add(gtid)
        if ":" not in gtid.source:  # tagged ids come in an event the walk does not read
            self._teach(gtid)

    def contains_until(self) -> bool:
        """Return whether the set holds all of `until`, which is not empty."""
        value = self.value()
        if self._asked is None or self._asked[0] is not value:
            self._asked = value, bool(self._until) and value.contains(self._until)
        return self._asked[1]

    def _teach(self, gtid: Gtid) -> None:
        if gtid.source in self._names:
            row = self._names.index(gtid.source)
        else:
            row, self._next = self._next, (self._next + 1) % _ROWS
        if self._flavor == "mariadb":
            high, low = int(gtid.source), gtid.server_id
        else:
            halves = uuid.UUID(gtid.source).bytes
            high = int.from_bytes(halves[:8], "little", signed=True)
            low = int.from_bytes(halves[8:], "little", signed=True)
        missing = self._until.subtract(self._value).intervals.get(gtid.source)
        halt = missing[-1][1] if missing else _NEVER
        self._names[row], self._counted[row] = gtid.source, gtid.number
        self.sources[row] = high, low, gtid.number, halt
