"""Loads and merges into every sink, beside the engine's own bare bulk load and merge.

Run as `python -m benchmarks.sinks [--json] [--quick] [--rows 1000000 10000000] [--only NAME …]`.

`ours` is the sink as the engine calls it: chunks beside the live table with their marks, put in its
place with the watermark; changes merged with the watermark compared and set. `limit` is the same
rows by the engine's own fastest statements with nothing else done. `peer` is dlt with the same
Arrow tables, in a process of its own, where it has such a destination. Loads and merges of ours
and the limit take turns; each merge changes a tenth of the rows, others every time.

`growth` is how many times longer a merge of the same changes takes in the largest table than in the
smallest one; in `growth_newest` the changes go to the newest rows instead of all over the table.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.clock import Clock, Spent
from benchmarks.figures import Figure, arguments, rate, ratio, say, show
from benchmarks.rows import as_changes, parts, reduced, schema
from benchmarks.sinks_bare import Bare
from benchmarks.sinks_engines import BareClickHouse, BareDuckDB
from benchmarks.sinks_kafka import BareKafka
from benchmarks.sinks_lakes import BareDelta, BareIceberg, BareParquet
from benchmarks.sinks_paimon import BarePaimon
from benchmarks.sinks_servers import BareMySQL, BarePostgres
from resources.model.table import TableId
from resources.sinks.contract import Feed, Fence, Sink, TargetId, TargetTable

BARE: dict[str, Callable[[Path], Bare]] = {
    "duckdb": BareDuckDB,
    "postgres": BarePostgres,
    "mysql": BareMySQL,
    "clickhouse": BareClickHouse,
    "delta": BareDelta,
    "iceberg": BareIceberg,
    "parquet": BareParquet,
    "paimon": BarePaimon,
    "kafka": BareKafka,
}
"""Engines by the names of our sinks."""
SHARE = 0.1
"""Of the rows, changed by a merge."""
NEWEST = 2
"""Changes that go to the newest rows go to so many times as many of them."""
PEER_ROWS = 1_000_000
"""Rows of the largest table a peer is measured with."""
FEED = Feed("bench", TableId("bench", "t"))
Best = dict[str, Spent]
"""The best run by who it was: ours, limit, peer."""


class Ours:
    """Our sink, called as the engine calls it.

    Args:
        sink: It.
        bare: The engine it is on.
    """

    def __init__(self, sink: Sink, bare: Bare) -> None:
        self._sink = sink
        self._target = TargetTable(TargetId("bench", "ours"), schema("int"), bare.mode)
        self._seq = self._loads = 0

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Load all rows, a chunk each."""
        self._loads += 1
        self._seq, load_id = 0, f"load {self._loads}"
        with Clock() as clock:
            self._sink.begin_load(self._target, load_id, FEED)
            for number, part in enumerate(rows, start=1):
                self._sink.load_chunk(self._target, load_id, number, [part])
            self._sink.finish_load(self._target, load_id, Fence(FEED, 0, 0, 1), 0)
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Merge changes, or append them where the engine cannot merge."""
        count = upserts.num_rows + deletes.num_rows
        fence = Fence(FEED, self._seq, self._seq + count, 1)
        changes = as_changes(upserts, deletes, self._seq + 1)
        self._seq += count
        with Clock() as clock:
            if self._target.mode == "merge":
                self._sink.merge(self._target, upserts, deletes, fence)
            else:
                self._sink.append(self._target, changes, fence)
        return clock.spent

    def count(self) -> int:
        """Return the rows."""
        return self._sink.count_rows(self._target.id)


class Contest:
    """One sink and its bare engine, with tables of several sizes one after the other.

    Args:
        name: The sink's.
        bare: Its engine, started.
        ours: The sink.
        rounds: Runs of each, the best counts.
    """

    def __init__(self, name: str, bare: Bare, ours: Ours, rounds: int) -> None:
        self._name = name
        self._bare = bare
        self._ours = ours
        self._rounds = rounds
        self._seeds = itertools.count()

    def load(self, rows: int) -> Best:
        """Load a table."""
        table, turns = parts(rows), self._turns(rows)
        runs = [{w: it.load(table) for w, it in turns.items()} for _ in range(self._rounds)]
        return self._best(f"load of {rows:,} rows", runs)

    def merge(self, rows: int, count: int, newest: int = 0) -> Best:
        """Merge changes; see `reduced`."""
        turns, runs = self._turns(rows), []
        for _ in range(self._rounds):
            changes = reduced(rows, count, next(self._seeds), newest)
            runs.append({who: it.merge(*changes) for who, it in turns.items()})
        place = "the newest" if newest else "any"
        return self._best(f"merge of {count:,} changes to {place} of {rows:,} rows", runs)

    def require_equal(self, rows: int) -> None:
        """Check that both tables have as many rows, where both were written.

        Raises:
            SystemExit: They have not.
        """
        theirs = self._bare.count() if len(self._turns(rows)) > 1 else None
        if theirs is not None and (ours := self._ours.count()) != theirs:
            raise SystemExit(f"{ours:,} rows by the sink, {theirs:,} by bare statements")

    def _turns(self, rows: int) -> dict[str, Ours | Bare]:
        """Return whose turn it is, our sink's first."""
        turns: dict[str, Ours | Bare] = {"ours": self._ours}
        return turns | {"limit": self._bare} if rows <= self._bare.most else turns

    def _best(self, what: str, runs: Sequence[Best]) -> Best:
        best = {who: Spent.least([run[who] for run in runs]) for who in runs[0]}
        told = (f"{who} {s.seconds:.2f} s, {s.cpu:.2f} CPU s" for who, s in best.items())
        say(f"# {self._name}: {what}: {'; '.join(told)}; load {os.getloadavg()[0]:.1f}")
        return best


def measure(
    name: str, sizes: Sequence[int], rounds: int, *, peers: bool = True
) -> Iterator[Figure]:
    """Measure one sink.

    Args:
        name: The sink's.
        sizes: Rows of its tables.
        rounds: Runs of each, the best counts.
        peers: Whether peers are measured too.
    """
    with tempfile.TemporaryDirectory() as folder:
        engine = BARE[name](Path(folder))
        yield from compare(name, engine, sizes, rounds)
    for rows in sizes if engine.dlt and peers else ():
        if rows <= PEER_ROWS:
            with tempfile.TemporaryDirectory() as folder:
                loaded, merged = by_dlt(engine.dlt, rows, rounds, folder)
            size, changes = _size(rows), int(rows * SHARE)
            yield from _figures(f"{name}.load{size}", rows, {"peer": loaded})
            yield from _figures(f"{name}.merge{size}", changes, {"peer": merged})


def compare(name: str, engine: Bare, sizes: Sequence[int], rounds: int) -> Iterator[Figure]:
    """Measure one sink beside its engine, which is started here; see `measure`."""
    sizes = sorted(set(sizes))
    fewest, most = sizes[0], sizes[-1]
    count = int(fewest * SHARE)
    spread: dict[int, Best] = {}
    newest: dict[int, Best] = {}
    with engine as bare, bare.open_sink() as sink:
        contest = Contest(name, bare, Ours(sink, bare), rounds)
        for rows in sizes:
            yield from _figures(f"{name}.load{_size(rows)}", rows, contest.load(rows))
            # The few changes come first: what servers do later for many would count for them too.
            if fewest < most and rows in (fewest, most):
                newest[rows] = contest.merge(rows, count, NEWEST * count)
                spread[rows] = contest.merge(rows, count)
            changes = int(rows * SHARE)
            merged = contest.merge(rows, changes)
            yield from _figures(f"{name}.merge{_size(rows)}", changes, merged)
            contest.require_equal(rows)
    for what, found in (("growth", spread), ("growth_newest", newest)):
        for who in found.get(most, ()):
            yield _growth(f"{name}.{what}.{who}", found[most][who], found[fewest][who])


def by_dlt(destination: str, rows: int, rounds: int, folder: str) -> tuple[Spent, Spent]:
    """Return what a load and a merge by dlt took, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sinks_dlt"]
    command += [destination, str(rows), str(rounds), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    answer = json.loads(done.stdout.splitlines()[-1])
    return Spent(*answer["load"]), Spent(*answer["merge"])


def _size(rows: int) -> str:
    if rows == 1_000_000:
        return ""
    return f"_{rows // 1_000_000}m" if rows % 1_000_000 == 0 else f"_{rows}"


def _figures(what: str, rows: int, best: Best) -> Iterator[Figure]:
    for who, spent in best.items():
        speed, note = rate(rows, spent.seconds), ""
        if who != "limit" and "limit" in best:
            note = ratio(speed, rate(rows, best["limit"].seconds), "the bare engine")
        yield Figure(f"{what}.{who}", speed, "rows/s", note)
        cpu = round(spent.cpu / rows * 1_000_000, 3)
        yield Figure(f"{what}.{who}_cpu", cpu, "CPU s/M rows")


def _growth(what: str, most: Spent, least: Spent) -> Figure:
    note = f"{most.cpu / max(least.cpu, 0.01):.2f} by CPU time"
    return Figure(what, round(most.seconds / least.seconds, 2), "times", note)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", help="sizes of the table")
    parser.add_argument("--only", nargs="*", choices=sorted(BARE), help="sinks")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, the best counts")
    parser.add_argument("--no-peers", action="store_true", help="without dlt")
    chosen = parser.parse_args()
    sizes = chosen.rows or ([100_000] if chosen.quick else [1_000_000, 10_000_000])
    for name in chosen.only or BARE:
        show(measure(name, sizes, chosen.rounds, peers=not chosen.no_peers), chosen.json)


if __name__ == "__main__":
    main()
