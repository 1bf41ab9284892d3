"""OceanBase's kernel on a disk that is really full, which it says to nobody.

It writes its log to files of 64 MiB that it allocates whole. If one cannot be had it waits, and so
does every statement that writes. When there is room again it still waits, since the
file it had begun is in its way (`store/redo/.../1.tmp`): somebody has to delete it. To start the
server again is worse: a transaction that was under way keeps its locks for good.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from resources.errors import SinkUnavailable
from resources.sinks.contract import Watermark
from resources.sinks.mysql import MySQLSink
from tests.contracts.sink_steps import (
    FEED,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    rows_of,
)
from tests.servers.oceanbase import OceanBaseServer
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.small_disk import big_rows, small_disk
from tests.strategies import comparable

pytestmark = pytest.mark.nightly
TO_START = 3000
"""Megabytes it has to see to start; it allocates a small part of them."""
SMALL = 400
SILENCE = 8.0
"""Seconds of silence after which the sink gives up here, in place of 600."""


def test_oceanbase(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", TO_START) as disk, OceanBaseServer(disk.folder) as server:
        server.start()
        # What it writes about itself would take the last megabyte meanwhile.
        server.execute("ALTER SYSTEM SET syslog_level = 'ERROR'")
        disk.resize(SMALL)
        room = MySQLRoom(server, frozenset({"shop"}))
        use_up_the_first_log_file(room)
        big = big_rows()
        with impatient(room) as sink:
            STEPS["merge"].prepare(sink)
            disk.fill()
            for write in (
                lambda: sink.merge(TARGET, big, keys_of(1), fence(10, 20)),
                lambda: load(sink, TARGET, "big", [big], fence(10, 20)),
            ):
                with pytest.raises(SinkUnavailable, match="did not answer") as caught:
                    write()
                assert "space" in caught.value.remedy
                assert big["name"][0].as_py() not in str(caught.value)
        disk.free()
        disk.resize(TO_START)
        delete_what_is_in_the_way(server)
        with impatient(room) as sink:
            require_going_on(sink)
            mark = sink.read_watermark(TARGET.id, FEED)
            assert mark is not None
            load(sink, TARGET, "big", [big], fence(mark.seq, mark.seq + 10))
            assert sink.read_table(TARGET.id).sort_by("id").equals(big)


def impatient(room: MySQLRoom) -> MySQLSink:
    """A sink that takes a silent server for lost within seconds."""
    sink = MySQLSink(**room.options())
    place = sink._database._place
    settings = replace(place.settings, read_timeout=SILENCE)
    sink._database._place = replace(place, settings=settings)
    return sink


def use_up_the_first_log_file(room: MySQLRoom) -> None:
    """Leave less of it than one write needs."""
    with MySQLSink(**room.options()) as sink:
        load(sink, TARGET, "first", [big_rows(), big_rows(100_000)], fence(None, 10))
        sink.drop_table(TARGET.id)


def delete_what_is_in_the_way(server: OceanBaseServer) -> None:
    """Delete the file that could not be allocated, and wait for the next one."""
    logs = server.datadir / "store/redo/sys/log_stream/log"
    (begun,) = logs.glob("*.tmp")
    begun.unlink()
    until = time.monotonic() + 60
    while not (logs / begun.stem).exists():
        assert time.monotonic() < until, "the server does not go on"
        time.sleep(0.1)
    # Waits for the locks of the write that it was in the middle of.
    server.execute("UPDATE _cdc.watermarks SET updated_at = updated_at")


def require_going_on(sink: MySQLSink) -> None:
    """The write whose answer did not come is there whole or not at all; the next ones go through.

    It was a merge to 20. A run begins at the watermark it finds.
    """
    mark = sink.read_watermark(TARGET.id, FEED)
    assert mark in (Watermark(10, 15, 1), Watermark(20, 15, 1))
    rows = sink.read_table(TARGET.id)
    old = rows_of({1: "one", 2: "two", 3: None})
    if mark.seq == 10:
        assert comparable(rows) == comparable(old)
    else:
        assert rows.num_rows == old.num_rows - 1 + big_rows().num_rows
    sink.merge(
        TARGET, rows_of({2: "TWO", 4: "four"}), keys_of(1, 77), fence(mark.seq, mark.seq + 1)
    )
    few = sink.read_table(TARGET.id).sort_by("id").slice(0, 3)
    assert comparable(few) == comparable(rows_of({2: "TWO", 3: None, 4: "four"}))
