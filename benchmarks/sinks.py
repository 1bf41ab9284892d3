"""Loads and merges into every sink, beside the engine's own bare bulk load and merge.

Run as `python -m benchmarks.sinks [--json] [--quick] [--rows 1000000 10000000] [--only NAME …]`.

`ours` is the sink as the engine calls it: chunks beside the live table with their marks, put in its
place with the watermark; changes merged with the watermark compared and set. `limit` is the same
rows by the engine's own fastest statements with nothing else done. `peer` is dlt with the same
Arrow tables, in a process of its own, where it has such a destination. Loads and merges of ours,
limit and peer take turns; each merge changes a tenth of the rows, others every time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.figures import Figure, arguments, rate, ratio, say, show
from benchmarks.rows import parts, reduced, schema
from benchmarks.sinks_bare import SERVERS, Bare
from benchmarks.sinks_lakes import BareClickHouse, BareDelta
from resources.model.table import TableId
from resources.sinks.contract import Feed, Fence, Sink, TargetId, TargetTable

BARE: dict[str, Callable[[Path], Bare]] = {
    **SERVERS,
    "clickhouse": BareClickHouse,
    "delta": BareDelta,
}
"""Engines by the names of our sinks."""
SHARE = 0.1
"""Of the rows, changed by a merge."""
TARGET = TargetTable(TargetId("bench", "ours"), schema("int"))
FENCE = Fence(Feed("bench", TableId("bench", "t")), 0, 0, 1)


def load(sink: Sink, rows: Sequence[pa.Table]) -> float:
    """Load all rows, a chunk each; the seconds it took."""
    began = time.perf_counter()
    load_id = str(began)
    sink.begin_load(TARGET, load_id, FENCE.feed)
    for number, part in enumerate(rows, start=1):
        sink.load_chunk(TARGET, load_id, number, [part])
    sink.finish_load(TARGET, load_id, FENCE, 0)
    return time.perf_counter() - began


def merge(sink: Sink, upserts: pa.Table, deletes: pa.Table) -> float:
    """Merge changes; the seconds it took."""
    began = time.perf_counter()
    sink.merge(TARGET, upserts, deletes, FENCE)
    return time.perf_counter() - began


def measure(name: str, rows: int, rounds: int) -> Iterator[Figure]:
    """Measure one sink with a table of so many rows."""
    size = "" if rows == 1_000_000 else f"_{rows // 1_000_000}m" if rows >= 1_000_000 else "_small"
    table = parts(rows)
    changes = [reduced(rows, SHARE, seed) for seed in range(rounds)]
    with tempfile.TemporaryDirectory() as folder, BARE[name](Path(folder)) as bare:
        with bare.open_sink() as sink:
            works: dict[str, Callable[[], float]] = {
                "ours": lambda: load(sink, table),
                "limit": lambda: bare.load(table),
            }
            loads = _best(works, rounds)
            turns = iter(changes)
            merges: dict[str, list[float]] = {"ours": [], "limit": []}
            for upserts, deletes in turns:
                merges["ours"].append(merge(sink, upserts, deletes))
                merges["limit"].append(bare.merge(upserts, deletes))
            _require_equal(sink, bare)
        merged = {who: min(seconds) for who, seconds in merges.items()}
        if bare.dlt:
            loads["peer"], merged["peer"] = _by_dlt(bare.dlt, rows, Path(folder))
    count = int(rows * SHARE)
    yield from _figures(f"{name}.load{size}", rows, loads)
    yield from _figures(f"{name}.merge{size}", count, merged)


def _best(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(work())
    return {name: min(found) for name, found in seconds.items()}


def _require_equal(sink: Sink, bare: Bare) -> None:
    ours, theirs = sink.count_rows(TARGET.id), bare.count()
    if ours != theirs:
        raise SystemExit(f"{ours:,} rows by the sink, {theirs:,} by bare statements")


def _by_dlt(destination: str, rows: int, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.sinks_dlt", destination, str(rows), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    answer = json.loads(done.stdout.splitlines()[-1])
    return float(answer["load"]), float(answer["merge"])


def _figures(what: str, rows: int, seconds: dict[str, float]) -> Iterator[Figure]:
    limit = rate(rows, seconds["limit"])
    for who, took in seconds.items():
        speed = rate(rows, took)
        note = "" if who == "limit" else ratio(speed, limit, "the bare engine")
        yield Figure(f"{what}.{who}", speed, "rows/s", note)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", help="sizes of the table")
    parser.add_argument("--only", nargs="*", choices=sorted(BARE), help="sinks")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, the best counts")
    chosen = parser.parse_args()
    sizes = chosen.rows or ([100_000] if chosen.quick else [1_000_000, 10_000_000])
    for name in chosen.only or BARE:
        for rows in sizes:
            say(f"# {name}, {rows:,} rows")
            show(measure(name, rows, chosen.rounds), chosen.json)


if __name__ == "__main__":
    main()
