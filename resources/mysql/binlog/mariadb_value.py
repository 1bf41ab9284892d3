"""Types of MariaDB that a table map cannot tell from BINARY: UUID, INET4, INET6.

In: the catalog's word for the type, the wire column. Out: decoders to the text the server prints.
"""

from __future__ import annotations

import ipaddress
import struct
import uuid
from collections.abc import Callable

from resources.mysql.binlog import values
from resources.mysql.binlog.table_map import WireColumn
from resources.mysql.binlog.wire_types import WireType

_ZERO = b"\0"


def uuid_text(data: bytes) -> str:
    """Return a UUID's text; row images have its bytes in the order they are printed."""
    return str(uuid.UUID(bytes=data.ljust(16, b"\0")))


def inet6_text(data: bytes) -> str:
    """Return an IPv6 address as the server prints it.

    Unlike RFC 5952 even a single zero group is shortened, and addresses that carry an IPv4
    address end in its dotted form. Source: MariaDB sql/sql_type_inet.cc, `Inet6::to_string`.
    """
    groups = struct.unpack(">8H", data.ljust(16, b"\0"))
    begin, size = _longest_zeros(groups)
    if begin == 0 and (size == 6 or (size == 5 and groups[5] == 0xFFFF)):
        return f"::{'ffff:' if size == 5 else ''}{ipaddress.IPv4Address(data[12:].ljust(4, _ZERO))}"
    words = [f"{group:x}" for group in groups]
    if not size:
        return ":".join(words)
    return ":".join(words[:begin]) + "::" + ":".join(words[begin + size :])


def _longest_zeros(groups: tuple[int, ...]) -> tuple[int, int]:
    """Return where the first of the longest runs of zero groups begins, and its length."""
    best, begin = (0, 0), 0
    for index, group in enumerate(groups):
        if group:
            begin = index + 1
        elif index + 1 - begin > best[1]:
            best = (begin, index + 1 - begin)
    return best


def inet4_text(data: bytes) -> str:
    """Return an IPv4 address in dotted form."""
    return str(ipaddress.IPv4Address(data.ljust(4, b"\0")))


def _of_size(size: int, convert: values.Convert) -> Callable[[WireColumn], values.Decoder | None]:
    def make(wire: WireColumn) -> values.Decoder | None:
        if wire.type != WireType.STRING or wire.meta != size:
            return None
        return values.prefixed_decoder(1, convert, "not an address or UUID")

    return make


CATALOG_TYPES: dict[str, Callable[[WireColumn], values.Decoder | None]] = {
    "uuid": _of_size(16, uuid_text),
    "inet6": _of_size(16, inet6_text),
    "inet4": _of_size(4, inet4_text),
}
"""By the catalog's type name: the decoder, or None where the wire type shows another column."""
