"""What the walk over a binlog knows, as numbers both compiled code and Python read and write.

In: nothing. Out: indexes into the walk's one int64 array, columns of its tables, its answers.
"""

from __future__ import annotations

(
    # Bytes at hand.
    POS,  # Where the next packet or event begins.
    END,  # Where the bytes end.
    NEED,  # Answer NEED_BYTES: bytes from POS that the next step takes.
    PACKETS,  # Whether events come in MySQL packets.
    SEQUENCE,  # Number of the next packet.
    CHECKSUMS,  # Whether events end in a CRC32.
    INSIDE,  # Whether the events come out of another, whose own place and size count.
    BUFFER,  # Which buffer the bytes are in.
    EVENT_BEGIN,  # The event at hand; in answer PACKET the payload.
    EVENT_END,
    NEXT,  # Where POS goes once the event at hand is done.
    # Place in the log.
    AT,  # Offset in the log file, just after the event at hand.
    BOUND_AT,  # Offset of the last transaction boundary.
    BOUND_HERE,  # Whether that is in the file being read.
    UNTIL_AT,  # A boundary of this file from here on is to be looked at.
    HALT,  # The next boundary is to be looked at.
    # The open transaction.
    OPEN,  # Whether there is one.
    BEGUN,  # Whether its BEGIN was seen; a lone statement has none.
    COMMIT_US,  # Its commit time, microseconds since the epoch.
    SOURCE,  # Row of `sources` its GTID is from, or NO_GTID or HELD_GTID.
    NUMBER,  # Number of its GTID.
    MUTED,  # Whether its rows are passed over: it is prepared, not committed.
    EPOCH,  # Grows whenever table numbers lose their meaning.
    GTIDS_KNOWN,  # Whether ends of transactions are to be counted by GTID.
    # The slice being gathered.
    SEQ,  # Counter value of the next row.
    ROWS,  # Rows in the slice.
    IMAGE_BYTES,  # Bytes of their images.
    BYTES_READ,  # Log bytes it stands for.
    TRANSACTIONS,  # Transactions that ended in it.
    NOTICES,  # Notices in it.
    FIRST_US,  # Smallest commit time of its rows.
    LAST_US,  # Greatest commit time of its rows.
    SKIP_ROWS,  # Rows of the open transaction still to be passed over, handed out before.
    HANDED_OUT,  # Its rows that went out in parts of it.
    MARK_SEQ,  # The same when the open transaction began, or a part of it was taken.
    MARK_ROWS,
    MARK_IMAGE_BYTES,
    MARK_BYTES_READ,
    MARK_NOTICES,
    MARK_FIRST_US,
    MARK_LAST_US,
    # Limits.
    SLICE_ROWS,
    SLICE_BYTES,
    PART_ROWS,
    PART_BYTES,
    # Rows found and not yet converted.
    ROWS_USED,
    RUNS_USED,
    ROWS_BUFFER,  # Buffer their images are in.
    # The row event being read, where the answer FULL broke it off.
    ROW_AT,  # Where its next row begins; 0 if there is none.
    ROW_END,
    ROW_SLOT,
    ROW_KIND,
    SIZE,  # Number of fields.
) = range(53)

NO_GTID, HELD_GTID = -1, -2
"""A transaction without a GTID to count; one whose GTID Python keeps."""

NEED_BYTES, EVENT, CUT, PART, BOUNDARY, FULL, CORRUPT, JOIN, PACKET, DISORDER = range(1, 11)
"""Why the walk returned:
NEED_BYTES: the next step takes more bytes; EVENT: the event at hand is for Python; CUT: the slice
is to end at the last boundary; PART: inside the open transaction; BOUNDARY: a boundary to look at;
FULL: rows are to be converted first; CORRUPT: a row image does not end within its event; JOIN: a
packet that others continue; PACKET: a payload without an event; DISORDER: a packet out of order.
"""

KIND_BITS = 2
"""A row found is one number: where its image begins, and its kind in the lowest bits."""
KIND_MASK = (1 << KIND_BITS) - 1

RUN_SLOT, RUN_FIRST, RUN_ROWS, RUN_SEQ, RUN_US, RUN_AT, RUN_END = range(7)
"""Columns of the runs, rows found in one event: table slot, index of the first row, number of
rows, counter value of the first, commit time, offset in the log file, end of the last image."""
RUN_FIELDS = 7

MAP_NUMBER, MAP_SLOT, MAP_BODY, MAP_SIZE, MAP_EPOCH = range(5)
"""Columns of the known table maps: table number (-1: free), slot (-1: unwanted), where the body
lies in the arena, its size, the epoch it was last seen in. A hash table: a map is at `number &
(length - 1)` or in the next places up to a free one."""
MAP_FIELDS = 5

SLOT_FIRST, SLOT_COLUMNS, SLOT_KEYED, SLOT_EPOCH = range(4)
"""Columns of the table slots: first column in the layout, number of columns, number of those whose
change makes an update carry its before-image (0: every update does), the epoch it last had rows
in."""
SLOT_FIELDS = 4

CELL_PREFIX, CELL_WIDTH, CELL_KEY, CELL_SKIP, CELL_NEXT = range(5)
"""Columns of the layout: bytes of the length before a cell, else bytes of the cell; whether the
column is one of the key; if no cell is NULL, bytes from here to the next cell with a length before
it, and the number of columns up to that."""
CELL_FIELDS = 5

GTID_HIGH, GTID_LOW, GTID_LAST, GTID_UNTIL = range(4)
"""Columns of the sources of GTIDs: MySQL: the UUID's halves as little-endian integers; MariaDB:
domain, server id. Then the last number, and the number to halt at."""
GTID_FIELDS = 4
