"""Events of several packets that hold very many rows."""

from __future__ import annotations

import struct

import numpy as np

from resources.model.position import BinlogPosition
from resources.mysql.binlog.batches import FoundRows
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import EventType
from resources.mysql.binlog.options import StreamOptions
from tests.mysql.binlog.log import gathered
from tests.mysql.binlog.synthetic import FILE, log_event, table_map
from tests.mysql.binlog.test_walk import HERE, feed

_ROWS = 3_500_000
_NUMBER = 5
_PACKET = 0xFFFFFF


def test_an_event_of_millions_of_rows_is_read_where_it_lies() -> None:
    """The rest of it is not moved each time that some of its rows are taken."""
    decoder = LogDecoder(
        BinlogPosition(FILE, 4, "", HERE), "mysql", None, lambda _: True, bool, StreamOptions()
    )
    decoder.begin_packets(False, False, lambda _: AssertionError())
    pieces = list(feed(decoder, _log(), [1 << 18]))
    found = [piece for piece in pieces if isinstance(piece, FoundRows)]
    assert len(found) > 10
    assert len({id(piece.data) for piece in found}) == 1
    keys = [b.rows.column("id") for part in gathered(pieces) for b in part.batches]
    assert np.array_equal(np.concatenate(keys), np.arange(_ROWS))


def _log() -> bytes:
    """Packets of one transaction of one event."""
    images = np.empty(_ROWS, np.dtype([("nulls", "u1"), ("id", "<i4")]))
    images["nulls"], images["id"] = 0b10, np.arange(_ROWS)
    rows = _NUMBER.to_bytes(6, "little") + struct.pack("<HHBB", 1, 2, 2, 3) + images.tobytes()
    events = [
        (EventType.TABLE_MAP, table_map(_NUMBER, 0)),
        (EventType.WRITE_ROWS, rows),
        (EventType.XID, bytes(8)),
    ]
    out, number = bytearray(), 1
    for kind, body in events:
        payload = b"\0" + log_event(kind, body, 0, 1, False)
        for at in range(0, len(payload), _PACKET):
            part = payload[at : at + _PACKET]
            out += len(part).to_bytes(3, "little") + bytes([number]) + part
            number += 1
    return bytes(out)
