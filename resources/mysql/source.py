"""A MySQL-family server as a `SnapshotSource`.

In: settings and table patterns. Out: schemas, chunks as Arrow, positions, and the server's log
once it is sure that the log still continues the position asked for.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymysql.connections import Connection

from resources.errors import ConfigError
from resources.model.change import NO_SHAPES, LogSlice
from resources.model.chunk import Chunk
from resources.model.keys import key_parameters
from resources.model.place import Place, Start
from resources.model.position import BinlogPosition, Position, ServerIdentity
from resources.model.source import ChunkRows, Finding
from resources.model.table import TableId, TableSchema
from resources.mysql import catalog, chunks, server
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.stream import stream_binlog
from resources.mysql.check import check_server
from resources.mysql.connection import MySQLSettings, connect, mapped_errors
from resources.mysql.continuity import verify_continuity
from resources.mysql.identifiers import quote_identifier, quote_table
from resources.mysql.pool import ConnectionPool
from resources.mysql.result_set import BATCH_ROWS, ZeroDates, select_arrow, select_list
from resources.mysql.schema_history.catalog_shapes import (
    read_charsets,
    read_shapes,
    server_kind,
)
from resources.mysql.schema_history.history import SchemaHistory
from resources.mysql.schema_history.shape import TableShape
from resources.mysql.startup import LogServer, position_here, start_position, stop_position

_KEYS_AT_ONCE = 100


class MySQLSource:
    """Tables and log of one server, for one pipeline.

    Every method may be called from several threads; chunks share `parallel` connections, one
    more is used for everything else.

    Args:
        settings: The server.
        pipeline: The pipeline's name; the replica id is derived from it unless set.
        include: Patterns `database.table`.
        exclude: Patterns that win over `include`.
        startup: Where a new pipeline's change log begins.
        zero_dates: See `result_set.select_arrow`.
        chunk_batch_rows: Rows of a record batch at most.
        parallel: Chunks read at a time.
        heartbeat_seconds: How often an idle server says that it is there.
        transaction_bytes: Log bytes after which a transaction is handed on in parts.
        known_tables: Tables the pipeline has seen, for statements about tables that are gone.
        watched: Columns of a table whose change makes an update carry its before-image.
    """

    def __init__(
        self,
        settings: MySQLSettings,
        *,
        pipeline: str,
        include: Sequence[str],
        exclude: Sequence[str] = (),
        startup: Start = "latest",
        zero_dates: ZeroDates = "null",
        chunk_batch_rows: int = BATCH_ROWS,
        parallel: int = 4,
        heartbeat_seconds: float = StreamOptions.heartbeat_seconds,
        transaction_bytes: int = StreamOptions.transaction_bytes,
        known_tables: Callable[[], Iterable[TableId]] = tuple,
        watched: Callable[[TableSchema], Collection[str]] = StreamOptions.watched,
    ) -> None:
        self.settings = settings
        self.pipeline = pipeline
        self._include, self._exclude = tuple(include), tuple(exclude)
        self._startup: Start = startup
        self._zero_dates: ZeroDates = zero_dates
        self._batch_rows = chunk_batch_rows
        self._known_tables = known_tables
        self._watched = watched
        self._heartbeat, self._transaction_bytes = heartbeat_seconds, transaction_bytes
        self._readers = ConnectionPool(functools.partial(connect, settings), parallel)
        self._control = ConnectionPool(functools.partial(connect, settings), 1)
        self._lock = threading.Lock()
        self._patterns: catalog.TablePatterns | None = None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Connection[Any]]:
        with mapped_errors(self.settings.where), self._control.borrow() as connection:
            yield connection

    def identity(self) -> ServerIdentity:
        """Return who the server is now. See `Source`."""
        return self.facts().identity

    def facts(self) -> server.ServerFacts:
        """Return what the server says about itself now."""
        with self._asking() as connection:
            return server.server_facts(connection)

    def current_position(self) -> BinlogPosition:
        """Return an end of the log all of whose transactions later reads see. See `Source`."""
        with self._asking() as connection:
            return server.visible_position(connection, server.server_facts(connection))

    def start_position(self) -> BinlogPosition:
        """Return where a new pipeline's change log begins. See `startup.start_position`."""
        server_id = self.server_id()
        with self._asking() as connection:
            return start_position(self._log_server(connection, server_id), self._startup)

    def stop_position(self, place: Place) -> BinlogPosition:
        """Return where a run that shall stop at a place stops. See `startup.stop_position`."""
        server_id = self.server_id()
        with self._asking() as connection:
            return stop_position(self._log_server(connection, server_id), place)

    def _log_server(self, connection: Connection[Any], server_id: int) -> LogServer:
        connect_anew = functools.partial(connect, self.settings)
        facts = server.server_facts(connection)
        return LogServer(connect_anew, connection, facts, server_id, self.settings.where)

    def patterns(self) -> catalog.TablePatterns:
        """Return the table patterns, with the server's rule about case."""
        with self._lock:
            if self._patterns is None:
                with self._asking() as connection:
                    fold = catalog.folds_case(connection)
                self._patterns = catalog.TablePatterns(self._include, self._exclude, fold)
            return self._patterns

    def wanted(self, table: TableId) -> bool:
        """Return whether the pipeline's patterns select a table."""
        return self.patterns().match(table)

    def list_tables(self) -> list[TableId]:
        """Return the base tables the pipeline's patterns select, sorted. See `Source`."""
        patterns = self.patterns()
        with self._asking() as connection:
            return catalog.list_tables(connection, patterns)

    def read_schemas(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        """Return the schemas now; tables gone or with unsupported columns are left out.

        `check` names the unsupported ones. See `Source`.
        """
        with self._asking() as connection:
            return catalog.read_schemas(connection, tables).schemas

    def check(self) -> list[Finding]:
        """Return what stops or endangers a start, each with the statement that mends it."""
        tables = self.list_tables()
        with self._asking() as connection:
            found = catalog.read_schemas(connection, tables)
            findings = check_server(
                connection, self.settings, tables, found.schemas, pipeline=self.pipeline
            )
        return [*findings, *found.findings]

    def estimate_rows(self, schema: TableSchema) -> int:
        """Return the server's own row estimate. See `SnapshotSource`."""
        with self._asking() as connection:
            return catalog.estimate_rows(connection, schema.table)

    def plan_chunks(
        self, schema: TableSchema, chunk_rows: int, resume_after: Chunk | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks over the full key without a gap. See `SnapshotSource`."""
        estimate = self.estimate_rows(schema)
        with contextlib.closing(connect(self.settings)) as connection:
            plan = chunks.plan_chunks(connection, schema, chunk_rows, estimate, resume_after)
            while True:
                with mapped_errors(f"{self.settings.where} {schema.table}"):
                    chunk = next(plan, None)
                if chunk is None:
                    return
                yield chunk

    def read_chunk(self, schema: TableSchema, chunk: Chunk) -> Iterator[ChunkRows]:
        """Yield a chunk's rows in bounded parts; thread-safe. See `SnapshotSource`."""
        where = f"{schema.table} chunk {chunk.number}"
        statement = (
            f"SELECT {select_list(schema)} FROM {quote_table(schema.table)} "  # noqa: S608
            f"WHERE {chunks.chunk_condition(schema, chunk)}"
        )
        with self._readers.borrow() as connection:
            yield from select_arrow(
                connection,
                statement,
                (),
                schema,
                zero_dates=self._zero_dates,
                batch_rows=self._batch_rows,
                where=where,
            )

    def read_rows(self, schema: TableSchema, keys: Sequence[str]) -> Iterator[ChunkRows]:
        """Yield the rows with one of the keys, a few keys a statement. See `RowSource`."""
        one = " AND ".join(f"{quote_identifier(name)} = %s" for name in schema.key)
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            statement = (
                f"SELECT {select_list(schema)} FROM {quote_table(schema.table)} "  # noqa: S608
                f"WHERE {' OR '.join([f'({one})'] * len(some))}"
            )
            values = [value for key in some for value in key_parameters(key, schema)]
            with self._readers.borrow() as connection:
                yield from select_arrow(
                    connection,
                    statement,
                    values,
                    schema,
                    zero_dates=self._zero_dates,
                    batch_rows=self._batch_rows,
                    where=f"{schema.table} by key",
                )

    def lag_bytes(self, position: Position) -> int | None:
        """Return log bytes between `position` and the end, None if they cannot be counted."""
        if not isinstance(position, BinlogPosition):
            return None
        with self._asking() as connection:
            if server.server_facts(connection).identity != position.identity:
                return None
            logs = server.binary_logs(connection)
        names = [log.name for log in logs]
        if position.file not in names:
            return None
        rest = logs[names.index(position.file) :]
        return max(0, sum(log.size for log in rest) - position.offset)

    def server_id(self) -> int:
        """Return the replica id this pipeline registers with."""
        if self.settings.server_id is not None:
            return self.settings.server_id
        return server.derive_server_id(self.pipeline, self.identity())

    def stream_changes(
        self,
        start: Position,
        until: Position | None,
        stop: Callable[[], bool],
        shapes: Mapping[TableId, str] = NO_SHAPES,
    ) -> Iterator[LogSlice]:
        """Yield the log from `start`, once the server is known to continue it. See `Source`."""
        if not isinstance(start, BinlogPosition):
            raise ConfigError(
                "a polling position cannot be continued in a binary log",
                where=self.settings.where,
                remedy="reset the pipeline's positions after changing its mode",
            )
        if until is not None and not isinstance(until, BinlogPosition):
            raise ConfigError("`until` is not a binary log position", where=self.settings.where)
        server_id = self.server_id()
        with self._asking() as connection:
            facts = server.server_facts(connection)
            verify_continuity(connection, facts, start, self.settings.where)
            if start.identity != facts.identity:
                start = position_here(self._log_server(connection, server_id), start)
        assert facts.flavor != "oceanbase", "refused above: it has no log"
        history = self._schema_history(facts, start, shapes)
        if until is not None and start.reached(until):
            if records := history.take_records():  # the sooner shapes are kept, the better
                yield LogSlice([], start, 0, 0, 0, shapes=records)
            return
        yield from stream_binlog(
            functools.partial(connect, self.settings),
            facts.flavor,
            facts.identity,
            server_id,
            start,
            until,
            self.wanted,
            stop,
            StreamOptions(
                catalog=self._schema_now,
                zero_dates=self._zero_dates,
                tables=self._tables,
                heartbeat_seconds=self._heartbeat,
                transaction_bytes=self._transaction_bytes,
                history=history,
                watched=self._watched,
            ),
        )

    def _schema_history(
        self, facts: server.ServerFacts, start: BinlogPosition, kept: Mapping[TableId, str]
    ) -> SchemaHistory:
        def read(tables: Sequence[TableId]) -> Iterator[tuple[TableShape, BinlogPosition]]:
            with self._asking() as connection:
                yield from read_shapes(connection, facts, tables)

        def charsets() -> dict[str, str]:
            with self._asking() as connection:
                return read_charsets(connection)

        kind, fold_case = server_kind(facts), self.patterns().fold_case
        scope = json.dumps([self._include, self._exclude])
        history = SchemaHistory(kind, self.wanted, scope, kept, read, fold_case)
        history.begin(start, self.list_tables(), charsets)
        return history

    def _tables(self) -> set[TableId]:
        return {*self.list_tables(), *self._known_tables()}

    def _schema_now(self, table: TableId) -> TableSchema | None:
        return self.read_schemas([table]).get(table)

    def close(self) -> None:
        """Close every idle connection."""
        self._readers.close()
        self._control.close()


def read_position(settings: MySQLSettings) -> BinlogPosition:
    """Return the end of a server's log: what a sensor asks for at each tick.

    Raises:
        SourceUnavailable: It cannot be reached now.
        ConfigError: It writes no binary log, or REPLICATION CLIENT is missing.
    """
    with mapped_errors(settings.where), contextlib.closing(connect(settings)) as connection:
        return server.log_end(connection, server.server_facts(connection))
