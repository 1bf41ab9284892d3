"""Sets of global transaction ids, in the dialects of MySQL (tagged ids too) and MariaDB.

In: the text forms servers print, or their binary forms. Out: immutable sets with the canonical
text. MySQL: a set is intervals per source. MariaDB: a position is the last id per domain.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Literal

from resources.errors import ConfigError
from resources.mysql.binlog.cursor import Cursor, Truncated

Flavor = Literal["mysql", "mariadb"]
Interval = tuple[int, int]
"""First and last number, both included."""
_TAG = re.compile(rb"(?:[a-z_][a-z0-9_]{0,31})?")


@dataclass(frozen=True)
class Gtid:
    """One transaction's id.

    Args:
        source: MySQL: the server's UUID in lower case, with `:tag` where it has a tag.
            MariaDB: the domain number.
        number: MySQL: transaction number. MariaDB: sequence number.
        server_id: MariaDB only: the server that first logged it.
    """

    source: str
    number: int
    server_id: int = 0


@dataclass(frozen=True)
class GtidSet:
    """An immutable set of transaction ids.

    Args:
        flavor: Whose rules hold.
        intervals: By source, sorted and merged. MariaDB: one interval 1..last per domain.
        servers: MariaDB only: by domain, the server id of the last transaction.
    """

    flavor: Flavor
    intervals: dict[str, tuple[Interval, ...]] = field(default_factory=dict)
    servers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, flavor: Flavor) -> GtidSet:
        """Read a set as the server prints it; blanks and line ends do not count.

        Raises:
            ConfigError: The text is no such set.
        """
        clean = "".join(text.split())
        if not clean:
            return cls(flavor)
        try:
            return _parse_mysql(clean) if flavor == "mysql" else _parse_mariadb(clean)
        except ValueError as error:
            raise ConfigError(f"not a GTID set of {flavor}: {text[:80]!r}") from error

    def __str__(self) -> str:
        """Return the canonical text: sources sorted, intervals merged."""
        if self.flavor == "mariadb":
            order = sorted(self.intervals, key=int)
            return ",".join(f"{d}-{self.servers[d]}-{self.intervals[d][-1][1]}" for d in order)
        parts: list[str] = []
        last_uuid = ""
        for source in sorted(self.intervals):
            base, _, tag = source.partition(":")
            spans = ":".join(f"{a}-{b}" if b > a else f"{a}" for a, b in self.intervals[source])
            body = f"{tag}:{spans}" if tag else spans
            if base == last_uuid:
                parts[-1] += f":{body}"
            else:
                parts.append(f"{base}:{body}")
            last_uuid = base
        return ",".join(parts)

    def __bool__(self) -> bool:
        """Return whether it has any transaction."""
        return bool(self.intervals)

    def contains(self, other: GtidSet) -> bool:
        """Return whether every transaction of `other` is in this set."""
        return not other.subtract(self)

    def add(self, gtid: Gtid) -> GtidSet:
        """Return the set with one more transaction."""
        old = self.intervals.get(gtid.source, ())
        servers = self.servers
        if self.flavor == "mariadb":
            spans: tuple[Interval, ...] = ((1, gtid.number),)
            servers = {**servers, gtid.source: gtid.server_id}
        elif old and old[-1][1] + 1 == gtid.number:  # the next one: nearly always
            spans = (*old[:-1], (old[-1][0], gtid.number))
        else:
            spans = _merged([*old, (gtid.number, gtid.number)])
        return GtidSet(self.flavor, {**self.intervals, gtid.source: spans}, servers)

    def union(self, other: GtidSet) -> GtidSet:
        """Return the transactions of either set."""
        intervals = dict(self.intervals)
        servers = dict(self.servers)
        for source, spans in other.intervals.items():
            mine = intervals.get(source, ())
            if source in other.servers and (not mine or spans[-1][1] > mine[-1][1]):
                servers[source] = other.servers[source]
            intervals[source] = _merged([*mine, *spans])
        return GtidSet(self.flavor, intervals, servers)

    def subtract(self, other: GtidSet) -> GtidSet:
        """Return the transactions that `other` lacks."""
        left = {
            source: rest
            for source, spans in self.intervals.items()
            if (rest := _difference(spans, other.intervals.get(source, ())))
        }
        servers = {s: i for s, i in self.servers.items() if s in left}
        return GtidSet(self.flavor, left, servers)

    def encode(self) -> bytes:
        """Return the binary form COM_BINLOG_DUMP_GTID carries (MySQL only).

        Source: mysql-server, sql/rpl_gtid_set.cc, `Gtid_set::encode`; a set with tags has format
        1 in its first and eighth byte and a tag after each UUID.
        """
        tagged = any(":" in source for source in self.intervals)
        count = len(self.intervals)
        header = 1 << 56 | count << 8 | 1 if tagged else count
        out = [header.to_bytes(8, "little")]
        for source in sorted(self.intervals):
            base, _, tag = source.partition(":")
            out.append(uuid.UUID(base).bytes)
            if tagged:
                out.append(bytes([len(tag) << 1]) + tag.encode())
            spans = self.intervals[source]
            out.append(len(spans).to_bytes(8, "little"))
            out += [a.to_bytes(8, "little") + (b + 1).to_bytes(8, "little") for a, b in spans]
        return b"".join(out)


def decode_set(cursor: Cursor) -> GtidSet:
    """Read the binary form of a MySQL set (PREVIOUS_GTIDS).

    Raises:
        Truncated: The bytes are no set.
    """
    header = cursor.uint(8)
    tagged = header >> 56 == 1
    count = (header >> 8) & ((1 << 48) - 1) if tagged else header
    intervals: dict[str, tuple[Interval, ...]] = {}
    for _ in range(_bounded(count, cursor)):
        source = str(uuid.UUID(bytes=cursor.take(16)))
        if tagged and (tag := cursor.take(cursor.varlen())):
            source += ":" + gtid_tag(tag)
        size = _bounded(cursor.uint(8), cursor)
        if not size:
            raise Truncated("a source without transactions")
        intervals[source] = _merged([_span(cursor) for _ in range(size)])
    return GtidSet("mysql", intervals)


def decode_list(cursor: Cursor) -> GtidSet:
    """Read MariaDB's GTID_LIST: the last id of every server in every domain, newest last.

    Raises:
        Truncated: The bytes are no list.
    """
    result = GtidSet("mariadb")
    count = cursor.uint(4) & 0x0FFFFFFF  # the upper bits are flags
    for _ in range(_bounded(count, cursor)):
        domain, server, number = cursor.uint(4), cursor.uint(4), gtid_number(cursor.uint(8))
        result = result.add(Gtid(str(domain), number, server))
    return result


def gtid_number(number: int) -> int:
    """Return the number of a transaction off the wire.

    Raises:
        Truncated: No transaction has it.
    """
    if not 1 <= number < 1 << 63:
        raise Truncated(f"no transaction has the number {number}")
    return number


def gtid_tag(data: bytes) -> str:
    """Return the tag of a transaction id, empty if it has none.

    Raises:
        Truncated: No tag looks like that.
    """
    if not _TAG.fullmatch(data):
        raise Truncated("what no tag of a transaction id can be")
    return data.decode("ascii")


def _span(cursor: Cursor) -> Interval:
    first, end = gtid_number(cursor.uint(8)), gtid_number(cursor.uint(8))
    if end <= first:
        raise Truncated("an interval of transactions that ends before it begins")
    return first, end - 1


def _bounded(count: int, cursor: Cursor) -> int:
    """Refuse a count that the bytes left could never hold, before looping over it."""
    if count > cursor.left // 16:
        raise Truncated(f"{count} entries announced, {cursor.left} bytes left")
    return count


def _parse_mysql(text: str) -> GtidSet:
    found: dict[str, list[Interval]] = {}
    for part in text.split(","):
        if not part:
            continue
        base, *rest = part.split(":")
        base = str(uuid.UUID(base))
        source, spans_seen = base, False
        for word in rest:
            if word[:1].isdigit():
                first, _, last = word.partition("-")
                low, high = int(first), int(last or first)
                if low < 1:
                    raise ValueError(word)
                if high >= low:
                    found.setdefault(source, []).append((low, high))
                spans_seen = True
            elif word.isidentifier() and len(word) <= 32:
                source = f"{base}:{word.lower()}"
            else:
                raise ValueError(word)
        if not spans_seen:
            raise ValueError(part)
    return GtidSet("mysql", {source: _merged(spans) for source, spans in found.items()})


def _parse_mariadb(text: str) -> GtidSet:
    intervals: dict[str, tuple[Interval, ...]] = {}
    servers: dict[str, int] = {}
    for part in text.split(","):
        domain, server, number = (int(word) for word in part.split("-"))
        intervals[str(domain)] = ((1, number),)
        servers[str(domain)] = server
    return GtidSet("mariadb", intervals, servers)


def _merged(spans: list[Interval]) -> tuple[Interval, ...]:
    out: list[Interval] = []
    for low, high in sorted(spans):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def _difference(spans: tuple[Interval, ...], minus: tuple[Interval, ...]) -> tuple[Interval, ...]:
    out: list[Interval] = []
    for low, high in spans:
        at = low
        for a, b in minus:
            if b < at or a > high:
                continue
            if a > at:
                out.append((at, a - 1))
            at = b + 1
        if at <= high:
            out.append((at, high))
    return tuple(out)
