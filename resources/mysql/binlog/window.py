"""A large buffer that bytes of a log are read into and walked in.

In: bytes, wherever they come from. Out: the stretch of them not yet walked.
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels.cells import Bytes


class Window:
    """Bytes of a log, `[begin, end)` of them not yet walked.

    Args:
        number: Which buffer of the walk it is.
        capacity: Its usual size; an event larger than that makes it grow until it has passed.

    Attributes:
        data: The buffer; it is another array after `make_room`.
        need: How many bytes from `begin` the walk wants to see.
    """

    def __init__(self, number: int, capacity: int) -> None:
        self.number = number
        self._capacity = capacity
        self.data: Bytes = np.empty(capacity, np.uint8)
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
        begin, held, old = self.begin, self.held, self.data
        wanted, size = held + max(self.need - held, least), self._capacity
        while size < wanted:
            size *= 2
        if size != len(old):
            self.data = np.empty(size, np.uint8)
        self.data[:held] = old[begin : begin + held]
        self.begin, self.end = 0, held

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
