"""Reading integers and strings off a block of bytes, with every length checked.

In: bytes the server sent. Out: Python values, or `Truncated` where the bytes end too early.
"""

from __future__ import annotations


class Truncated(ValueError):
    """The bytes end before the value does, or a length in them cannot be true."""


class Cursor:
    """A position in immutable bytes.

    Args:
        data: The bytes.
        pos: Where to begin.
        end: Where to stop; the end of `data` if not given.
    """

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self.end - self.pos

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            Truncated: There are fewer.
        """
        start = self.pos
        if count < 0 or count > self.end - start:
            raise Truncated(f"{count} bytes wanted, {self.end - start} left")
        self.pos = start + count
        return self.data[start : self.pos]

    def uint(self, size: int) -> int:
        """Return an unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def packed(self) -> int:
        """Return a length-encoded integer.

        Source: MySQL client/server protocol, "Protocol::LengthEncodedInteger".

        Raises:
            Truncated: The first byte announces no integer.
        """
        first = self.uint(1)
        if first < 0xFB:
            return first
        if first == 0xFC:
            return self.uint(2)
        if first == 0xFD:
            return self.uint(3)
        if first == 0xFE:
            return self.uint(8)
        raise Truncated(f"0x{first:02x} does not begin a length")

    def packed_bytes(self) -> bytes:
        """Return bytes preceded by their length-encoded length."""
        return self.take(self.packed())

    def varlen(self) -> int:
        """Return an unsigned integer of MySQL's serialization library.

        The number of one-bits at the low end of the first byte is the number of bytes that
        follow. Source: mysql-server, libs/mysql/serialization/variable_length_integers.h.
        """
        first = self.uint(1)
        extra = (~first & (first + 1)).bit_length() - 1 if first != 0xFF else 8
        rest = self.uint(extra)
        if extra == 8:
            return rest
        return (first >> (extra + 1)) | (rest << (7 - extra))

    def varlen_signed(self) -> int:
        """Return a signed integer of the same encoding (zigzag)."""
        value = self.varlen()
        return (value >> 1) ^ -(value & 1)

    def rest(self) -> bytes:
        """Return everything left."""
        return self.take(self.left)
