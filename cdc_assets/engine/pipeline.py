"""One pipeline, opened: the source, the stores and the way to the sink, for one run.

In: objects built from a pipeline file. Out: what every stage is handed first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cdc_assets.engine.existing import Existing
from cdc_assets.engine.routing import Route, Router
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.schema_policy import SchemaPolicy
from cdc_assets.engine.shaping import Shaping, shape_route
from cdc_assets.engine.type_mapping import TypeMapping, mapped_schema
from cdc_assets.engine.writers import Writers
from resources.errors import ConfigError
from resources.model.patterns import matches
from resources.model.source import Source
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Feed, Sink
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRowStore
from resources.stores.feeds import FeedStore
from resources.stores.leases import LeaseStore
from resources.stores.log_readers import LogReader, LogReaders
from resources.stores.schema_changes import SchemaChangeStore
from resources.stores.snapshots import SnapshotStore
from resources.stores.table_states import TableStateStore

if TYPE_CHECKING:
    from cdc_assets.engine.transforms.metadata import BatchContext


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
        server: What names the source server.
        append: Patterns of tables kept as append-only change logs in the sink.
        append_loads: Whether those are loaded too, their rows in front of the changes; else they
            begin with the log.
        before_images: Whether every update carries its before-image, as some formats want it.
        router: Which targets a source table's rows go to.
        transforms: What becomes of rows on the way there, by source table.
        type_mapping: Other types than the source's own.
        policy: What becomes of a schema change, by table and event.
        reread: Whether a table whose rows changed without row events is read again by the run that
            finds it; else it waits for its snapshot.
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
        existing: What becomes of tables that are in the sink before the pipeline fills them.
        writers: Tables merged at the same time, each through a connection of its own.
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
    server: str = ""
    append: tuple[str, ...] = ()
    append_loads: bool = False
    before_images: bool = False
    router: Router = field(default_factory=Router)
    transforms: Transforms = field(default_factory=Transforms)
    type_mapping: tuple[TypeMapping, ...] = ()
    policy: SchemaPolicy = field(default_factory=SchemaPolicy)
    reread: bool = True
    max_dirty: int = 1000
    max_dirty_ratio: float | None = None
    min_dirty_rows: int = 10_000
    rows_per_second: float | None = None
    bytes_per_second: float | None = None
    keep_images: bool = True
    on_purged: Literal["fail", "resnapshot"] = "fail"
    existing: Existing = field(default_factory=Existing)
    writers: int = 1
    sink_hold: float = 3.0
    lease_seconds: float = 60.0
    wait_for_capture: float = 600.0

    def watched(self, schema: TableSchema) -> Collection[str]:
        """Return columns of a source table whose change makes an update carry its before-image.

        A target's key may depend on them; a log of changes judges both images by its filter.
        """
        if self.before_images:
            return schema.names
        append = self.appends(schema.table)
        rule = self.transforms.rule(schema.table)
        if rule is None:
            return ()
        if append and rule.filter:
            return schema.names
        stored = mapped_schema(self.transforms.stored(schema), self.type_mapping)
        transform = self.transforms.transform(stored, append)
        return transform.watched if transform is not None else ()

    def appends(self, table: TableId) -> bool:
        """Return whether the table is kept as an append-only change log."""
        return any(matches(pattern, table) for pattern in self.append)

    def is_loaded(self, table: TableId) -> bool:
        """Return whether a table's rows are copied to its target, or are in the log alone."""
        return self.append_loads or not self.appends(table)


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
        place: Where the sink is, in words that are equal for the same place; of one of several
            sinks.
        siblings: Names of the pipelines of the other sinks that read the same change log.
        peers: Routers of the other sources that fill the same sink, by the name of their pipeline.
    """

    name: str
    options: EngineOptions
    source: Source
    open_sink: Callable[[], Sink]
    db: StateDatabase
    log: ChangeLog
    run_id: str
    say: Callable[[str], None] = lambda _line: None
    place: str = ""
    siblings: tuple[str, ...] = ()
    peers: Mapping[str, Router] = field(default_factory=dict)
    readers: LogReaders = field(init=False)
    leases: LeaseStore = field(init=False)
    dirty: DirtyRowStore = field(init=False)
    snapshots: SnapshotStore = field(init=False)
    tables: TableStateStore = field(init=False)
    changes: SchemaChangeStore = field(init=False)
    feeds: FeedStore = field(init=False)
    began_us: int = field(init=False, default_factory=lambda: time.time_ns() // 1000)
    _shapings: dict[tuple[Route, str], Shaping] = field(init=False, default_factory=dict)
    _known: frozenset[TableId] = field(init=False, default=frozenset())
    _clashes: dict[TableId, list[TableId]] = field(init=False, default_factory=dict)
    _elsewhere: dict[TableId, str] = field(init=False, default_factory=dict)
    _writers: Writers = field(init=False)
    _offered: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Open the stores of this pipeline."""
        self.leases = LeaseStore(self.db)
        self.know_as(self.name)
        self.readers = LogReaders(self.db, self.log_name)
        options = self.options
        self._writers = Writers(self.open_sink, options.writers, options.sink_hold)

    def know_as(self, name: str) -> None:
        """Take for its state what is kept under a name: its own, but for runs that only look."""
        self.dirty = DirtyRowStore(self.db, name)
        self.snapshots = SnapshotStore(self.db, name)
        self.tables = TableStateStore(self.db, name)
        self.changes = SchemaChangeStore(self.db, name)
        self.feeds = FeedStore(self.db, name)

    def sink(self) -> AbstractContextManager[Sink]:
        """Hand out a sink for one unit of work; see `Writers`."""
        return self._writers.sink()

    def release_sink(self) -> None:
        """Close the sinks until they are needed again."""
        self._writers.release()

    def feed(self, table: TableId) -> Feed:
        """Return the stream of changes of a source table, as sinks know it.

        It has the log's name: each of several sinks is a place of its own, and one that was the
        only sink before goes on with what is in it.
        """
        return Feed(self.log_name, table)

    def routes(self, table: TableId) -> tuple[Route, ...]:
        """Return the routes of a source table."""
        return self.options.router.routes(table)

    def require_alone(self, route: Route) -> None:
        """Refuse a table that would meet another one in a target that is not shared.

        Raises:
            ConfigError: Names both.
        """
        if route.shared:
            return
        if route.target in self.options.router.elsewhere(route.table):
            raise ConfigError(
                f"{route.table} of several sources would be {route.target}",
                where=str(route.target),
                remedy="leave out `merge: false` on the route, or write {source} in its target",
            )
        if route.table not in self._known:  # or made while this run goes on
            self.tables.register([route.table])
            known = frozenset(self.tables.all())
            # In this order, for other threads look too.
            self._clashes = self.options.router.clashes(sorted(known))
            self._elsewhere = {
                peer_route.target: f"{table} of {name}"
                for name, router in self.peers.items()
                for table in TableStateStore(self.db, name).all()
                for peer_route in router.routes(table)
            }
            self._known = known
        others = [str(t) for t in self._clashes.get(route.target, ()) if t != route.table]
        others += [self._elsewhere[route.target]] if route.target in self._elsewhere else []
        if others:
            raise ConfigError(
                f"{route.table} and {others[0]} would both be {route.target}",
                where=str(route.target),
                remedy="say `merge: true` on the route that shall merge them, or give each a "
                "target of its own",
            )

    def shaping(self, route: Route, schema: TableSchema) -> Shaping:
        """Return what a route makes of a schema version as the change log has it.

        Raises:
            ConfigError: A transform does not fit the table's columns.
        """
        key = (route, schema.fingerprint())
        if key not in self._shapings:
            append = self.options.appends(schema.table)
            mapped = mapped_schema(schema, self.options.type_mapping)
            transform = self.options.transforms.transform(mapped, append)
            feed = self.feed(schema.table)
            rule = self.options.transforms.rule(schema.table)
            whole = append or (rule is not None and bool(rule.soft_delete))
            self._shapings[key] = shape_route(route, schema, mapped, transform, feed, whole)
        return self._shapings[key]

    def context(self, table: TableId, segment: int) -> BatchContext:
        """Return what expressions may ask of rows beside their columns.

        Args:
            table: The source table.
            segment: The segment they lie in; for a snapshot's rows the last one before it.
        """
        from cdc_assets.engine.transforms.metadata import BatchContext

        found = self.log.segments.list_segments(segment - 1, segment)
        position = found[0].end if found else None
        return BatchContext(
            table=table,
            source=self.options.server,
            position=str(position or ""),
            gtid=getattr(position, "gtid_set", ""),
            segment=segment,
            loaded_at_us=self.began_us,
            pipeline=self.log_name,
        )

    @property
    def lease_name(self) -> str:
        """The lease that only one capturing run may hold, whichever sink it is for."""
        return f"capture:{self.log_name}"

    @property
    def log_name(self) -> str:
        """The change log's name: the pipeline's own unless several sinks share the log."""
        return self.log.segments.pipeline

    @property
    def is_shared(self) -> bool:
        """Whether the change log is one that several sinks share."""
        return self.name != self.log_name

    def reader(self) -> LogReader | None:
        """Return what is known of this sink of a shared log; None if it never read it."""
        return self.readers.all().get(self.name)

    def applied(self) -> int:
        """Return the segment that every table was merged up to, as `set_applied` left it."""
        if not self.is_shared:
            return self.log.segments.applied()
        mine = self.reader()
        return mine.applied if mine else 0

    def set_applied(self, number: int) -> None:
        """Record that every table was merged up to a segment; it never goes back."""
        if self.is_shared:
            self.readers.advance(self.name, applied=number)
        else:
            self.log.segments.set_applied(number)

    def offered(self) -> int:
        """Return the segment that no watermark of the sink lies past, as far as is known.

        An only sink cannot be past the log's end. Of a shared log the end says nothing: others
        move it on, past whatever a lost state store no longer knows of.
        """
        if not self.is_shared:
            last = self.log.segments.last()
            return last.number if last else 0
        mine = self.reader()
        return mine.offered if mine else 0

    def offer(self, number: int) -> None:
        """Record that watermarks may come to lie as far as a segment, before any does."""
        if self.is_shared and number > self._offered:
            self.readers.advance(self.name, offered=number)
            self._offered = number

    def close(self) -> None:
        """Close source, sink and stores."""
        self.release_sink()
        self.source.close()
        self.db.close()
