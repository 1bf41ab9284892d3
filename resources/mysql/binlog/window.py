"""A large buffer that bytes of a log are read into and walked in.

In: bytes, wherever they come from. Out: the stretch of them not yet walked; whole buffers for
whoever still needs what lies before it.
"""

from __future__ import annotations

from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.kernels.cells import Bytes


class Window:
    """Bytes of a log, `[begin, end)` of them not yet walked.

    Args:
        number: Which buffer of the walk it is.
        capacity: Its usual size; an event larger than that makes it grow until it has passed.
        pool: Where its buffers come from.

    Attributes:
        data: The buffer; it is another array after `make_room`, `hand_over` and `split`.
        need: How many bytes from `begin` the walk wants to see.
    """

    def __init__(self, number: int, capacity: int, pool: ArrayPool) -> None:
        self.number = number
        self._capacity = capacity
        self._pool = pool
        self.data: Bytes = pool.bytes(capacity)
        self.begin = self.end = self.need = 0

    @property
    def held(self) -> int:
        """Number of bytes not yet walked."""
        return self.end - self.begin

    def clear(self) -> None:
        """Forget everything."""
        self.begin = self.end = self.need = 0

    def lacks(self, least: int) -> bool:
        """Return whether to make room for the bytes needed, or `least` more.

        That is so, too, where the buffer is larger than it any longer has to be.
        """
        wanted = max(self.need - self.held, least)
        if len(self.data) > self._capacity >= self.held + wanted:
            return True
        return len(self.data) - self.end < wanted

    def make_room(self, least: int) -> None:
        """Move the bytes held to the front, into a larger or again smaller buffer if need be."""
        size = self._size(least)
        if size != len(self.data):
            self._pool.give(self._move_to(self._pool.bytes(size)))
        else:
            self._move_to(self.data)

    def hand_over(self, least: int) -> Bytes:
        """Return the buffer, and go on with the bytes held, and room for more, in another one."""
        return self._move_to(self._pool.bytes(self._size(least)))

    def split(self, end: int) -> Bytes:
        """Return the buffer with what is held up to `end`, and go on behind it in another one."""
        self.begin, self.need = end, 0
        return self.hand_over(0)

    def adopt(self, data: Bytes, begin: int, end: int) -> None:
        """Go on in another buffer, whose bytes `[begin, end)` are the ones not yet walked."""
        self.data, self.begin, self.end, self.need = data, begin, end, 0

    def _size(self, least: int) -> int:
        wanted, size = self.held + max(self.need - self.held, least), self._capacity
        while size < wanted:
            size *= 2
        return size

    def _move_to(self, data: Bytes) -> Bytes:
        old, held = self.data, self.held
        data[:held] = old[self.begin : self.end]
        self.data, self.begin, self.end = data, 0, held
        return old

    def view(self, most: int) -> memoryview:
        """Return the writable bytes behind the end, at most `most`."""
        return self.data.data[self.end : self.end + most]

    def copy(self, begin: int, end: int) -> bytes:
        """Return a copy of `data[begin:end]`."""
        return self.data[begin:end].tobytes()

    def append(self, data: bytes) -> None:
        """Put bytes behind the end; the room is there."""
        self.view(len(data))[:] = data
        self.end += len(data)
