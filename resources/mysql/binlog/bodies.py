"""Bodies of the events that carry no rows.

In: an event's body. Out: immutable values; `Truncated` where the bytes end too early.
Source: mysql-server libs/mysql/binlog/event/{control,statement}_events.h; MariaDB
"Replication Protocol".
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass

from resources.mysql.binlog.charsets import charset_of_collation, text_decoder
from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.events import Event, EventType
from resources.mysql.binlog.gtid import (
    Flavor,
    Gtid,
    GtidSet,
    decode_list,
    decode_set,
    gtid_number,
    gtid_tag,
)

_SETS = {
    "mysql": (EventType.PREVIOUS_GTIDS, decode_set),
    "mariadb": (EventType.GTID_LIST, decode_list),
}
_MARIADB_STANDALONE = 1
_MARIADB_COMMIT_ID = 2
_MARIADB_PREPARED_XA = 64
_MARIADB_ANY_XA = 64 | 128
_MARIADB_UNDONE = 2 | 8
"""Among the flags that come last: START ALTER and ROLLBACK ALTER."""
_ANSI_QUOTES = 4
_NO_BACKSLASH_ESCAPES = 1 << 20
_UTF8_COLLATION = 33
_FIXED_VARIABLES = {
    3: 4, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3, 17: 8, 18: 2, 19: 1, 20: 1, 128: 3, 129: 8,
}  # fmt: skip
_FLAGS2, _SQL_MODE, _CHARSET, _TIME_ZONE, _EXPLICIT_DEFAULTS = 0, 1, 4, 5, 16
_PREFIXED_VARIABLES = {6: 1, 11: 2}
_MAX_INFLATED = 1 << 30
_LARGEST_OFFSET = 1 << 62
_CREATED_AT = 2 + 50  # behind the format's version and the server's
_COMMIT_TIME = (1 << 55) - 1
"""The bits of a commit time; the one above them says whether the original one follows."""
GTID_EVENTS = frozenset(
    {EventType.GTID, EventType.ANONYMOUS_GTID, EventType.GTID_TAGGED, EventType.MARIADB_GTID}
)
"""Events that begin a transaction."""
QUERY_EVENTS = {
    EventType.QUERY: (0, False),
    EventType.QUERY_COMPRESSED: (0, True),
    EventType.EXECUTE_LOAD_QUERY: (13, False),
}
"""Events that hold a statement: bytes between the fixed part and the status variables, and whether
the text is in MariaDB's compressed form."""


@dataclass(frozen=True, slots=True)
class TransactionStart:
    """A GTID event of any kind: a transaction or a lone statement begins.

    Args:
        gtid: Its id; None if the log has none.
        commit_us: Commit time on the server read from, microseconds since the epoch; None
            where only the event's own seconds tell.
        standalone: MariaDB: one statement follows and no end of transaction.
        has_begin: Whether rows follow without a BEGIN of their own (MariaDB).
        prepared_xa: MariaDB: the transaction will be prepared, not committed.
        without_effect: MariaDB: an ALTER is begun or taken back; what it does comes with its
            commit (`binlog_alter_two_phase`).
    """

    gtid: Gtid | None
    commit_us: int | None
    standalone: bool = False
    has_begin: bool = False
    prepared_xa: bool = False
    without_effect: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A statement logged as text.

    Args:
        database: The default database it ran in.
        sql: Its text.
        ansi_quotes: Whether double quotes enclosed identifiers.
        backslash_escapes: Whether a backslash escaped in strings.
        sql_mode: The whole SQL mode, as its bits are numbered in the log.
        server_collation: Collation number of `collation_server` in its session.
        flags: Options of its session, as their bits are numbered in the log.
        explicit_timestamps: MySQL: `explicit_defaults_for_timestamp` in its session, None where
            the statement does not depend on it.
        time_zone: Time zone of its session, empty where nothing was converted by it.
    """

    database: str
    sql: str
    ansi_quotes: bool = False
    backslash_escapes: bool = True
    sql_mode: int = 0
    server_collation: int = 0
    flags: int = 0
    explicit_timestamps: bool | None = None
    time_zone: str = ""


def after_start(body: bytes) -> bool:
    """Return whether a FORMAT_DESCRIPTION is the first of its server since it started.

    It tells when it was made only then. Source: mysql-server libs/mysql/binlog/event/
    control_events.h, `Format_description_event::created`.
    """
    cursor = Cursor(body)
    cursor.take(_CREATED_AT)
    return cursor.uint(4) != 0


def rotate(body: bytes) -> tuple[str, int]:
    """Return the file that follows and the offset in it."""
    cursor = Cursor(body)
    offset = cursor.uint(8)
    if offset > _LARGEST_OFFSET:
        raise Truncated(f"no file has an offset {offset}")
    return cursor.rest().decode("utf-8", "replace"), offset


def transaction_start(event: Event, flavor: Flavor) -> TransactionStart:
    """Read any of `GTID_EVENTS`.

    Args:
        event: The event.
        flavor: Whose log it is in.

    Raises:
        Truncated: It is none that such a server writes.
    """
    if (event.type == EventType.MARIADB_GTID) != (flavor == "mariadb"):
        raise Truncated(f"no {flavor} server writes it")
    if event.type == EventType.GTID_TAGGED:
        return tagged_gtid(event.body)
    if event.type == EventType.MARIADB_GTID:
        return mariadb_gtid(event.body, event.server_id)
    return mysql_gtid(event.body, anonymous=event.type == EventType.ANONYMOUS_GTID)


def mysql_gtid(body: bytes, anonymous: bool) -> TransactionStart:
    """Read GTID and ANONYMOUS_GTID."""
    cursor = Cursor(body)
    cursor.take(1)
    source = str(uuid.UUID(bytes=cursor.take(16)))
    number = cursor.uint(8) if anonymous else gtid_number(cursor.uint(8))
    commit_us = None
    if cursor.left >= 17 + 7:  # logical clock, then the commit time of 8.0 and later
        cursor.take(17)
        commit_us = cursor.uint(7) & _COMMIT_TIME
    return TransactionStart(None if anonymous else Gtid(source, number), commit_us)


def tagged_gtid(body: bytes) -> TransactionStart:
    """Read GTID_TAGGED, the one event written by MySQL's serialization library."""
    cursor = Cursor(body)
    cursor.varlen()  # version of the format
    cursor.varlen()  # size of the message
    cursor.varlen()  # last field that must be understood
    source, tag, number, commit_us = "", "", 0, None
    while cursor.left:
        field = cursor.varlen()
        if field == 0:
            cursor.varlen()
        elif field == 1:
            source = str(uuid.UUID(bytes=bytes(cursor.varlen() & 0xFF for _ in range(16))))
        elif field == 2:
            number = gtid_number(cursor.varlen_signed())
        elif field == 3:
            tag = gtid_tag(cursor.take(cursor.varlen()))
        elif field == 6:
            commit_us = cursor.varlen() & _COMMIT_TIME
            break
        else:
            cursor.varlen()
    if not source or not number:
        raise Truncated("no transaction id in it")
    return TransactionStart(Gtid(f"{source}:{tag}" if tag else source, number), commit_us)


def mariadb_gtid(body: bytes, server_id: int) -> TransactionStart:
    """Read MariaDB's GTID event, which stands for BEGIN unless it is standalone."""
    cursor = Cursor(body)
    number = gtid_number(cursor.uint(8))
    domain, flags = cursor.uint(4), cursor.uint(1)
    standalone = bool(flags & _MARIADB_STANDALONE)
    return TransactionStart(
        Gtid(str(domain), number, server_id),
        None,
        standalone=standalone,
        has_begin=not standalone,
        prepared_xa=bool(flags & _MARIADB_PREPARED_XA),
        without_effect=bool(_last_flags(cursor, flags) & _MARIADB_UNDONE),
    )


def _last_flags(cursor: Cursor, flags: int) -> int:
    """Return the flags behind what others announce; zeros fill a short event up."""
    if flags & _MARIADB_COMMIT_ID:
        cursor.take(8)
    if flags & _MARIADB_ANY_XA:
        cursor.take(4)
        cursor.take(cursor.uint(1) + cursor.uint(1))
    return cursor.uint(1) if cursor.left else 0


def executed_before(event: Event, flavor: Flavor) -> GtidSet | None:
    """Return the transactions executed before a file, by its head; None if it is no such event."""
    kind, decode = _SETS[flavor]
    return decode(Cursor(event.body)) if event.type == kind else None


def statement(event: Event) -> Query:
    """Read any of `QUERY_EVENTS`."""
    return query(event.body, *QUERY_EVENTS[EventType(event.type)])


def query(body: bytes, skip: int = 0, compressed: bool = False) -> Query:
    """Read QUERY, MariaDB's QUERY_COMPRESSED and EXECUTE_LOAD_QUERY.

    Args:
        body: The body.
        skip: Bytes between the fixed part and the status variables (13 in EXECUTE_LOAD_QUERY).
        compressed: Whether the text is in MariaDB's compressed form.
    """
    cursor = Cursor(body)
    cursor.take(8)
    database_size = cursor.uint(1)
    cursor.take(2)
    status = cursor.uint(2)
    cursor.take(skip)
    variables = _status_variables(Cursor(cursor.take(status)))
    database = cursor.take(database_size).decode("utf-8", "replace")
    cursor.take(1)
    text = cursor.rest()
    mode = variables.sql_mode
    return Query(
        database,
        _text(inflate(text) if compressed else text, variables.client_collation),
        bool(mode & _ANSI_QUOTES),
        not mode & _NO_BACKSLASH_ESCAPES,
        mode,
        variables.server_collation,
        variables.flags,
        variables.explicit_timestamps,
        variables.time_zone,
    )


@dataclass(slots=True)
class _Variables:
    """The status variables of a statement that matter here."""

    sql_mode: int = 0
    client_collation: int = _UTF8_COLLATION
    server_collation: int = 0
    flags: int = 0
    explicit_timestamps: bool | None = None
    time_zone: str = ""


def _status_variables(cursor: Cursor) -> _Variables:
    """Read status variables; stops at one of unknown length."""
    out = _Variables()
    while cursor.left:
        code = cursor.uint(1)
        if code == _SQL_MODE:
            out.sql_mode = cursor.uint(8)
        elif code == _CHARSET:
            out.client_collation = cursor.uint(2)
            cursor.take(2)
            out.server_collation = cursor.uint(2)
        elif code == _FLAGS2:
            out.flags = cursor.uint(4)
        elif code == _TIME_ZONE:
            out.time_zone = cursor.take(cursor.uint(1)).decode("utf-8", "replace")
        elif code == _EXPLICIT_DEFAULTS:
            out.explicit_timestamps = cursor.uint(1) != 0
        elif code in _FIXED_VARIABLES:
            cursor.take(_FIXED_VARIABLES[code])
        elif code in _PREFIXED_VARIABLES:
            for _ in range(_PREFIXED_VARIABLES[code]):
                cursor.take(cursor.uint(1))
        else:
            break
    return out


def _text(data: bytes, collation: int) -> str:
    """Return a statement's text; what is no text of its client's character set is replaced."""
    decode = text_decoder(charset_of_collation(collation) or "latin1", "replace")
    return decode(data) if decode is not None else data.decode("latin-1")


def inflate(data: bytes) -> bytes:
    """Return what MariaDB compressed with zlib: a header byte, the size, the deflated bytes.

    Raises:
        Truncated: The bytes are not that, or expand to more than they announce.
    """
    cursor = Cursor(data)
    head = cursor.uint(1)
    if head & 0xF0 != 0x80:
        raise Truncated(f"unknown compression 0x{head:02x}")
    size = int.from_bytes(cursor.take(head & 0x07), "big")
    if size > _MAX_INFLATED:
        raise Truncated(f"{size} bytes announced, more than any event may have")
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(cursor.rest(), size + 1)
    except zlib.error as error:
        raise Truncated("the compressed bytes are damaged") from error
    if len(out) != size:
        raise Truncated(f"{size} bytes announced, {len(out)} found")
    return out
