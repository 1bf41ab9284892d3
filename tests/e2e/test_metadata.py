"""Metadata columns say of every row where it came from; mysqlbinlog and the server bear witness.

In: transactions that each write a number of their own. Out: nothing.
"""

from __future__ import annotations

import datetime as dt
import random
import re
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.transforms.rule import TransformRule
from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.servers.mysql import MySQLServer

NAMES = (
    "database", "table", "op", "commit_ts", "position", "gtid", "segment", "source", "pipeline",
    "loaded_at",
)  # fmt: skip
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Sync:
    """What the server and the clock said around a sync.

    Args:
        position: File and offset of the log's end before it.
        gtids: The server's executed transactions before it.
        began: Before it.
        ended: After it.
    """

    position: str
    gtids: str
    began: dt.datetime
    ended: dt.datetime


class Writer:
    """Writes numbers into rows, each in a transaction of its own, and knows which made its row."""

    def __init__(self, line: Line) -> None:
        self.line, self.random, self.last = line, random.Random(7), 0
        self.inserted: dict[int, int] = {}

    def write(self, count: int) -> range:
        """Write the next numbers; returns them."""
        for number in range(self.last + 1, self.last + 1 + count):
            key = self.random.randrange(16)
            if self.random.random() < 0.3:
                self.line.execute(f"DELETE FROM t WHERE id = {key}")
            if not self.line.select(f"SELECT id FROM t WHERE id = {key}"):
                self.inserted[key] = number
            self.line.execute(
                f"INSERT INTO t VALUES ({key}, {number}) ON DUPLICATE KEY UPDATE number = {number}"
            )
        done = range(self.last + 1, self.last + 1 + count)
        self.last += count
        return done


def test_metadata_columns_say_where_each_row_came_from(
    mysql: MySQLServer, mysql_db: str, tmp_path: Path
) -> None:
    projection = ("id", "number", *(f"__{name}__ AS {name}" for name in NAMES))
    rule = TransformRule(("*.t",), projection)
    options = {"transforms": Transforms((rule,)), "server": "main", "segment_rows": 100_000}
    line = Line(mysql, child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options))
    line.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, number INT)",
        *(f"INSERT INTO t VALUES ({n}, 0)" for n in range(8)),
    )
    mysql.execute("FLUSH BINARY LOGS")  # into a log of no other test's words
    line.sync()
    before = _position(mysql)
    line.load("t")
    writer, syncs = Writer(line), dict[int, Sync]()
    for _ in range(3):
        numbers = writer.write(8)
        position, began = _position(mysql), dt.datetime.now(dt.UTC)
        line.sync()
        syncs |= dict.fromkeys(numbers, Sync(*position, began, dt.datetime.now(dt.UTC)))
    committed = _committed(mysql, before[0].partition(":")[0])
    rows = line.target("t").to_pylist()
    there = line.select("SELECT id, number FROM t")
    assert {(r["id"], r["number"]) for r in rows} == {(r["id"], r["number"]) for r in there}
    assert {row["number"] > 0 for row in rows} == {True, False}, "both kinds are there"
    segments: dict[str, set[int]] = {}
    for row in rows:
        here = (row["database"], row["table"], row["source"], row["pipeline"])
        assert here == (mysql_db, "t", "main", "p")
        segments.setdefault(row["position"], set()).add(row["segment"])
        if row["number"] == 0:
            assert (row["op"], row["commit_ts"]) == ("+I", None)
            assert (row["position"], row["gtid"]) == before
            continue
        sync = syncs[row["number"]]
        micros = committed[row["number"]]
        assert row["commit_ts"] == EPOCH + dt.timedelta(microseconds=micros)
        made = writer.inserted.get(row["id"]) == row["number"]
        assert row["op"] == ("+I" if made else "+U"), row
        assert (row["position"], row["gtid"]) == (sync.position, sync.gtids)
        assert sync.began <= row["loaded_at"] <= sync.ended
    assert all(len(found) == 1 for found in segments.values()), "a segment ends in one place"
    places = [before[0], *dict.fromkeys(sync.position for sync in syncs.values())]
    in_order = [min(segments[place]) for place in places if place in segments]
    assert in_order == sorted(set(in_order))


def _position(server: MySQLServer) -> tuple[str, str]:
    """File and offset of the log's end, and the executed transactions."""
    ((file, offset, *_, gtids),) = server.execute("SHOW BINARY LOG STATUS")
    return f"{file}:{offset}", gtids.replace("\n", "")


def _committed(server: MySQLServer, log: str) -> dict[int, int]:
    """Commit time in microseconds by the number that a transaction wrote, as mysqlbinlog has it."""
    arguments = ("-v", "--base64-output=decode-rows", str(server.datadir / log))
    found: dict[int, int] = {}
    micros, after = 0, False
    for line in server.mysqlbinlog(*arguments).splitlines():
        if time := re.search(r"immediate_commit_timestamp=(\d+)", line):
            micros = int(time[1])
        elif line.startswith(("### SET", "### WHERE")):
            after = line.startswith("### SET")
        elif after and (number := re.match(r"###   @2=(\d+)", line)):
            found[int(number[1])] = micros
    return found
