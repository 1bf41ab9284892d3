"""One pipeline, opened: the source, the stores and the way to the sink, for one run.

In: objects built from a pipeline file. Out: what every stage is handed first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from resources.model.patterns import matches
from resources.model.source import Source
from resources.model.table import TableId
from resources.sinks.contract import Sink
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRowStore
from resources.stores.leases import LeaseStore
from resources.stores.snapshots import SnapshotStore
from resources.stores.table_states import TableStateStore


@dataclass(frozen=True)
class EngineOptions:
    """The settings the engine reads, in plain units.

    Args:
        capture_filter: The table patterns in canonical form; kept with every segment.
        history: Where a table's first rows come from: chunks (`snapshot`), the log itself
            (`log`, polling), or nowhere (`none`: targets begin empty and hold what the log has
            from the pipeline's origin on).
        window: Length of a change-log partition.
        commit_interval: Seconds after which an open segment is committed while tailing.
        segment_rows: Rows after which a segment is committed.
        segment_bytes: Buffered bytes after which a segment is committed.
        apply_rows: Changes of one table reduced and merged at once.
        apply_bytes: Arrow bytes of such changes, whichever is reached first.
        chunk_rows: Rows a snapshot chunk should hold.
        parallel: Chunks read at the same time.
        append: Patterns of tables kept as append-only change logs in the sink.
        max_dirty: Open dirty rows of a table after which it stops.
        max_dirty_ratio: Dirty share of a run's rows after which a table stops; None for no limit.
        min_dirty_rows: Rows before the ratio is judged.
        rows_per_second: Read limit for the source; None for no limit.
        bytes_per_second: Read limit for the source; None for no limit.
        keep_images: Whether dirty rows keep the row itself; without it a replay reads the row
            again from the source.
        on_purged: What follows when the source has dropped log that was not captured: `fail`, or
            `resnapshot` to go on at its present end with every loaded table marked for reading
            again.
        sink_hold: Seconds a single-writer sink is held before others get a turn.
        lease_seconds: Life of the capture lease without a renewal.
        wait_for_capture: Seconds a snapshot waits for another run's capture to reach a position.
    """

    capture_filter: str
    history: Literal["snapshot", "log", "none"] = "snapshot"
    window: Literal["day", "hour"] = "day"
    commit_interval: float = 10.0
    segment_rows: int = 1_000_000
    segment_bytes: int = 256 << 20
    apply_rows: int = 1_000_000
    apply_bytes: int = 256 << 20
    chunk_rows: int = 50_000
    parallel: int = 4
    append: tuple[str, ...] = ()
    max_dirty: int = 1000
    max_dirty_ratio: float | None = None
    min_dirty_rows: int = 10_000
    rows_per_second: float | None = None
    bytes_per_second: float | None = None
    keep_images: bool = True
    on_purged: Literal["fail", "resnapshot"] = "fail"
    sink_hold: float = 3.0
    lease_seconds: float = 60.0
    wait_for_capture: float = 600.0

    def appends(self, table: TableId) -> bool:
        """Return whether the table is kept as an append-only change log."""
        return any(matches(pattern, table) for pattern in self.append)


@dataclass
class Pipeline:
    """Everything a run needs.

    Args:
        name: The pipeline's name.
        options: See `EngineOptions`.
        source: Opened lazily by its own first call.
        open_sink: Makes a sink; called again after the sink was released.
        db: The state store.
        log: The change log.
        run_id: Names the run to others: in leases, segments and messages.
        say: Where progress lines go.
    """

    name: str
    options: EngineOptions
    source: Source
    open_sink: Callable[[], Sink]
    db: StateDatabase
    log: ChangeLog
    run_id: str
    say: Callable[[str], None] = lambda _line: None
    leases: LeaseStore = field(init=False)
    dirty: DirtyRowStore = field(init=False)
    snapshots: SnapshotStore = field(init=False)
    tables: TableStateStore = field(init=False)
    _sink: Sink | None = field(init=False, default=None)
    _sink_since: float = field(init=False, default=0.0)
    _sink_lock: threading.RLock = field(init=False, default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Open the stores of this pipeline."""
        self.leases = LeaseStore(self.db)
        self.dirty = DirtyRowStore(self.db, self.name)
        self.snapshots = SnapshotStore(self.db, self.name)
        self.tables = TableStateStore(self.db, self.name)

    @contextmanager
    def sink(self) -> Iterator[Sink]:
        """Hand out the sink for one unit of work.

        A sink that admits one writing process is released after `sink_hold` seconds, so that a
        long copy and a running sync get turns at the same file.
        """
        with self._sink_lock:
            if self._sink is None:
                self._sink = self.open_sink()
                self._sink_since = time.monotonic()
            yield self._sink
            held = time.monotonic() - self._sink_since
            if held > self.options.sink_hold and not self._sink.capabilities.parallel_writers:
                self.release_sink()

    def release_sink(self) -> None:
        """Close the sink until it is needed again."""
        with self._sink_lock:
            if self._sink is not None:
                self._sink.close()
                self._sink = None

    @property
    def lease_name(self) -> str:
        """The lease that only one capturing run may hold."""
        return f"capture:{self.name}"

    def close(self) -> None:
        """Close source, sink and stores."""
        self.release_sink()
        self.source.close()
        self.db.close()
