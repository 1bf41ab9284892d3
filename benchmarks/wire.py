"""How fast bytes of a real MySQL become Arrow, beside the limit and beside other readers.

Run as `python -m benchmarks.wire [--json] [--quick]`; `--quick` leaves the 2 GB transaction out.
docs/benchmarks.md says what each figure means and what was measured where.

A private server writes every workload first, so that its log and tables are in memory. The limit
is the same bytes on the same kind of connection, read into one buffer and dropped. Limit and ours
run in turn in this process, after a warm-up that compiles the kernels outside of the timing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

from benchmarks.figures import Figure, alternate, arguments, rate, ratio, say, show
from benchmarks.wire_log import SERVER_OPTIONS, WORKLOADS, LogWriter
from benchmarks.wire_ours import settings_of, slices_of, stream_ours
from benchmarks.wire_readers import dump_limit, result_works, stream_peer
from benchmarks.wire_stretch import Stretch
from tests.servers import start_server
from tests.servers.family import FamilyServer

QUICK = 0.04


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--scale", type=float, help="size of the workloads, 1.0 in full")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, the best counts")
    parser.add_argument("--only", nargs="*", help="names of workloads, resultset, huge, first")
    chosen = parser.parse_args()
    scale = chosen.scale or (QUICK if chosen.quick else 1.0)
    parts = [*WORKLOADS, "resultset", "first", *(() if chosen.quick else ("huge",))]
    with start_server("mysql", options=SERVER_OPTIONS) as started:
        server = cast(FamilyServer, started)
        writer = LogWriter(server, scale)
        for part in parts:
            if not chosen.only or part in chosen.only:
                show(_figures(part, server, writer, chosen.rounds), chosen.json)


def _figures(part: str, server: FamilyServer, writer: LogWriter, rounds: int) -> Iterator[Figure]:
    say(f"# {part}: writing the workload")
    if part == "resultset":
        return _result_sets(server, writer.fill_results(), rounds)
    if part == "first":
        return _first_decode(server, writer.first(), rounds)
    if part == "huge":
        return _huge(server, writer.huge())
    return _stretch(server, WORKLOADS[part](writer), rounds)


def _stretch(server: FamilyServer, stretch: Stretch, rounds: int) -> Iterator[Figure]:
    """Measure one stretch of the log."""
    settings = settings_of(server.host, server.port)
    size, drop = dump_limit(server, stretch)
    deque(slices_of(settings, stretch, stretch.share_end), maxlen=0)
    say(f"# {stretch.name}: {stretch.rows:,} row changes, {size / 1e6:,.0f} MB")
    found = alternate(rounds, {"limit": drop, "ours": stream_ours(settings, stretch)})
    peer = alternate(1, {"peer": stream_peer(server, stretch)})["peer"]
    limit = rate(stretch.rows, found["limit"].seconds)
    ours = rate(stretch.rows, found["ours"].seconds)
    theirs = rate(stretch.share_rows, peer.seconds)
    name = f"binlog.{stretch.name}"
    yield Figure(
        f"{name}.limit", limit, "rows/s", f"{size / found['limit'].seconds / 1e6:,.0f} MB/s"
    )
    yield Figure(f"{name}.ours", ours, "rows/s", ratio(ours, limit, "the limit"))
    yield Figure(f"{name}.mysql-replication", theirs, "rows/s", f"ours: {ours / theirs:,.1f} x")
    cpu = round(found["ours"].cpu / stretch.rows * 1e6, 3)
    yield Figure(f"{name}.ours_cpu", cpu, "CPU s/M rows", "of this process, all threads")


def _result_sets(server: FamilyServer, rows: int, rounds: int) -> Iterator[Figure]:
    """Measure one SELECT of a whole table."""
    size, works = result_works(server, rows)
    works["ours"]()
    say(f"# resultset: {rows:,} rows, {size / 1e6:,.0f} MB")
    found = alternate(rounds, {name: works[name] for name in ("limit", "ours", "connectorx")})
    found |= alternate(1, {"pymysql": works["pymysql"]})
    limit = rate(rows, found["limit"].seconds)
    for name, timing in found.items():
        speed = rate(rows, timing.seconds)
        yield Figure(f"resultset.{name}", speed, "rows/s", ratio(speed, limit, "the limit"))
    cpu = round(found["ours"].cpu / rows * 1e6, 3)
    yield Figure("resultset.ours_cpu", cpu, "CPU s/M rows", "of this process, all threads")


def _huge(server: FamilyServer, stretch: Stretch) -> Iterator[Figure]:
    """Measure speed and memory of one large transaction, in a process of its own."""
    found = _child(server, stretch, first=False)
    yield Figure("binlog.huge.ours", rate(stretch.rows, found["seconds"]), "rows/s")
    yield Figure("binlog.huge.peak_mb", round(found["peak_mb"]), "MB")


def _first_decode(server: FamilyServer, stretch: Stretch, rounds: int) -> Iterator[Figure]:
    """Measure from an interpreter's start to its first batch, kernels compiled before."""
    _child(server, stretch, first=True)
    seconds = []
    for _ in range(rounds):
        began = time.monotonic()
        seconds.append(_child(server, stretch, first=True)["ended"] - began)
    note = "imports, login and read of the kernels' cache included"
    yield Figure("first_decode.seconds", round(statistics.median(seconds), 3), "s", note)


def _child(server: FamilyServer, stretch: Stretch, *, first: bool) -> dict[str, Any]:
    wanted = {"host": server.host, "port": server.port, "stretch": stretch.to_json()}
    command = [
        sys.executable,
        "-m",
        "benchmarks.wire_child",
        json.dumps({**wanted, "first": first}),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    main()
