"""What the reader refuses, in words: what, where, how to mend it.

In: the place and what stands there. Out: errors.
"""

from __future__ import annotations

from resources.errors import CorruptEvent, UnsupportedEvent
from resources.model.table import TableId
from resources.mysql.binlog.events import type_name


def partial_images(table: TableId, where: str) -> UnsupportedEvent:
    """Return the error for rows that lack columns."""
    return UnsupportedEvent(
        f"rows of {table} are logged without all of their columns",
        where=where,
        remedy="SET GLOBAL binlog_row_image = FULL, then reconnect the writing clients; "
        "read the table again by snapshot",
    )


def encrypted(where: str) -> UnsupportedEvent:
    """Return the error for a log that is sent as it is stored."""
    return UnsupportedEvent(
        "the log is encrypted and sent as it is",
        where=where,
        remedy="SET GLOBAL encrypt_binlog = OFF, FLUSH BINARY LOGS, snapshot again",
    )


def unknown(event_type: int, where: str) -> UnsupportedEvent:
    """Return the error for an event nobody here knows."""
    return UnsupportedEvent(
        f"{type_name(event_type)} is unknown here and may not be skipped",
        where=where,
        remedy="report it with the server's version; snapshot again to go past it",
    )


def lacks_changes(where: str) -> UnsupportedEvent:
    """Return the error for an incident while no table is known that could be read again."""
    return UnsupportedEvent(
        "the server says its log lacks changes (incident)",
        where=where,
        remedy="snapshot every table again and start from its position",
    )


def died_within(where: str) -> CorruptEvent:
    """Return the error for rows that were handed out and that their server has undone since."""
    return CorruptEvent(
        "the server died within the transaction that begins here; a part of it was handed out",
        where=where,
        remedy="snapshot again",
    )
